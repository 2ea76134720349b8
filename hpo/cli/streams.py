"""Standard input, output and error as a program meets them: closed, full, or read by nobody.

None of that ends a command, whose work is in the database. What was to be written to standard
output and could not be is told by the exit status; the story on standard error may get lost.
"""

import errno
import io
import os
import signal
import sys
from typing import Any, TextIO

ENDED_BY_PIPE = 128 + signal.SIGPIPE  #: what shells show of a program whose reader has gone


class _Stream(io.FileIO):
    """Accepts whatever is written, and remembers the first error of it."""

    def __init__(self, descriptor: int, *, was_closed: bool, goes_on: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.lost: OSError | None = None
        self._was_closed = was_closed
        self._goes_on = goes_on  #: after an error; what comes later may get through

    def write(self, data: Any, /) -> int:
        """Write, and wait where the descriptor does not."""
        size = len(memoryview(data).cast("B"))
        if self._was_closed:
            self.lost = OSError(errno.EBADF, "it is closed")
        if self.lost is not None and not self._goes_on:
            return size
        try:
            while (written := super().write(data)) is None:
                import select

                select.select([], [self], [])
        except OSError as error:
            self.lost = self.lost or error
            return size
        return written


def secure() -> None:
    """Make all three usable, so that no database is opened as descriptor 2, and no write raises."""
    closed = [descriptor for descriptor in (0, 1, 2) if not _is_usable(descriptor)]
    for descriptor in closed:
        null = os.open(os.devnull, os.O_RDWR)
        if null != descriptor:
            os.dup2(null, descriptor)
            os.close(null)
    if sys.stdin is None or 0 in closed:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)))
    sys.stdout = _text(1, sys.stdout, was_closed=1 in closed, goes_on=False)
    sys.stderr = _text(2, sys.stderr, was_closed=2 in closed, goes_on=True)


def ended(status: int) -> int:
    """Flush what is left, and return the exit status, which says if standard output was lost."""
    sys.stdout.flush()
    lost = getattr(sys.stdout.buffer, "raw", None)
    error = lost.lost if isinstance(lost, _Stream) else None
    if error is not None and status == 0:
        status = ENDED_BY_PIPE if error.errno == errno.EPIPE else 1
        if status == 1:
            sys.stderr.write(
                f"hpo: Standard output cannot be written ({error.strerror}). The work is done and "
                "what belongs into the database is there; only its report is lost.\n"
            )
    sys.stderr.flush()
    return status


def _is_usable(descriptor: int) -> bool:
    try:
        io.FileIO(descriptor, "r" if descriptor == 0 else "w", closefd=False)
    except OSError:  # closed, or a folder
        return False
    return True


def _text(
    descriptor: int, given: TextIO | None, *, was_closed: bool, goes_on: bool
) -> io.TextIOWrapper:
    """Return a text stream; a character that its encoding lacks is written as a code."""
    raw = _Stream(descriptor, was_closed=was_closed, goes_on=goes_on)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(given, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=goes_on or raw.isatty(),
    )
