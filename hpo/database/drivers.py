"""What stands between us and a database: is it there, and is it new enough."""

import importlib
import sqlite3

from hpo.database.locations import shown, sqlite_path
from hpo.errors import StorageError

OLDEST_SQLITE = (3, 35, 0)  #: the first with RETURNING, by which trials are claimed


def check_driver(url: str) -> None:
    """Refuse PostgreSQL without its driver, and an SQLite that lacks what we need of it.

    Raises:
        StorageError: It is one of those; nothing was connected to or written.
    """
    if sqlite_path(url) is not None:
        _check_sqlite(url)
        return
    try:
        importlib.import_module("psycopg")
    except ImportError as error:  # also where it finds no libpq
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise StorageError(
            f"{shown(url)} needs psycopg, which cannot be loaded ({why}). "
            "pip install 'psycopg[binary]' adds it."
        ) from error


def _check_sqlite(url: str) -> None:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        oldest = ".".join(map(str, OLDEST_SQLITE[:2]))
        raise StorageError(
            f"This Python has SQLite {sqlite3.sqlite_version}, and hpo needs {oldest} or newer. Use a "
            "newer Python, or PostgreSQL: --storage postgresql+psycopg://... "
            f"Nothing was written to {shown(url)}."
        )
