"""Which of Optuna's studies is ours, when users' tools copy, rename and delete studies.

Our uuid is an attribute of Optuna's study, which a copy of it carries too. So our row records the
id and the name of the one that is it. As long as that one carries the uuid, it is the study, and
all others are copies: named where studies are looked at, and never touched. If it is gone, the
carrier that has its name is the study, or else the only carrier that there is, because a
dashboard renames by copying and deleting. If none is it, Optuna has lost the study; ours has not,
and shows it anew. Ids alone say nothing: Optuna uses them again after a delete.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from hpo.database import digests
from hpo.database import optuna_tables as optunas
from hpo.database.tables import attempts, studies
from hpo.errors import HpoError

UUID_ATTRIBUTE = "hpo_uuid"


@dataclass(frozen=True)
class Carrier:
    """A study of Optuna's that carries a uuid of ours."""

    study_id: int
    name: str


@dataclass(frozen=True)
class Standing:
    """What Optuna has of a study of ours."""

    uuid: str
    name: str  #: that it goes by now
    recorded_name: str  #: that our row has
    former_name: str | None
    shown: Carrier | None  #: the one that is it; None if Optuna has lost it
    copies: tuple[Carrier, ...]
    is_recorded: bool  #: whether our row names that one already
    is_moved: bool  #: whether our row names another one

    @property
    def is_renamed(self) -> bool:
        """Whether others gave it another name."""
        return self.name != self.recorded_name

    def change(self) -> str | None:
        """Return in words what others did to it since it was last opened, or None."""
        if self.shown is None:
            return (
                f"Another tool deleted {self.name!r} from Optuna's tables; it is shown there again, "
                "and nothing is lost."
            )
        if self.is_renamed:
            return f"Another tool renamed {self.recorded_name!r}: it is called {self.name!r} now."
        return None


def check_name(name: object) -> None:
    """Refuse what cannot be the name of a study.

    Raises:
        HpoError: It is no text.
    """
    if not isinstance(name, str):
        raise HpoError(f"A study is named by a text, for example 'coarse'; got {name!r}.")


def survey(connection: Connection) -> list[Standing]:
    """Return how every study of ours stands, oldest first."""
    columns = (
        studies.c.uuid,
        studies.c.name,
        studies.c.former_name,
        studies.c.optuna_id,
        studies.c.optuna_name,
    )
    ours = connection.execute(sa.select(*columns).order_by(studies.c.created_at, studies.c.uuid))
    known = ours.all()
    carriers = _carriers(connection)
    names = [row.name for row in known]
    return [_standing(row, carriers.get(row.uuid, []), names) for row in known]


def of(connection: Connection, uuid: str) -> Standing | None:
    """Return how one study stands; None if it is not there."""
    return next((found for found in survey(connection) if found.uuid == uuid), None)


def named(standings: Iterable[Standing], name: str, *, formerly: bool = True) -> Standing | None:
    """Return the study that goes by a name now, or else the one that was made with it.

    The same command goes on with a study that was renamed meanwhile.
    """
    newest_first = list(reversed(list(standings)))
    ranked = [s for s in newest_first if s.name == name and s.shown is not None]
    ranked += [s for s in newest_first if s.name == name]
    if formerly:
        ranked += [s for s in newest_first if name in (s.former_name, s.recorded_name)]
    return next(iter(ranked), None)


def copied(standings: Iterable[Standing], name: str) -> Standing | None:
    """Return the study that Optuna's study of this name is a copy of, if it is one."""
    found = (s for s in standings if any(copy.name == name for copy in s.copies))
    return next(found, None)


def shown_as(connection: Connection, uuid: str) -> int | None:
    """Return the id of Optuna's study that is ours, and follow it if others renamed it.

    For every transaction that writes to Optuna's tables: between two of them the study may have
    been renamed or deleted, and its trials' ids may be somebody else's by now. None if Optuna has
    lost it.
    """
    known: int | None = connection.execute(sa.select(recorded(uuid))).scalar_one()
    if known is not None:
        return known
    connection.execute(sa.select(studies.c.uuid).where(studies.c.uuid == uuid).with_for_update())
    standing = of(connection, uuid)
    if standing is None or standing.shown is None:
        return None
    follow(connection, standing)
    return standing.shown.study_id


def follow(connection: Connection, standing: Standing) -> None:
    """Record the study that is it now, its name, and which of its trials are our attempts'."""
    shown = standing.shown
    if shown is None or standing.is_recorded:
        return
    record(connection, standing.uuid, shown)
    if standing.is_renamed:
        _rename(connection, standing)
    _adopt_trials(connection, standing.uuid, shown.study_id)


def record(connection: Connection, uuid: str, shown: Carrier) -> None:
    """Record which of Optuna's studies is ours."""
    mine = studies.update().where(studies.c.uuid == uuid)
    connection.execute(mine.values(optuna_id=shown.study_id, optuna_name=shown.name))


def _rename(connection: Connection, standing: Standing) -> None:
    """Call the study as others do now; the digest of a damaged row stays wrong."""
    mine = studies.c.uuid == standing.uuid
    row = connection.execute(studies.select().where(mine)).one()
    former = standing.former_name or standing.recorded_name
    connection.execute(studies.update().where(mine).values(name=standing.name, former_name=former))
    if digests.is_sound(studies, row):
        digests.seal(connection, studies, studies.select().where(mine))


def recorded(uuid: str) -> sa.ScalarSelect[int]:
    """Return, for a statement, the id of the study that our row names; none if all is not as it says."""
    mark, theirs = optunas.study_attributes, optunas.studies
    as_recorded = sa.and_(
        studies.c.uuid == uuid,
        theirs.c.study_id == studies.c.optuna_id,
        theirs.c.study_name == studies.c.optuna_name,
        mark.c.study_id == theirs.c.study_id,
        mark.c.key == UUID_ATTRIBUTE,
        mark.c.value_json == json.dumps(uuid),
    )
    return sa.select(theirs.c.study_id).where(as_recorded).scalar_subquery()


def _carriers(connection: Connection) -> dict[str, list[Carrier]]:
    """Return Optuna's studies that carry a uuid, by uuid."""
    mark, theirs = optunas.study_attributes, optunas.studies
    query = (
        sa.select(mark.c.value_json, theirs.c.study_id, theirs.c.study_name)
        .join(theirs, theirs.c.study_id == mark.c.study_id)
        .where(mark.c.key == UUID_ATTRIBUTE)
        .order_by(theirs.c.study_id)
    )
    found: dict[str, list[Carrier]] = {}
    for row in connection.execute(query):
        uuid = str(row.value_json).strip().strip('"')
        found.setdefault(uuid, []).append(Carrier(row.study_id, row.study_name))
    return found


def _standing(row: Any, carriers: list[Carrier], names: list[str]) -> Standing:
    expected = row.optuna_name or row.name
    ranked = [c for c in carriers if c.study_id == row.optuna_id]
    ranked += [c for c in carriers if c.name == expected]
    ranked += carriers if len(carriers) == 1 else []
    shown = ranked[0] if ranked else None
    name = row.name
    if shown is not None and shown.name != expected and shown.name not in names:
        name = shown.name
    recorded = (row.optuna_id, row.optuna_name)
    is_recorded = shown is not None and (shown.study_id, shown.name) == recorded
    return Standing(
        uuid=row.uuid,
        name=name,
        recorded_name=row.name,
        former_name=row.former_name,
        shown=shown,
        copies=tuple(c for c in carriers if c is not shown),
        is_recorded=is_recorded,
        is_moved=shown is not None and not is_recorded and row.optuna_id is not None,
    )


def _adopt_trials(connection: Connection, uuid: str, study_id: int) -> None:
    """Give attempts whose trial is not one of this study the one that says to be theirs.

    A copy of a trial keeps our attributes. Of several, a later one counts more.
    """
    trials, said = optunas.trials, optunas.attributes
    here = sa.select(trials.c.trial_id).where(trials.c.study_id == study_id)
    stale = sa.or_(attempts.c.trial_id.is_(None), attempts.c.trial_id.not_in(here))
    forgotten = attempts.update().where(attempts.c.study == uuid, stale)
    if not connection.execute(forgotten.values(trial_id=None, in_optuna=False)).rowcount:
        return
    keys = ("cell", "replicate", "attempt")
    query = (
        sa.select(trials.c.trial_id, said.c.key, said.c.value_json)
        .join(said, said.c.trial_id == trials.c.trial_id)
        .where(trials.c.study_id == study_id, said.c.key.in_(keys))
        .order_by(trials.c.number, trials.c.trial_id)
    )
    found: dict[int, dict[str, str]] = {}
    for row in connection.execute(query):
        found.setdefault(row.trial_id, {})[row.key] = row.value_json
    owners = {
        tuple(int(values[key]) for key in keys): trial_id
        for trial_id, values in found.items()
        if all(values.get(key, "").isdecimal() for key in keys)
    }
    this = sa.and_(
        attempts.c.study == uuid,
        attempts.c.cell == sa.bindparam("c"),
        attempts.c.replicate == sa.bindparam("r"),
        attempts.c.attempt == sa.bindparam("n"),
        attempts.c.trial_id.is_(None),
    )
    link = attempts.update().where(this).values(trial_id=sa.bindparam("t"))
    if owners:
        connection.execute(
            link, [{"c": c, "r": r, "n": n, "t": t} for (c, r, n), t in owners.items()]
        )


def optunas_name(connection: Connection, uuid: str) -> str:
    """Return the name of Optuna's study of ours, as far as we have recorded it."""
    mine = sa.select(studies.c.optuna_name).where(studies.c.uuid == uuid)
    return connection.execute(mine).scalar_one_or_none() or ""
