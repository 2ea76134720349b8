"""A copy of a whole database in one SQLite file, while workers go on: ``hpo backup``.

It is of one moment. What was in training then waits in it, from its last checkpoint on, and it knows no
worker, so that it is a database like any other wherever it is put.
"""

import errno
import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hpo.database import carrying
from hpo.database.connections import Connection
from hpo.database.locations import DEFAULT_STORAGE, checked_url, sqlite_path
from hpo.database.reader import Reader
from hpo.database.sqlite_file import log_of
from hpo.database.storage import Storage
from hpo.errors import HpoError, OutputError, StorageError
from hpo.mirror import copying, shelf
from hpo.mirror import study as studies
from hpo.planning.plan import plan

#: How file systems refuse a second name for a file: sticks, shares.
NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)
ABANDONED_AFTER = 3600.0  #: seconds after which a part that nobody writes to may be deleted


def backup(
    file: str | Path,
    *,
    storage: str = DEFAULT_STORAGE,
    stop: Callable[[], bool] = lambda: False,
    notify: Callable[[str], None] = lambda _: None,
) -> int:
    """Write a backup and return the number of studies in it; the file appears when it is whole.

    Args:
        file: A new file; one that is there is not touched.
        notify: Is told what could not be taken along, and whom a wait is for.

    Raises:
        OutputError: It cannot be written.
        HpoError: It is there already.
        StorageError: There is no database, or it cannot be read.
        Interrupted: ``stop`` said so.

    >>> import hpo, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     study = hpo.submit("coarse", data="digits", storage=f"sqlite:///{folder}/hpo.db")
    ...     hpo.backup(f"{folder}/backup.db", storage=study.storage)
    1
    """
    file = Path(file)
    _refuse_old(file)
    _sweep(file)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        reader = Reader(storage, stop, notify)
        try:
            _copied(reader, part, stop, notify)
        finally:
            reader.close()
        n_studies = _freed(part, stop, notify)
        _refuse_old(file)
        try:
            _put(part, file)
        except FileExistsError:
            _refuse_old(file)
    except (OSError, sqlite3.Error) as error:
        raise OutputError(file, _fault(error)) from error
    finally:
        for left in _with_log(part):
            left.unlink(missing_ok=True)
    return n_studies


def _with_log(part: Path) -> tuple[Path, ...]:
    return part, log_of(part), Path(f"{part}-shm")


def _sweep(file: Path) -> None:
    """Delete what killed backups to this file have left."""
    part = re.compile(rf"\.{re.escape(file.name)}\.\d+\.part(-wal|-shm)?")
    with suppress(OSError):  # whoever writes there says why
        found = [file.with_name(n) for n in os.listdir(file.parent) if part.fullmatch(n)]
        if found:
            with tempfile.TemporaryFile(dir=file.parent) as new:
                now = os.fstat(new.fileno()).st_mtime  # by the clock of that file system
            for left in found:
                if now - left.stat().st_mtime > ABANDONED_AFTER:
                    left.unlink(missing_ok=True)


def _put(part: Path, file: Path) -> None:
    """Let a whole file appear under its name, where none may be."""
    try:
        os.link(part, file)  # unlike a renaming, it overwrites nothing
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        with part.open("rb") as source, open(file, "xb", opener=_of_the_user) as target:
            try:
                shutil.copyfileobj(source, target)
                target.flush()
                os.fsync(target.fileno())
            except BaseException:
                file.unlink(missing_ok=True)
                raise


def _of_the_user(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _refuse_old(file: Path) -> None:
    if os.path.lexists(file):
        raise HpoError(f"{file} is there already and was not touched. Name a new file.")


def _fault(error: OSError | sqlite3.Error) -> OSError:
    return error if isinstance(error, OSError) else OSError(0, str(error))


def _copied(
    reader: Reader, part: Path, stop: Callable[[], bool], notify: Callable[[str], None]
) -> None:
    if sqlite_path(checked_url(reader.url)) is None:
        _carried(reader, part, stop, notify)
        return
    part.touch(mode=0o600)
    target = sqlite3.connect(part)
    try:
        with reader.engine.connect() as connection:
            source = connection.connection.driver_connection
            if source is None:
                raise StorageError("The database was closed meanwhile.")
            source.backup(target)
    finally:
        target.close()


def _carried(
    reader: Reader, part: Path, stop: Callable[[], bool], notify: Callable[[str], None]
) -> None:
    """Carry all studies that can be read from a server into a file, each of the same moment."""

    def carry(connection: Connection) -> None:
        found = shelf.look(connection)
        with Storage(f"sqlite:///{part.absolute()}", stop, notify=notify) as target:
            for study in found.studies:
                copying.copy(connection, study, target, is_backup=True)
        for damaged in found.unreadable:
            notify(f"{damaged.name!r} is not in the backup: it cannot be read.")

    reader.read(carry)


def _freed(part: Path, stop: Callable[[], bool], notify: Callable[[str], None]) -> int:
    """Let what was in training wait, and no worker be known; return how many studies there are."""
    with Storage(f"sqlite:///{part.absolute()}", stop, notify=notify) as storage:
        storage.write(carrying.free)
        found = storage.read(shelf.look)
        for stored in found.studies:
            study = studies.by_uuid(storage, stored.uuid)
            if study is not None:
                plan(study)
        storage.write(carrying.free)  # of the planner's lease
    return len(found.studies) + len(found.unreadable)
