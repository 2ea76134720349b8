"""The file of an SQLite database: that it is still the one that was opened, and who holds it.

Besides the file there are its log (``-wal``), which holds what was committed since the last
checkpoint, and an index of the log (``-shm``), through which processes tell each other what they
hold. A log that belongs to another state of the file, as after a backup was put back, would be
mixed into it by SQLite without a word. So each commit leaves a mark in the header of the first
page (SQLite's ``user_version``: 16 bits drawn by chance, and before them those of the commit
before), and a log whose marks do not go on from the file's is refused.
"""

import os
import secrets
import sqlite3
import struct
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from weakref import WeakSet

from hpo.errors import StorageError

LOCK_WAIT = 0.2  #: seconds that SQLite itself waits for a lock
WRITER = 120  #: the byte of the index that a writer locks
PENDING = 0x40000000  #: the byte of the file from which SQLite locks it when it has no log
MARK_AT = 60  #: where ``user_version`` is in the first page
LOOKS = 5  #: tries to find file and log agreeing; others may be writing
Identity = tuple[int, int]  #: device and inode


class DatabaseMoved(StorageError):
    """The file that was opened is not at its place any more."""


class LetsGo(sqlite3.Connection):
    """A connection that holds no lock once it was rolled back or closed.

    SQLite keeps a lock as long as a statement is not at its end, and Python keeps the statement as
    long as anybody has its cursor, as the traceback of what failed in the middle of a result has.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._cursors: WeakSet[sqlite3.Cursor] = WeakSet()

    def cursor(self, factory: Any = sqlite3.Cursor) -> Any:
        """Return a cursor, and remember it while anybody has it."""
        cursor = super().cursor(factory)
        self._cursors.add(cursor)
        return cursor

    def rollback(self) -> None:
        """Undo what was not committed, and end what was not read to its end."""
        self._end_statements()
        super().rollback()

    def close(self) -> None:
        """Close the database."""
        self._end_statements()
        super().close()

    def _end_statements(self) -> None:
        for cursor in list(self._cursors):
            cursor.close()


class SqliteFile:
    """One database file as this process opened it."""

    def __init__(self, path: Path, makes: bool = True, opened: Identity | None = None) -> None:
        """Open nothing yet.

        Args:
            makes: Make the file if there is none.
            opened: The only file that it may be, as another process opened it.
        """
        self.path = Path(os.path.abspath(path))
        self.opened = opened  #: what the first connection made or found
        self._makes = makes
        self._log_path = log_of(self.path)
        self._log: Identity | None = None

    def connect(self) -> sqlite3.Connection:
        """Return a connection to the file that the first one made or found.

        Raises:
            DatabaseMoved: Another file, or none, is there now.
        """
        self.check()
        before = self.opened or _identity(self.path)
        if before is None and not self._makes:
            raise self._moved("is gone")
        mode = "rw" if before else "rwc"  # what was removed is not made again
        connection = sqlite3.connect(
            f"{self.path.as_uri()}?mode={mode}",
            uri=True,
            timeout=LOCK_WAIT,
            check_same_thread=False,
            factory=LetsGo,
        )
        if self.opened is None:
            self.opened = before or _identity(self.path)
        try:
            self.check()
        except DatabaseMoved:
            connection.close()
            raise
        return connection

    def check(self) -> None:
        """Refuse to go on when the file, or its log, was removed or replaced.

        Raises:
            DatabaseMoved: It was.
        """
        if self.opened is None:
            return
        found = _identity(self.path)
        if found != self.opened:
            raise self._moved("is gone" if found is None else "was replaced by another file")
        if self._log is not None and _identity(self._log_path) != self._log:
            raise DatabaseMoved(
                f"{log_of(self.path)} was removed or replaced while it was in use. It belongs to the "
                "database, and what was stored in the last moments may be lost; run the same command "
                "again to train that once more."
            )

    def _moved(self, what: str) -> DatabaseMoved:
        return DatabaseMoved(
            f"The database {self.path} {what} while it was in use; nothing more was stored. Put "
            "the right one there, without -wal and -shm of another one, and run the same command again."
        )

    def is_lost(self) -> bool:
        """Tell whether `check` refuses."""
        try:
            self.check()
        except DatabaseMoved:
            return True
        return False

    def keep_log(self) -> None:
        """Remember the log, which stays the same file as long as a connection is open."""
        if self._log is None:
            self._log = _identity(self._log_path)


def log_of(path: Path) -> Path:
    """Return the write-ahead log of a database; it is beside the file itself, not beside a link."""
    return _beside(path, "-wal")


def has_log(path: Path) -> bool:
    """Tell whether commits wait in a log beside the database."""
    try:
        return log_of(path).stat().st_size > 0
    except OSError:
        return False


def has_index(path: Path) -> bool:
    """Tell whether the index of the log is there."""
    return _beside(path, "-shm").exists()


def refuse_foreign_log(path: Path) -> None:
    """Refuse a database whose log belongs to another state of it, before SQLite mixes the two.

    Raises:
        StorageError: The file was replaced, by a backup perhaps, and the log was not.
    """
    for look in range(LOOKS):
        if not has_log(path) or _belongs(path):
            return
        if look < LOOKS - 1:
            time.sleep(0.02)
    log = log_of(path)
    raise StorageError(
        f"{log} does not belong to {path.name}: it is the log of another state of the database, and "
        "would damage this one. Nothing was touched. If a backup was put back, move "
        f"{log.name} and {_beside(path, '-shm').name} away and run the same command again."
    )


def columns_in(path: Path) -> dict[str, list[str]]:
    """Return the columns of all tables and views in a file, which is only looked at.

    There are none in what is no database.
    """
    if not path.is_file():
        return {}
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        ) as connection:
            query = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
            return {name: _columns(connection, name) for (name,) in connection.execute(query)}
    except (OSError, sqlite3.Error, UnicodeDecodeError):  # whoever opens it is told what is wrong
        return {}


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    try:
        found = connection.execute("SELECT name FROM pragma_table_info(?)", [table])
        return [name for (name,) in found]
    except sqlite3.Error:  # a view of what is not there any more
        return []


def _belongs(path: Path) -> bool:
    """Tell whether the marks in the log go on from the file's own, as far as there are any."""
    try:
        marks = list(_marks(log_of(path)))
        if not marks or not any(marks):
            return True
        address = f"{path.resolve().as_uri()}?immutable=1"  # the file alone, without a lock
        with closing(sqlite3.connect(address, uri=True)) as connection:
            (mark,) = connection.execute("PRAGMA user_version").fetchone()
    except (OSError, sqlite3.Error):  # whoever opens it is told what is wrong
        return True
    return mark in marks or mark & 0xFFFF == (marks[0] >> 16) & 0xFFFF


def _marks(log: Path) -> Iterator[int]:
    """Yield the mark of every first page in a log, oldest first."""
    with log.open("rb", buffering=0) as file:
        header = file.read(32)
        if len(header) < 32:
            return
        _, _, page_size, _, *salts = struct.unpack(">6I", header[:24])
        place = 32
        while len(frame := file.read(24)) == 24:
            page, _, *own = struct.unpack(">4I", frame[:16])
            if own != salts:  # left over from before the log began anew
                return
            if page == 1:
                file.seek(place + 24 + MARK_AT)
                yield int(struct.unpack(">i", file.read(4))[0])
            place += 24 + page_size
            file.seek(place)


def next_mark(mark: int) -> int:
    """Return a mark for the commit after the one that left ``mark``, as SQLite's signed number."""
    while (own := secrets.randbits(16)) == mark & 0xFFFF:
        pass
    together = (mark & 0xFFFF) << 16 | own
    return together - 2**32 if together >= 2**31 else together


def holder(path: Path) -> str | None:
    """Return in words which process holds the database, where the kernel tells."""
    places = [(_identity(_beside(path, "-shm")), WRITER), (_identity(path), PENDING)]
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        match line.split():
            case [_, "POSIX", _, "WRITE", pid, file, first, last] if int(pid) > 0:
                inode = int(file.rpartition(":")[2])
                end = float("inf") if last == "EOF" else int(last)
                held = any(
                    place is not None and place[1] == inode and int(first) <= byte <= end
                    for place, byte in places
                )
                if held and int(pid) != os.getpid():
                    return _in_words(int(pid))
    return None


def _in_words(pid: int) -> str:
    try:
        told = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return f"process {pid}"
    name, _, state = told.partition("(")[2].rpartition(")")
    is_stopped = state.split()[0] in ("T", "t")
    shown = "".join(character for character in name if character.isprintable())
    return f"process {pid} ({shown}{', which is suspended' if is_stopped else ''})"


def _beside(path: Path, ending: str) -> Path:
    real = Path(os.path.realpath(path))  # unlike resolve() content with a circle of links
    return real.with_name(real.name + ending)


def _identity(path: Path) -> Identity | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
