"""Attempts whose rows say what no attempt can say: they are of no use to any worker."""

from typing import Any

from hpo.database import mending, rows
from hpo.database.connections import Connection, Row
from hpo.database.tables import attempts
from hpo.experiment.records import State, StoredStudy
from hpo.health.digests import AGAIN
from hpo.health.finding import Finding

STATES = tuple(State)


def strange(connection: Connection, study: StoredStudy) -> list[Finding]:
    """Look for attempts in a state that there is none of, or at a cell that there is none of."""
    n = len(_strange(connection, study))
    if not n:
        return []
    text = f"{study.name}: {n} trials have a state or a cell that does not exist."
    return [Finding(text, True, "`hpo doctor --repair` ends them, and new ones take their place.")]


def end_strange(connection: Connection) -> None:
    """End them, or delete those that stand nowhere; planning makes what is missing."""
    for study in rows.all_studies(connection):
        for row in _strange(connection, study):
            if _is_somewhere(row, len(study.experiment.cells)):
                mending.end(connection, row, AGAIN)
            else:
                mending.delete(connection, attempts, row)


def _strange(connection: Connection, study: StoredStudy) -> list[Row[Any]]:
    n_cells = len(study.experiment.cells)
    return [
        row
        for row in mending.rows_of(connection, attempts, study.uuid)
        if row.state not in STATES or not _is_somewhere(row, n_cells)
    ]


def _is_somewhere(row: Row[Any], n_cells: int) -> bool:
    key = (row.cell, row.replicate, row.attempt)
    return all(isinstance(n, int) and n >= 0 for n in key) and row.cell < n_cells
