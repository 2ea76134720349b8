"""The statements on our tables; each takes a connection, and the caller's transaction decides.

Actions that write can be repeated: after a commit whose outcome is unknown they find what they
wrote and change nothing.
"""

import json
import math
import operator
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from hpo.database import damage, digests
from hpo.database.tables import (
    IS_UNSHOWN,
    IS_WAITING,
    attempts,
    checkpoints,
    studies,
)
from hpo.errors import DamagedRow, StudyUnreadable, reason_of
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Attempt, Slot, State, StoredStudy, UnreadableStudy


def clock(connection: Connection) -> sa.ColumnElement[float]:
    """Return the time on the database's clock, in seconds, for a statement that needs it."""
    if connection.dialect.name == "sqlite":
        return sa.literal_column("(julianday('now') - 2440587.5) * 86400.0", sa.Double)
    return sa.literal_column("extract(epoch from clock_timestamp())::double precision", sa.Double)


def now(connection: Connection) -> float:
    """Return the time on the database's clock, in seconds; all workers share that one."""
    return float(connection.execute(sa.select(clock(connection))).scalar_one())


def held_for(connection: Connection) -> sa.ColumnElement[float]:
    """Return for how long an attempt has been held in all, for the statement that lets it go."""
    passed = clock(connection) - attempts.c.claimed_at
    return sa.func.coalesce(attempts.c.seconds, 0.0) + sa.case((passed > 0, passed), else_=0.0)


def number(value: float | None) -> float | None:
    """Return ``value`` if it is finite, else None: what is not a number is stored as nothing."""
    return float(value) if value is not None and math.isfinite(value) else None


def insert_study(connection: Connection, stored: StoredStudy) -> None:
    """Store a new study, unless it is stored already."""
    if study_by_uuid(connection, stored.uuid) is not None:
        return
    connection.execute(
        studies.insert().values(
            uuid=stored.uuid,
            name=stored.name,
            experiment=json.dumps(stored.experiment.to_json(), sort_keys=True),
            created_at=now(connection),
        )
    )


def _study(row: Row[Any]) -> StoredStudy:
    what = f"The study {row.name!r}"
    try:
        if not digests.is_sound(studies, row):
            raise DamagedRow(what, damage.MISFIT)
        return StoredStudy(row.uuid, row.name, _experiment(row.experiment, what))
    except MemoryError:
        raise
    except DamagedRow as error:
        raise StudyUnreadable(row.name, error.fault) from error
    except Exception as error:  # whatever is wrong with the text
        raise StudyUnreadable(row.name, reason_of(error)) from error


@lru_cache(maxsize=32)
def _experiment(text: str, what: str) -> Experiment:
    """Return what a row says; a worker that watches asks for the same ones every second."""
    experiment = Experiment.from_json(damage.parsed(text, what))
    experiment.check()
    return experiment


def all_studies(connection: Connection) -> list[StoredStudy]:
    """Return every study that can be read, oldest first."""
    return [study for study in each_study(connection) if isinstance(study, StoredStudy)]


def unreadable_studies(connection: Connection) -> list[UnreadableStudy]:
    """Return every study that cannot be read, oldest first."""
    return [study for study in each_study(connection) if isinstance(study, UnreadableStudy)]


def editions(connection: Connection) -> dict[str, str | None]:
    """Return the digest of each study's row by uuid, oldest first: another one, if it is another."""
    query = sa.select(studies.c.uuid, studies.c.digest)
    found = connection.execute(query.order_by(studies.c.created_at, studies.c.uuid))
    return {row.uuid: row.digest for row in found}


def each_study(
    connection: Connection, among: Sequence[str] | None = None
) -> list[StoredStudy | UnreadableStudy]:
    """Return every study, or those of some uuids, oldest first: as it is read, or why it is not."""
    query = studies.select().order_by(studies.c.created_at, studies.c.uuid)
    if among is not None:
        query = query.where(studies.c.uuid.in_(among))
    found: list[StoredStudy | UnreadableStudy] = []
    for row in connection.execute(query):
        try:
            found.append(_study(row))
        except StudyUnreadable as error:
            found.append(UnreadableStudy(row.uuid, row.name, error.fault))
    return found


def study_by_uuid(connection: Connection, study: str) -> StoredStudy | None:
    """Return the study with this uuid, or None.

    Raises:
        StudyUnreadable: Its row is damaged.
    """
    row = connection.execute(studies.select().where(studies.c.uuid == study)).one_or_none()
    return _study(row) if row else None


def studies_by_name(connection: Connection, name: str) -> list[StoredStudy]:
    """Return the studies of this name that can be read, newest first."""
    return [study for study in reversed(all_studies(connection)) if study.name == name]


def set_experiment(connection: Connection, study: str, experiment: Experiment) -> None:
    """Replace the stored experiment, for a field that may change: replicates."""
    text = json.dumps(experiment.to_json(), sort_keys=True)
    connection.execute(studies.update().where(studies.c.uuid == study).values(experiment=text))
    seal_study(connection, study)


def seal_study(connection: Connection, study: str) -> None:
    """Give the row of a study, which was changed on purpose, its new digest."""
    digests.seal(connection, studies, studies.select().where(studies.c.uuid == study))


def at(table: sa.Table, study: str, slot: Slot) -> sa.ColumnElement[bool]:
    """Return the condition for the rows of one slot."""
    return sa.and_(
        table.c.study == study, table.c.cell == slot.cell, table.c.replicate == slot.replicate
    )


def attempts_of(
    connection: Connection,
    study: str,
    *,
    states: Sequence[str] = (),
    in_optuna: bool | None = None,
    token: str | None = None,
    without_trial: bool = False,
    limit: int | None = None,
) -> list[Attempt]:
    """Return attempts in the order of replicate, cell and number."""
    query = attempts.select().where(attempts.c.study == study)
    if states:
        query = query.where(attempts.c.state.in_(states))
    if in_optuna is not None:
        is_shown = attempts.c.in_optuna == sa.true()
        query = query.where(is_shown if in_optuna else IS_UNSHOWN)
    if token is not None:
        query = query.where(attempts.c.token == token)
    if without_trial:
        query = query.where(attempts.c.trial_id.is_(None))
    order = (attempts.c.replicate, attempts.c.cell, attempts.c.attempt)
    return [attempt_of(row) for row in connection.execute(query.order_by(*order).limit(limit))]


#: Of a row of `attempts`, what its `Attempt` is made of; by places, as names take three times as long.
_TOLD = operator.itemgetter(
    *(
        attempts.columns.keys().index(name)
        for name in (
            *("cell", "replicate", "attempt", "trial_id", "state", "worker", "reason", "ended_at"),
            *("token", "alone", "saved", "seconds"),
        )
    )
)


def attempt_of(row: Row[Any]) -> Attempt:
    """Return what a row says that has the columns of `attempts` in their order, others after them."""
    cell, replicate, number, trial, state, worker, reason, ended, token, alone, saved, seconds = (
        _TOLD(row)
    )
    return Attempt(
        Slot(cell, replicate),
        number,
        trial,
        state,
        damage.parsed_or_none(worker),  # without a holder it counts as left behind
        reason,
        ended,
        token,
        bool(alone),
        saved,
        seconds if isinstance(seconds, float) else 0.0,
    )


#: The update of an attempt's last checkpoint, beside its columns in a query.
LAST_CHECKPOINT = (
    sa.select(sa.func.coalesce(sa.func.max(checkpoints.c.n_updates), 0))
    .where(
        checkpoints.c.study == attempts.c.study,
        checkpoints.c.cell == attempts.c.cell,
        checkpoints.c.replicate == attempts.c.replicate,
    )
    .scalar_subquery()
    .label("last_checkpoint")
)


def reached_of(
    connection: Connection, study: str, states: Sequence[str] = (State.RUNNING,)
) -> list[tuple[Attempt, int]]:
    """Return the attempts in some states, with the update that their last checkpoint is at."""
    wanted = attempts.c.study == study, attempts.c.state.in_(states)
    query = sa.select(attempts, LAST_CHECKPOINT).where(*wanted)
    query = query.order_by(attempts.c.replicate, attempts.c.cell)
    return [(attempt_of(row), int(row.last_checkpoint)) for row in connection.execute(query)]


def running_by_study(connection: Connection) -> dict[str, list[tuple[Attempt, int]]]:
    """Return by study what `reached_of` does for the running ones."""
    query = (
        sa.select(attempts, LAST_CHECKPOINT)
        .where(attempts.c.state == State.RUNNING)
        .order_by(attempts.c.study, attempts.c.replicate, attempts.c.cell)
    )
    found: dict[str, list[tuple[Attempt, int]]] = {}
    for row in connection.execute(query):
        found.setdefault(row.study, []).append((attempt_of(row), int(row.last_checkpoint)))
    return found


def waiting_of(connection: Connection, study: str, limit: int) -> list[tuple[Attempt, int]]:
    """Return the first waiting attempts, with the update that their last checkpoint is at."""
    query = (
        sa.select(attempts, LAST_CHECKPOINT)
        .where(attempts.c.study == study, IS_WAITING)
        .order_by(attempts.c.replicate, attempts.c.cell, attempts.c.attempt)
        .limit(limit)
    )
    return [(attempt_of(row), int(row.last_checkpoint)) for row in connection.execute(query)]


def update_attempt(
    connection: Connection, study: str, attempt: Attempt, *, was: str | None = None, **values: Any
) -> bool:
    """Change one attempt, if it is in the state ``was``; tell whether it was."""
    condition = _this(study, attempt)
    if was is not None:
        condition = sa.and_(condition, attempts.c.state == was)
    return connection.execute(attempts.update().where(condition).values(**values)).rowcount == 1


def add_attempts(connection: Connection, new: Sequence[dict[str, Any]]) -> None:
    """Insert attempts, each as the values of its columns."""
    if new:
        connection.execute(attempts.insert(), list(new))


def prefix_reason(connection: Connection, study: str, slot: Slot, prefix: str) -> None:
    """Put a word before the reasons for which attempts at a slot failed."""
    at_slot = sa.and_(at(attempts, study, slot), attempts.c.state == State.FAILED)
    reason = sa.literal(prefix) + attempts.c.reason
    connection.execute(attempts.update().where(at_slot).values(reason=reason))


def standing(connection: Connection, study: str, attempt: Attempt) -> Attempt | None:
    """Return an attempt as it is now, locked until the transaction ends; None if it is gone."""
    query = attempts.select().where(_this(study, attempt)).with_for_update()
    row = connection.execute(query).one_or_none()
    return attempt_of(row) if row else None


def _this(study: str, attempt: Attempt) -> sa.ColumnElement[bool]:
    return sa.and_(at(attempts, study, attempt.slot), attempts.c.attempt == attempt.number)
