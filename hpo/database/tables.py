"""Our own tables beside Optuna's, and what a row of each says.

They are the truth of a study: its definition, which attempts there were, what came out of each
(cell, replicate), its curves and checkpoints. Optuna's tables are brought up to date from them
(`hpo.mirror.states`). Rows are keyed by the study's uuid, which is ours, because Optuna uses ids again
after a delete. The statements are in `hpo.database.rows`; older schemas are brought up to this one by
`hpo.database.migrations`.
"""

from typing import Any

import sqlalchemy as sa

from hpo.database import digests
from hpo.experiment.records import State

SCHEMA_VERSION = 7

metadata = sa.MetaData()


def _digest() -> sa.Column[Any]:
    """Return the column that tells what was written from what was not, see `hpo.database.digests`."""
    return sa.Column(digests.NAME, sa.String(64), default=digests.when_inserted)


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
    sa.Column("optuna_id", sa.Integer),  # Optuna's study that carries our uuid rightly,
    sa.Column("optuna_name", sa.String(512)),  # and its name; copies carry the uuid too
    sa.Column("former_name", sa.String(512)),  # that it was made with, if others renamed it
    _digest(),
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
    sa.Column("state", sa.String(16), nullable=False),  # waiting, running, paused, ended, failed
    sa.Column("trial_id", sa.Integer),
    sa.Column("token", sa.String(36)),
    sa.Column("worker", sa.Text),  # JSON: who holds it, see hpo.machine.process
    sa.Column("alone", sa.Boolean, nullable=False, server_default=sa.false()),  # shares no stack
    sa.Column("claimed_at", sa.Double),
    sa.Column("ended_at", sa.Double),
    sa.Column("reason", sa.Text),  # why it failed
    sa.Column("saved", sa.Integer),  # the update of the slot's checkpoint when its worker died
    sa.Column("in_optuna", sa.Boolean, nullable=False),  # whether Optuna shows this state
    sa.Column("seconds", sa.Double),  # that workers have held it, up to when it was let go last
    sa.Column("worker_id", sa.String(36)),  # the row of who holds it, if a heart beats for it
    sa.Index("hpo_attempts_by_state", "study", "state"),
)


def _index(name: str, *columns: sa.Column[Any], where: sa.ColumnElement[bool]) -> None:
    """Add an index of a few rows; queries use it that say the same literally.

    The option of PostgreSQL's is set when it is made there: SQLAlchemy imports all of a dialect, 30 ms
    in every process, to check the name of an option.
    """

    def before(index: sa.Index, connection: sa.Connection, **_: object) -> None:
        if connection.dialect.name == "postgresql":
            index.dialect_options["postgresql"]["where"] = where

    sa.event.listen(sa.Index(name, *columns, sqlite_where=where), "before_create", before)


IS_WAITING = attempts.c.state == sa.literal_column("'waiting'")
IS_RUNNING = attempts.c.state == sa.literal_column("'running'")
IS_PAUSED = attempts.c.state == sa.literal_column("'paused'")
IS_UNSHOWN = attempts.c.in_optuna == sa.false()
_in_order = (attempts.c.study, attempts.c.replicate, attempts.c.cell, attempts.c.attempt)
_index("hpo_attempts_waiting", *_in_order, where=IS_WAITING)
_index("hpo_attempts_running", attempts.c.study, attempts.c.token, where=IS_RUNNING)
_index("hpo_attempts_paused", attempts.c.study, where=IS_PAUSED)
_index("hpo_attempts_unshown", attempts.c.study, where=IS_UNSHOWN)
#: States of attempts that may still get a result.
LIVE = (State.WAITING, State.RUNNING, State.PAUSED)
results = sa.Table(
    "hpo_results",
    metadata,
    *_key(),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("outcome", sa.String(16), nullable=False),  # complete, diverged, pruned
    sa.Column("value", sa.Double),
    sa.Column("cycles", sa.Integer, nullable=False),
    sa.Column("n_updates", sa.Integer, nullable=False),
    sa.Column("hits", sa.LargeBinary, nullable=False),  # a bit for each validation image
    sa.Column("environment", sa.Text, nullable=False),  # JSON: versions and BLAS
    _digest(),
    sa.Column("curve_digest", sa.String(64)),  # of its curve's; none where none was trained
)
MEASURES = ("cost", "loss", "accuracy")
CURVE_COLUMNS = tuple(f"{part}_{m}" for part in ("training", "validation") for m in MEASURES)
curves = sa.Table(
    "hpo_curves",
    metadata,
    *_key(sa.Column("n_updates", sa.Integer, primary_key=True, autoincrement=False)),
    *(sa.Column(name, sa.Double) for name in CURVE_COLUMNS),
    _digest(),
)
checkpoints = sa.Table(
    "hpo_checkpoints",
    metadata,
    *_key(sa.Column("n_updates", sa.Integer, primary_key=True, autoincrement=False)),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("environment", sa.Text),  # JSON, of the process that wrote it
)
workers = sa.Table(
    "hpo_workers",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("identity", sa.Text, nullable=False),  # JSON, see hpo.machine.process
    sa.Column("started_at", sa.Double, nullable=False),  # on the database's clock, as all times
    sa.Column("heartbeat_at", sa.Double, nullable=False),
    sa.Column("grace", sa.Double, nullable=False),  # seconds of silence after which it is dead
    sa.Column("ended_at", sa.Double),
    sa.Column("idle_at", sa.String(36)),  # the study that it has nothing to do for
    sa.Column("study", sa.String(36)),  # that it works for
    sa.Column(
        "data", sa.String(64)
    ),  # fingerprint of the images that it has, if it takes any study
    sa.Column("versions", sa.Text),  # JSON: of hpo, NumPy and BLAS
    sa.Column("pace", sa.Double),  # seconds for an update of a network in that study
    sa.Column("work_left", sa.Double),  # updates of networks that are left of what it holds
    sa.Column(
        "moved_at", sa.Double
    ),  # when its training was last seen to move; none if it has none
    sa.Index("hpo_workers_study", "study"),
)
queue = sa.Table(
    "hpo_queue",
    metadata,
    sa.Column("study", sa.String(36), primary_key=True),
    sa.Column("priority", sa.Integer, nullable=False, server_default="0"),  # higher ones first
    sa.Column("cancelled_at", sa.Double),  # since when nobody is to train it
    sa.Column("versions", sa.Text),  # JSON: with which its training began
)
leases = sa.Table(
    "hpo_leases",
    metadata,
    sa.Column("name", sa.String(128), primary_key=True),
    sa.Column("token", sa.String(36), nullable=False),
    sa.Column("holder", sa.Text, nullable=False),  # JSON, see hpo.machine.process
    sa.Column("expires_at", sa.Double, nullable=False),
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
    sa.Column("hits", sa.LargeBinary),  # a bit for each test image; none before schema 3
    # A look is a row before it is taken, so that none is without one whatever happens meanwhile.
    sa.Column("is_complete", sa.Boolean, nullable=False, default=True, server_default=sa.true()),
    _digest(),  # last: it is made from what the others are by then
)
rungs = sa.Table(
    "hpo_rungs",
    metadata,
    sa.Column("study", sa.String(36), primary_key=True),
    sa.Column("cycle", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("decided_at", sa.Double, nullable=False),
    sa.Column("decision", sa.Text, nullable=False),  # JSON: what every cell had, and which go on
    _digest(),
)
rung_bits = sa.Table(
    "hpo_rung_bits",
    metadata,
    *_key(sa.Column("n_updates", sa.Integer, primary_key=True, autoincrement=False)),
    sa.Column("hits", sa.LargeBinary, nullable=False),  # a bit for each validation image
    _digest(),
)
OF_SEARCH = (attempts, results, curves, checkpoints, rungs, rung_bits)
OF_STUDY = (*OF_SEARCH, test_looks)  # looks have keys of their own too, which are no studies
