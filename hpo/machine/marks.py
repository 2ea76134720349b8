"""Marks: a locked file of this machine's memory by which others see that a process lives.

Two machines that were cloned agree in everything that names a process, so that each misses the
processes of the other. What they do not share are files which were made since: where a process's
mark lies and nobody locks it, just here it died. Where no mark lies nothing is known, and the same
is true where none can be made. The lock ends with the process, whatever ended it.
"""

import atexit
import contextlib
import fcntl
import os
import random
import re
import uuid
from pathlib import Path

LASTS = 86400.0  #: seconds for which the mark of a process that was killed is kept
SWEPT = 64  #: marks that each process looks at, drawn by chance, however many there are
_PREFIX = f"hpo-alive-{os.getuid()}-"
_NAME = re.compile(r"hpo-alive-\d+-[0-9a-f]{32}")
_held: dict[int, tuple[int, Path]] = {}  #: by process: what holds the lock, and the file


def make() -> str | None:
    """Mark this process as alive until it ends; return the mark's name, or None without one."""
    name = f"{_PREFIX}{uuid.uuid4().hex}"
    try:
        path = _folder() / name
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
    except OSError:  # nothing can be written here, or there is no place for it
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        path.unlink(missing_ok=True)
        return None
    with contextlib.suppress(OSError):  # by the clock that files are dated with, not by our own
        _forget_old(path.parent, os.fstat(descriptor).st_mtime)
    if not _held:
        atexit.register(remove)
    _held[os.getpid()] = descriptor, path
    return name


def remove() -> None:
    """Take the mark of this process away, before it ends without ado."""
    if os.getpid() in _held:  # a fork leaves its parent's alone
        descriptor, path = _held.pop(os.getpid())
        path.unlink(missing_ok=True)
        os.close(descriptor)


def is_abandoned(name: object) -> bool:
    """Tell whether a mark of this name lies here and the process that made it is gone."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return False
    try:
        return _is_unlocked(_folder() / name)
    except OSError:
        return False


def _is_unlocked(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _forget_old(folder: Path, now: float) -> None:
    """Delete the marks of processes of this user that were killed long ago."""
    with os.scandir(folder) as entries:
        found = [entry.name for entry in entries if entry.name.startswith(_PREFIX)]
    # A generator of its own: the numbers that a user draws stay what they were.
    for name in random.Random().sample(found, min(len(found), SWEPT)):
        path = folder / name
        with contextlib.suppress(OSError):
            if abs(now - path.stat().st_mtime) > LASTS and _is_unlocked(path):
                path.unlink()


def _folder() -> Path:
    """Return a folder that no two machines share: of memory, where there is one."""
    memory = Path("/dev/shm")  # the file has a random name and is never read
    if memory.is_dir():
        return memory
    import tempfile  # not needed on Linux

    return Path(tempfile.gettempdir())
