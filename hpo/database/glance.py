"""A first glance at an SQLite database, before anything that takes long is imported."""

import sqlite3
from contextlib import closing
from pathlib import Path

PREFIX = "sqlite:///"


def is_done(url: str, name: str) -> bool:
    """Tell whether studies whose names begin with ``name`` are there, and nothing of them waits.

    It is a guess, by which nothing is decided but when processes are started: what is in the log
    of the database, or on a server, is not seen.
    """
    path = Path(url.removeprefix(PREFIX))
    if not url.startswith(PREFIX) or not path.is_file():
        return False
    query = """
        select count(*), sum(exists(select 1 from hpo_attempts
                                    where study = uuid and state in ('waiting', 'running', 'paused')))
        from hpo_studies where substr(name, 1, length(?)) = ?
    """
    try:
        address = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        with closing(sqlite3.connect(address, uri=True)) as connection:
            n_studies, n_busy = connection.execute(query, (name, name)).fetchone()
    except (sqlite3.Error, OSError, ValueError):
        return False
    return bool(n_studies) and not n_busy
