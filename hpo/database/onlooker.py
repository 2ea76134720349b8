"""A database that is looked at without leaving a trace: for commands that only say what they would do.

A reader of an SQLite database makes files beside it. So a copy is read, in a temporary folder that
is gone afterwards; of a server, read-only transactions are enough.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection

from hpo.database.locations import check_file, checked_url, shown, sqlite_path
from hpo.database.reader import Reader
from hpo.database.sqlite_file import log_of, refuse_foreign_log
from hpo.database.storage import Storage
from hpo.errors import NotWrittenYet, StorageError

T = TypeVar("T")
TRIES = 5  #: copies of a database that others write to


class Onlooker(Storage):
    """A storage in which nothing can be written."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def read(self, action: Callable[[Connection], T]) -> T:
        """Run ``action``, which only reads."""
        return self._reader.read(action)

    def write(self, action: Callable[[Connection], T]) -> T:
        """Run ``action``, which would follow what it finds and must only read here."""
        return self._reader.read(action)


@contextmanager
def looking(url: str, notify: Callable[[str], None]) -> Iterator[Onlooker | None]:
    """Open a database to look at; None if there is none, or nothing of ours is in it.

    Raises:
        StorageError: It cannot be read, or is none.
    """
    url = checked_url(url)
    path = sqlite_path(url)
    with tempfile.TemporaryDirectory(prefix="hpo-look-") as folder:
        seen = url
        if path is not None:
            check_file(path)
            if not path.exists():
                yield None
                return
            refuse_foreign_log(path)
            copy = _copied(path, Path(folder))
            seen = sa.URL.create("sqlite", database=str(copy)).render_as_string()
        try:
            reader = Reader(seen)
        except NotWrittenYet:
            notify(f"{shown(url)} holds nothing of ours yet; a run makes its tables there.")
            yield None
            return
        except StorageError as error:
            told = str(error) if path is None else str(error).replace(str(copy), str(path))
            raise StorageError(told) from error
        try:
            yield Onlooker(reader)
        finally:
            reader.close()


def _copied(path: Path, folder: Path) -> Path:
    """Return a copy of a database with its log; what is committed meanwhile may be missing."""
    copy = folder / "copy.db"
    for _ in range(TRIES):
        before = os.stat(path)
        shutil.copyfile(path, copy)
        log_of(copy).unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            shutil.copyfile(log_of(path), log_of(copy))
        after = os.stat(path)
        if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
            break  # else the log was moved into the database meanwhile
    return copy
