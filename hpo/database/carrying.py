"""The rows of a study, carried from one database to another: in batches, and compared afterwards.

What belongs to a database and not to a study stays behind: who holds an attempt, and which of Optuna's
trials shows it. What is running there waits in the other one.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from hpo.database import batches, tables
from hpo.experiment.records import State

LARGE, SMALL = 16, 500  #: rows at a time of tables with weights, and of others
LEFT_BEHIND: dict[str, Any] = {
    "trial_id": None,
    "token": None,
    "worker": None,
    "worker_id": None,
    "in_optuna": False,
}
Batch = tuple[sa.Table, list[dict[str, Any]]]


def batches_of(connection: Connection, study: str) -> Iterator[Batch]:
    """Yield all rows of a study but its own, in their order, as they go into another database."""
    for table in tables.OF_STUDY:
        size = LARGE if table is tables.checkpoints else SMALL
        columns = [c for c in table.columns if table is not tables.test_looks or c.name != "id"]
        query = sa.select(*columns).where(table.c.study == study).order_by(*table.primary_key)
        found = connection.execute(query, execution_options={"yield_per": size})
        for part in found.partitions():
            yield table, [_carried(table, dict(row._mapping)) for row in part]


def write(connection: Connection, batch: Batch) -> None:
    """Insert those of the rows that are not there: a copy that lost its lease may meet another's."""
    batches.insert_missing(connection, *batch)


def digest(connection: Connection, study: str) -> tuple[str, int]:
    """Return the SHA-256 of all rows of a study, equal in both databases, and how many there are."""
    found = Sum()
    for batch in batches_of(connection, study):
        found.add(batch)
    return found.digest, found.n_rows


class Sum:
    """The SHA-256 of rows as they go by."""

    def __init__(self) -> None:
        self.n_rows = 0
        self._sha256 = hashlib.sha256()

    def add(self, batch: Batch) -> None:
        """Take in some more."""
        table, rows = batch
        for row in rows:
            told = [(name, _same(row[name])) for name in sorted(row)]
            self._sha256.update(repr((table.name, told)).encode())
        self.n_rows += len(rows)

    @property
    def digest(self) -> str:
        """That of all so far."""
        return self._sha256.hexdigest()


def forget(connection: Connection, study: str) -> None:
    """Delete what an interrupted copy has left of a study."""
    for table in tables.OF_STUDY:
        connection.execute(table.delete().where(table.c.study == study))


def free(connection: Connection) -> None:
    """Let what is running wait, and no worker be known: in a copy, where nobody holds anything."""
    running = tables.attempts.c.state == State.RUNNING
    let_go = {name: value for name, value in LEFT_BEHIND.items() if name != "trial_id"}
    waits = tables.attempts.update().where(running)
    connection.execute(waits.values(state=str(State.WAITING), **let_go))
    for table in (tables.workers, tables.leases):
        connection.execute(table.delete())


def add_study(connection: Connection, row: dict[str, Any]) -> None:
    """Insert the row of a study, from which on it is there."""
    connection.execute(tables.studies.insert().values(row))


def study_row(connection: Connection, study: str) -> dict[str, Any] | None:
    """Return the row of a study as it goes into another database; None if it is not there."""
    row = connection.execute(tables.studies.select().where(tables.studies.c.uuid == study)).first()
    if row is None:
        return None
    return {**row._mapping, "optuna_id": None, "optuna_name": None}


def _same(value: Any) -> Any:
    """Return a value as every database keeps it: SQLite keeps no sign of a zero."""
    return value + 0.0 if isinstance(value, float) else value


def _carried(table: sa.Table, row: dict[str, Any]) -> dict[str, Any]:
    if table is tables.attempts:
        row |= LEFT_BEHIND
        if row["state"] == State.RUNNING:
            row["state"] = str(State.WAITING)
    return row
