"""Our own tables beside Optuna's, and the statements on them.

They are the truth of a study: its definition, which attempts there were, what came out of each
(cell, replicate), and its curves. Optuna's tables are brought up to date from them
(`hpo.record`). Rows are keyed by the study's uuid, which is ours, because Optuna uses ids again
after a delete. All functions take a connection, and the caller's transaction decides.
"""

import json
import math
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from hpo.definition import Experiment

SCHEMA_VERSION = 1

metadata = sa.MetaData()

meta = sa.Table(
    "hpo_meta",
    metadata,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
studies = sa.Table(
    "hpo_studies",
    metadata,
    sa.Column("uuid", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(512), nullable=False, index=True),
    sa.Column("experiment", sa.Text, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
)


def _key(*more: sa.Column[Any]) -> list[sa.Column[Any]]:
    """Return the columns that say whose row it is: study, cell and replicate."""
    return [
        sa.Column("study", sa.String(36), primary_key=True),
        sa.Column("cell", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("replicate", sa.Integer, primary_key=True, autoincrement=False),
        *more,
    ]


attempts = sa.Table(
    "hpo_attempts",
    metadata,
    *_key(sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False)),
    sa.Column("state", sa.String(16), nullable=False),  # waiting, running, ended, failed
    sa.Column("trial_id", sa.Integer),
    sa.Column("token", sa.String(36)),
    sa.Column("worker", sa.Text),  # JSON, see hpo.hosts
    sa.Column("claimed_at", sa.Double),
    sa.Column("ended_at", sa.Double),
    sa.Column("reason", sa.Text),  # why it failed
    sa.Column("in_optuna", sa.Boolean, nullable=False),  # whether Optuna shows this state
    sa.Index("hpo_attempts_by_state", "study", "state"),
)
results = sa.Table(
    "hpo_results",
    metadata,
    *_key(),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("outcome", sa.String(16), nullable=False),  # complete, diverged
    sa.Column("value", sa.Double),
    sa.Column("cycles", sa.Integer, nullable=False),
    sa.Column("n_updates", sa.Integer, nullable=False),
    sa.Column("hits", sa.LargeBinary, nullable=False),  # a bit for each validation image
    sa.Column("environment", sa.Text, nullable=False),  # JSON: versions and BLAS
)
MEASURES = ("cost", "loss", "accuracy")
CURVE_COLUMNS = tuple(f"{part}_{m}" for part in ("training", "validation") for m in MEASURES)
curves = sa.Table(
    "hpo_curves",
    metadata,
    *_key(sa.Column("n_updates", sa.Integer, primary_key=True, autoincrement=False)),
    *(sa.Column(name, sa.Double) for name in CURVE_COLUMNS),
)
checkpoints = sa.Table(
    "hpo_checkpoints",
    metadata,
    *_key(sa.Column("n_updates", sa.Integer, primary_key=True, autoincrement=False)),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
)
test_looks = sa.Table(
    "hpo_test_looks",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("study", sa.String(36), nullable=False, index=True),
    sa.Column("cell", sa.Integer, nullable=False),
    sa.Column("replicate", sa.Integer, nullable=False),
    sa.Column("looked_at", sa.Double, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("n_images", sa.Integer, nullable=False),
    sa.Column("n_right", sa.Integer, nullable=False),
)
_OF_STUDY = (attempts, results, curves, checkpoints, test_looks)


@dataclass(frozen=True)
class StoredStudy:
    """A study as our tables hold it."""

    uuid: str
    name: str
    experiment: Experiment


@dataclass(frozen=True)
class Slot:
    """One (cell, replicate) of a study."""

    cell: int
    replicate: int


@dataclass(frozen=True)
class Attempt:
    """One trial at one slot."""

    slot: Slot
    number: int  #: from 0
    trial_id: int | None
    state: str
    worker: dict[str, Any] | None = None
    reason: str | None = None
    ended_at: float | None = None


@dataclass(frozen=True)
class Result:
    """What counts for one slot."""

    slot: Slot
    attempt: int
    outcome: str  #: complete or diverged
    value: float | None
    cycles: int
    n_updates: int


@dataclass(frozen=True)
class Point:
    """The curves of one slot at one log point, in the order of `CURVE_COLUMNS`."""

    n_updates: int
    values: tuple[float, ...]


def number(value: float | None) -> float | None:
    """Return ``value`` if it is finite, else None: what is not a number is stored as nothing."""
    return float(value) if value is not None and math.isfinite(value) else None


def insert_study(connection: Connection, name: str, experiment: Experiment) -> StoredStudy:
    """Store a new study under a new uuid."""
    stored = StoredStudy(str(uuid.uuid4()), name, experiment)
    connection.execute(
        studies.insert().values(
            uuid=stored.uuid,
            name=name,
            experiment=json.dumps(experiment.to_json(), sort_keys=True),
            created_at=time.time(),
        )
    )
    return stored


def _study(row: Row[Any]) -> StoredStudy:
    return StoredStudy(row.uuid, row.name, Experiment.from_json(json.loads(row.experiment)))


def all_studies(connection: Connection) -> list[StoredStudy]:
    """Return every study, oldest first."""
    rows = connection.execute(studies.select().order_by(studies.c.created_at))
    return [_study(row) for row in rows]


def study_by_uuid(connection: Connection, study: str) -> StoredStudy | None:
    """Return the study with this uuid, or None."""
    row = connection.execute(studies.select().where(studies.c.uuid == study)).one_or_none()
    return _study(row) if row else None


def studies_by_name(connection: Connection, name: str) -> list[StoredStudy]:
    """Return the studies of this name, newest first; more than one only if Optuna lost one."""
    rows = connection.execute(
        studies.select().where(studies.c.name == name).order_by(studies.c.created_at.desc())
    )
    return [_study(row) for row in rows]


def set_experiment(connection: Connection, study: str, experiment: Experiment) -> None:
    """Replace the stored experiment, for a field that may change: replicates."""
    text = json.dumps(experiment.to_json(), sort_keys=True)
    connection.execute(studies.update().where(studies.c.uuid == study).values(experiment=text))


def delete_study(connection: Connection, study: str) -> None:
    """Delete a study and every row of it."""
    for table in _OF_STUDY:
        connection.execute(table.delete().where(table.c.study == study))
    connection.execute(studies.delete().where(studies.c.uuid == study))


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
    limit: int | None = None,
) -> list[Attempt]:
    """Return attempts in the order of cell, replicate and number."""
    query = attempts.select().where(attempts.c.study == study)
    if states:
        query = query.where(attempts.c.state.in_(states))
    if in_optuna is not None:
        query = query.where(attempts.c.in_optuna == in_optuna)
    order = (attempts.c.replicate, attempts.c.cell, attempts.c.attempt)
    return [
        Attempt(
            Slot(row.cell, row.replicate),
            row.attempt,
            row.trial_id,
            row.state,
            json.loads(row.worker) if row.worker else None,
            row.reason,
            row.ended_at,
        )
        for row in connection.execute(query.order_by(*order).limit(limit))
    ]


def update_attempt(
    connection: Connection, study: str, attempt: Attempt, *, was: str | None = None, **values: Any
) -> bool:
    """Change one attempt, if it is in the state ``was``; tell whether it was."""
    condition = sa.and_(at(attempts, study, attempt.slot), attempts.c.attempt == attempt.number)
    if was is not None:
        condition = sa.and_(condition, attempts.c.state == was)
    return connection.execute(attempts.update().where(condition).values(**values)).rowcount == 1


def holds(connection: Connection, study: str, attempt: Attempt, token: str) -> bool:
    """Tell whether the claim with ``token`` still stands."""
    query = sa.select(attempts.c.token).where(
        at(attempts, study, attempt.slot),
        attempts.c.attempt == attempt.number,
        attempts.c.state == "running",
    )
    return connection.execute(query).scalar_one_or_none() == token


def results_of(connection: Connection, study: str) -> list[Result]:
    """Return the counted results, by cell and replicate."""
    rows = connection.execute(
        results.select()
        .where(results.c.study == study)
        .order_by(results.c.cell, results.c.replicate)
    )
    return [
        Result(
            Slot(row.cell, row.replicate),
            row.attempt,
            row.outcome,
            row.value,
            row.cycles,
            row.n_updates,
        )
        for row in rows
    ]


def append_curve(connection: Connection, study: str, slot: Slot, points: Iterable[Point]) -> None:
    """Add points to the curves of a slot."""
    rows = [
        {"study": study, "cell": slot.cell, "replicate": slot.replicate, "n_updates": p.n_updates}
        | {name: number(value) for name, value in zip(CURVE_COLUMNS, p.values, strict=True)}
        for p in points
    ]
    if rows:
        connection.execute(curves.insert(), rows)


def curves_of(connection: Connection, study: str) -> dict[Slot, list[Row[Any]]]:
    """Return the rows of every curve of a study, in the order of updates."""
    rows = connection.execute(
        curves.select()
        .where(curves.c.study == study)
        .order_by(curves.c.cell, curves.c.replicate, curves.c.n_updates)
    )
    found: dict[Slot, list[Row[Any]]] = {}
    for row in rows:
        found.setdefault(Slot(row.cell, row.replicate), []).append(row)
    return found


def look_at_test(connection: Connection, study: str) -> list[Row[Any]]:
    """Return every look at the test images that this study took, oldest first."""
    rows = connection.execute(
        test_looks.select().where(test_looks.c.study == study).order_by(test_looks.c.id)
    )
    return list(rows)
