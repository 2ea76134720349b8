"""A study copied whole into another database: our rows, and what users noted in Optuna's record.

The study's own row comes last, in the transaction that has compared all others, so a copy that was
interrupted is no study, and the next one begins anew. Optuna's trials are made from our rows by the
planner, as always; they get their times here.
"""

import datetime
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from hpo.database import carrying, fleet, leases, postgresql, queue, rows, tables
from hpo.database import optuna_tables as optunas
from hpo.database.storage import Storage
from hpo.errors import HpoError
from hpo.experiment.records import State, StoredStudy
from hpo.mirror import identity
from hpo.mirror.study import opened, refuse_others

NOTED = (optunas.study_attributes, optunas.study_system_attributes)


@dataclass(frozen=True)
class Copied:
    """What was copied of a study."""

    uuid: str
    name: str
    rows: tuple[dict[str, Any], tuple[str, int]]  #: the study's own, and what all others come to
    n_new: int  #: rows that were copied; 0 if the same study was there already

    def check(self, connection: Connection) -> None:
        """Refuse to let go of the original when it is not what was copied any more.

        Raises:
            HpoError: Somebody went on with it, or deleted it.
        """
        if _whole(connection, self.uuid) != self.rows:
            raise HpoError(
                f"{self.name!r} went on here while it was copied, so it was not deleted; the copy is "
                "of before. Delete one of the two with `hpo delete` and its --storage."
            )


@dataclass(frozen=True)
class _Told:
    """What a study has beside its rows."""

    row: dict[str, Any]
    notes: list[list[dict[str, Any]]]  #: of Optuna's record of it, a list a table
    place: queue.Place


def _whole(connection: Connection, uuid: str) -> tuple[dict[str, Any] | None, tuple[str, int]]:
    return carrying.study_row(connection, uuid), carrying.digest(connection, uuid)


def copy(
    source: Connection, study: StoredStudy, target: Storage, *, is_backup: bool = False
) -> Copied:
    """Copy a study as ``source`` sees it.

    Args:
        is_backup: It may be in training, as the copy is not for going on beside the original.

    Raises:
        HpoError: It is in training, or the other database has another study of that name, or the
            same one which went another way, or changed under the copy.
    """
    if not is_backup and (n_held := held(source, study.uuid)):
        raise HpoError(
            f"{n_held} trials of {study.name!r} are being trained, and would be trained twice. Stop "
            "its workers, or wait until it is done; then copy it."
        )
    postgresql.may_stand_still(source)  # while the target is waited for
    row = carrying.study_row(source, study.uuid)
    if row is None:
        raise HpoError(f"The study {study.name!r} was deleted meanwhile.")
    with leases.held(target, f"copy {study.uuid}") as keep_going:  # another may be at it
        if not target.write(partial(_begin, study=study)):
            return Copied(study.uuid, study.name, _refuse_other(source, target, study), 0)
        told = carrying.Sum()
        for batch in carrying.batches_of(source, study.uuid):
            told.add(batch)
            target.write(partial(_add, study=study, batch=batch))
            keep_going()
        place = queue.place(source, study.uuid)
        if not is_backup:  # who copies it wants it trained there
            place = replace(place, is_cancelled=False)
        beside = _Told(row, _notes(source, study.uuid), place)
        with leases.held(target, "open studies"):
            target.write(lambda connection: _finish(connection, target, study, beside, told))
    return Copied(study.uuid, study.name, (row, (told.digest, told.n_rows)), told.n_rows)


def set_times(connection: Connection, study: str) -> None:
    """Let Optuna's trials have ended when our attempts did, and have lasted for as long as these."""
    mine = tables.attempts
    query = mine.select().where(mine.c.study == study, mine.c.ended_at.is_not(None))
    told = []
    for row in connection.execute(query).all():
        if row.trial_id is not None:
            end = datetime.datetime.fromtimestamp(row.ended_at, datetime.UTC).replace(tzinfo=None)
            lasted = datetime.timedelta(seconds=row.seconds or 0.0)
            told.append({"t": row.trial_id, "start": end - lasted, "end": end})
    this: Any = sa.bindparam("t")
    times = optunas.trials.update().where(optunas.trials.c.trial_id == this)
    values: dict[str, Any] = {
        "datetime_start": sa.bindparam("start"),
        "datetime_complete": sa.bindparam("end"),
    }
    if told:
        connection.execute(times.values(values), told)


def _begin(connection: Connection, study: StoredStudy) -> bool:
    """Make room for the rows of a study; tell no if it is there, of which nothing is touched."""
    if carrying.study_row(connection, study.uuid) is not None:
        return False
    _refuse_name(connection, study.name)
    carrying.forget(connection, study.uuid)
    return True


def _add(connection: Connection, study: StoredStudy, batch: carrying.Batch) -> None:
    if carrying.study_row(connection, study.uuid) is not None:  # our lease was lost meanwhile
        raise HpoError(
            f"Another process copied {study.name!r} meanwhile. Run the same command again."
        )
    carrying.write(connection, batch)


def held(source: Connection, study: str) -> int:
    """Return how many trials of a study living workers hold."""
    alive = {worker.id for worker in fleet.living(source) if worker.is_alive}
    running = rows.attempts_of(source, study, states=[State.RUNNING])
    return sum((attempt.worker or {}).get("id") in alive for attempt in running)


def _refuse_other(
    source: Connection, target: Storage, study: StoredStudy
) -> tuple[dict[str, Any], tuple[str, int]]:
    """Return what both databases have of a study, which must be the same."""
    row, rest = _whole(source, study.uuid)
    if row is None or (row, rest) != target.read(lambda c: _whole(c, study.uuid)):
        raise HpoError(
            f"The other database has {study.name!r} already, and the two went different ways since. "
            "Delete one of them, `hpo delete` with its --storage, and copy the other."
        )
    return row, rest


def _refuse_name(connection: Connection, name: str) -> None:
    if identity.named(identity.survey(connection), name) is not None:
        raise HpoError(
            f"The other database has another study named {name!r}. Delete that one, or copy into a "
            "database without it."
        )
    refuse_others(connection, name)


def _notes(source: Connection, uuid: str) -> list[list[dict[str, Any]]]:
    """Return what Optuna's record says of the study itself, a list a table."""
    standing = identity.of(source, uuid)
    if standing is None or standing.shown is None:
        return [[] for _ in NOTED]
    mine = standing.shown.study_id
    found = (source.execute(t.select().where(t.c.study_id == mine)).all() for t in NOTED)
    return [[{"key": row.key, "value_json": row.value_json} for row in told] for told in found]


def _finish(
    connection: Connection,
    target: Storage,
    study: StoredStudy,
    beside: _Told,
    told: carrying.Sum,
) -> None:
    """Let the study be there, if all of it is."""
    if carrying.study_row(connection, study.uuid) is not None:  # a commit was thought lost
        return
    if carrying.digest(connection, study.uuid) != (told.digest, told.n_rows):
        raise HpoError(
            f"The copy of {study.name!r} is not what was copied: somebody changed its rows meanwhile. "
            "Run the same command again."
        )
    _refuse_name(connection, study.name)
    carrying.add_study(connection, beside.row)
    _give_place(connection, study.uuid, beside.place)
    study_id = opened(target, connection, study).study_id
    for table, notes in zip(NOTED, beside.notes, strict=True):
        known = sa.select(table.c.key).where(table.c.study_id == study_id)
        keys = set(connection.execute(known).scalars())
        new = [{"study_id": study_id, **note} for note in notes if note["key"] not in keys]
        if new:
            connection.execute(table.insert(), new)


def _give_place(connection: Connection, uuid: str, place: queue.Place) -> None:
    """Let a study stand in the queue as it did, and be known to have begun with the same versions."""
    if place.priority:
        queue.prefer(connection, uuid, place.priority)
    if place.versions is not None:
        queue.begin(connection, uuid, place.versions)
    if place.is_cancelled:
        queue.cancel(connection, uuid)
