"""Opening files that users name: only regular ones, which neither wait nor go on for ever."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading, if it is one.

    Raises:
        OSError: It cannot be opened, or is a folder, a pipe, a device or a socket.
    """
    _check(os.stat(path), path)  # opening a device can do things
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check(os.fstat(descriptor), path)  # it may be another one by now
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _check(found: os.stat_result, path: Path) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    for is_kind, name in KINDS:
        if is_kind(found.st_mode):
            raise OSError(errno.EINVAL, f"it is {name}, and not a file", str(path))
