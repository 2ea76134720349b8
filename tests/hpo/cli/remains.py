"""What commands left behind: files, and rows in the database."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any


def left(workplace: Path) -> set[str]:
    """Return what is in the folder besides the inputs of the tests."""
    return {path.name for path in workplace.iterdir() if path.suffix not in (".py", ".npz")}


def stored_studies(workplace: Path) -> list[str]:
    """Return the studies in the database, ours and Optuna's, if there is one at all."""
    if not (workplace / "hpo.db").exists():
        return []
    with closing(sqlite3.connect(workplace / "hpo.db")) as connection:
        query = "select name from hpo_studies union all select study_name from studies"
        return [name for (name,) in connection.execute(query)]


def stored(workplace: Path, query: str, database: str = "hpo.db") -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(workplace / database)) as connection:
        return connection.execute(query).fetchall()


def trials(workplace: Path) -> list[tuple[Any, ...]]:
    """Return (cell, replicate, outcome) of every counted result."""
    query = "select cell, replicate, outcome from hpo_results order by cell, replicate"
    return stored(workplace, query)
