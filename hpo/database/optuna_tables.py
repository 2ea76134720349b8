"""Optuna's own tables, in the revision that we know.

Declared here because importing Optuna takes a process longer than anything else does; a test
compares them with its models. Those of another revision are made by Optuna's (`optuna_schema`),
and all are migrated by Optuna alone.
"""

import math
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

metadata = sa.MetaData()

REVISION, SCHEMA_VERSION = "v3.2.0.a", 12  #: as Alembic and Optuna name what is declared here

STATES = ("RUNNING", "COMPLETE", "PRUNED", "FAIL", "WAITING")
DIRECTIONS = ("NOT_SET", "MINIMIZE", "MAXIMIZE")
FINISHED = frozenset(("COMPLETE", "PRUNED", "FAIL"))
FINITE = "FINITE"  #: the type of a value that is a number

NAME = sa.String(512)
NUMBER = sa.Float(precision=53)


def _of(owner: str, key: str, *, required: bool = False) -> "sa.Column[int]":
    """Return the column that names the study or trial that a row belongs to."""
    return sa.Column(key, sa.Integer, sa.ForeignKey(f"{owner}.{key}"), nullable=not required)


def _attributes(name: str, owner: str, key: str) -> sa.Table:
    """Return one of the four tables of attributes, JSON by name."""
    return sa.Table(
        name,
        metadata,
        sa.Column(f"{name.removesuffix('s')}_id", sa.Integer, primary_key=True),
        _of(owner, key),
        sa.Column("key", NAME),
        sa.Column("value_json", sa.Text),
        sa.UniqueConstraint(key, "key"),
    )


studies = sa.Table(
    "studies",
    metadata,
    sa.Column("study_id", sa.Integer, primary_key=True),
    sa.Column("study_name", NAME, index=True, unique=True, nullable=False),
)
directions = sa.Table(
    "study_directions",
    metadata,
    sa.Column("study_direction_id", sa.Integer, primary_key=True),
    sa.Column("direction", sa.Enum(*DIRECTIONS, name="studydirection"), nullable=False),
    _of("studies", "study_id", required=True),
    sa.Column("objective", sa.Integer, nullable=False),
    sa.UniqueConstraint("study_id", "objective"),
)
study_attributes = _attributes("study_user_attributes", "studies", "study_id")
study_system_attributes = _attributes("study_system_attributes", "studies", "study_id")
trials = sa.Table(
    "trials",
    metadata,
    sa.Column("trial_id", sa.Integer, primary_key=True),
    sa.Column("number", sa.Integer),
    sa.Column("study_id", sa.Integer, sa.ForeignKey("studies.study_id"), index=True),
    sa.Column("state", sa.Enum(*STATES, name="trialstate"), nullable=False),
    sa.Column("datetime_start", sa.DateTime),  # without a zone, in UTC
    sa.Column("datetime_complete", sa.DateTime),
)
params = sa.Table(
    "trial_params",
    metadata,
    sa.Column("param_id", sa.Integer, primary_key=True),
    _of("trials", "trial_id"),
    sa.Column("param_name", NAME),
    sa.Column("param_value", NUMBER),
    sa.Column("distribution_json", sa.Text),
    sa.UniqueConstraint("trial_id", "param_name"),
)
attributes = _attributes("trial_user_attributes", "trials", "trial_id")
system_attributes = _attributes("trial_system_attributes", "trials", "trial_id")
values = sa.Table(
    "trial_values",
    metadata,
    sa.Column("trial_value_id", sa.Integer, primary_key=True),
    _of("trials", "trial_id", required=True),
    sa.Column("objective", sa.Integer, nullable=False),
    sa.Column("value", NUMBER),
    sa.Column(
        "value_type", sa.Enum(FINITE, "INF_POS", "INF_NEG", name="trialvaluetype"), nullable=False
    ),
    sa.UniqueConstraint("trial_id", "objective"),
)
steps = sa.Table(
    "trial_intermediate_values",
    metadata,
    sa.Column("trial_intermediate_value_id", sa.Integer, primary_key=True),
    _of("trials", "trial_id", required=True),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("intermediate_value", NUMBER),
    sa.Column(
        "intermediate_value_type",
        sa.Enum(FINITE, "INF_POS", "INF_NEG", "NAN", name="trialintermediatevaluetype"),
        nullable=False,
    ),
    sa.UniqueConstraint("trial_id", "step"),
)
heartbeats = sa.Table(
    "trial_heartbeats",
    metadata,
    sa.Column("trial_heartbeat_id", sa.Integer, primary_key=True),
    _of("trials", "trial_id", required=True),
    sa.Column("heartbeat", sa.DateTime, nullable=False),
    sa.UniqueConstraint("trial_id"),
)
version_info = sa.Table(
    "version_info",
    metadata,
    sa.Column("version_info_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("schema_version", sa.Integer),
    sa.Column("library_version", sa.String(256)),
    sa.CheckConstraint("version_info_id=1"),
)
#: Where Optuna's way to mark a revision, Alembic, keeps it; Optuna's own metadata do without.
revision = sa.Table(
    "alembic_version",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
OF_STUDY = (directions, study_attributes, study_system_attributes)  #: rows of a study, by its id
OF_TRIAL = (params, attributes, system_attributes, values, steps, heartbeats)  #: of a trial


def number(row: sa.Row[Any], column: str = "value") -> float | None:
    """Return a value as Optuna reads it: its infinities stand in another column, NaN too."""
    kind = getattr(row, f"{column}_type")
    if kind == FINITE:
        value = getattr(row, column)
        return None if value is None else float(value)
    return {"INF_POS": math.inf, "INF_NEG": -math.inf}.get(kind, math.nan)


def n_trials(connection: Connection, study_id: int) -> int:
    """Return how many trials a study has."""
    query = sa.select(sa.func.count()).select_from(trials).where(trials.c.study_id == study_id)
    return int(connection.execute(query).scalar_one())
