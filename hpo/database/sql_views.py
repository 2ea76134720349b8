"""Views for programs that know SQL and nothing of us: a row a (cell, replicate), and a row a log point.

They are made with our tables, hold nothing of their own and can be dropped at any time; the next
opening for writing makes them again. A study whose definition is damaged has its rows too, without
parameters.
"""

import hashlib
from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from hpo.database import tables

TRIALS, CURVES = "hpo_view_trials", "hpo_view_curves"
KEY = "views"  #: in `hpo_meta`: of which edition they are
#: What a study may search, under the names that Optuna shows; else the definition settles it.
PARAMETERS = (
    "lambda",
    "eta_max",
    "n_s",
    "n_s_epochs",
    "n_cycles",
    "eta_min_share",
    "flip_probability",
    "hidden",
    "batch_size",
    "normalisation",
)
ONLY_SEARCHED = ("lambda", "n_s_epochs", "eta_min_share")  #: null where a study does not
WHOLE = ("n_s", "n_s_epochs", "n_cycles", "hidden", "batch_size")
TEXT = ("normalisation",)
#: Text to JSON, or to null: one damaged row must not harm the others.
_FUNCTION = """
CREATE OR REPLACE FUNCTION hpo_view_json(told text) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS
$$ BEGIN RETURN told::jsonb; EXCEPTION WHEN others THEN RETURN NULL; END $$
"""


def make(connection: Connection) -> None:
    """Make the views, unless they are there as they are made today."""
    statements = _statements(connection.dialect.name)
    edition = hashlib.sha256("\n".join(statements).encode()).hexdigest()[:16]
    meta = tables.meta
    known = sa.select(meta.c.value).where(meta.c.key == KEY)
    if connection.execute(known).scalar_one_or_none() == edition:
        return
    if connection.dialect.name == "sqlite":
        _run(connection, statements)
    else:
        try:  # others may have built on them, or may not let us make any: we do without
            with connection.begin_nested():
                _run(connection, statements)
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            return
    connection.execute(meta.delete().where(meta.c.key == KEY))
    connection.execute(meta.insert().values(key=KEY, value=edition))


def _run(connection: Connection, statements: list[str]) -> None:
    for statement in statements:
        connection.exec_driver_sql(statement)


def _statements(dialect: str) -> list[str]:
    is_sqlite = dialect == "sqlite"
    cells = _cells_in_sqlite() if is_sqlite else _cells_in_postgresql()
    return [
        *([] if is_sqlite else [_FUNCTION]),
        f"DROP VIEW IF EXISTS {CURVES}",
        f"DROP VIEW IF EXISTS {TRIALS}",
        _trials(cells),
        _curves(),
    ]


def _trials(cells: str) -> str:
    """Return the view of what every (cell, replicate) has come to: its result, or its last attempt."""
    parameters = ", ".join(f"cells.{name}" for name in PARAMETERS)
    return f"""
CREATE VIEW {TRIALS} AS
WITH cells AS ({cells}),
slots AS (
    SELECT study, cell, replicate, outcome AS state, value, cycles, n_updates FROM hpo_results
    UNION ALL
    SELECT a.study, a.cell, a.replicate, a.state, NULL, NULL, (
        SELECT coalesce(max(p.n_updates), 0) FROM hpo_checkpoints p
        WHERE p.study = a.study AND p.cell = a.cell AND p.replicate = a.replicate
    )
    FROM hpo_attempts a
    WHERE NOT EXISTS (
        SELECT 1 FROM hpo_results r
        WHERE r.study = a.study AND r.cell = a.cell AND r.replicate = a.replicate
    ) AND NOT EXISTS (
        SELECT 1 FROM hpo_attempts later
        WHERE later.study = a.study AND later.cell = a.cell AND later.replicate = a.replicate
        AND later.attempt > a.attempt
    )
)
SELECT s.name AS study, slots.cell, slots.replicate, {parameters}, slots.state, slots.value,
    slots.cycles, slots.n_updates, s.uuid AS study_uuid
FROM hpo_studies s JOIN slots ON slots.study = s.uuid
LEFT JOIN cells ON cells.study = slots.study AND cells.cell = slots.cell
"""


def _curves() -> str:
    """Return the view of every log point that is stored."""
    parameters = ", ".join(f"t.{name}" for name in PARAMETERS)
    measures = ", ".join(f"c.{name}" for name in tables.CURVE_COLUMNS)
    return f"""
CREATE VIEW {CURVES} AS
SELECT t.study, t.cell, t.replicate, {parameters}, t.state, c.n_updates, {measures}, t.study_uuid
FROM {TRIALS} t JOIN hpo_curves c
ON c.study = t.study_uuid AND c.cell = t.cell AND c.replicate = t.replicate
"""


def _cells_in_sqlite() -> str:
    def of(source: str, name: str) -> str:
        found = f"json_extract({source}, '$.{name}')"
        types = "'text'" if name in TEXT else "'integer', 'real'"
        return f"CASE WHEN typeof({found}) IN ({types}) THEN {found} END"

    sound = "CASE WHEN json_valid(experiment) THEN experiment ELSE '{}' END"
    return f"""
    SELECT c.study, c.cell, {_columns(of, "c.value", "c.definition")} FROM (
        SELECT o.uuid AS study, e.key AS cell, e.value AS value,
            json_extract(o.told, '$.definition') AS definition
        FROM (SELECT uuid, {sound} AS told FROM hpo_studies) o, json_each(o.told, '$.cells') e
        WHERE e.type = 'object'
    ) c"""


def _cells_in_postgresql() -> str:
    def of(source: str, name: str) -> str:
        kind = "bigint" if name in WHOLE else "text" if name in TEXT else "double precision"
        is_it = f"jsonb_typeof({source} -> '{name}') = '{'string' if name in TEXT else 'number'}'"
        return f"CASE WHEN {is_it} THEN ({source} ->> '{name}')::{kind} END"

    cells = "o.told -> 'cells'"
    return f"""
    SELECT o.uuid AS study, e.place - 1 AS cell, {_columns(of, "e.value", "o.told -> 'definition'")}
    FROM (SELECT uuid, hpo_view_json(experiment) AS told FROM hpo_studies) o
    CROSS JOIN LATERAL jsonb_array_elements(
        CASE WHEN jsonb_typeof({cells}) = 'array' THEN {cells} ELSE '[]' END
    ) WITH ORDINALITY AS e(value, place)"""


def _columns(of: Callable[[str, str], str], cell: str, definition: str) -> str:
    """Return every parameter of a cell, which ``of`` finds in one JSON or the other."""
    found = []
    for name in PARAMETERS:
        told, settled = of(cell, name), of(definition, name)
        if name == "n_s":  # a cell that has it in epochs has another in updates
            settled = f"CASE WHEN {of(cell, 'n_s_epochs')} IS NULL THEN {settled} END"
        whole = told if name in ONLY_SEARCHED else f"coalesce({told}, {settled})"
        found.append(f"{whole} AS {name}")
    return ", ".join(found)
