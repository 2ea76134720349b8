"""SIGINT and SIGTERM: the first asks to stop, the second ends the process at once."""

import os
import signal
from types import FrameType, TracebackType
from typing import Any, Self

from hpo.progress import say

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """We were told to stop while we waited for something."""


class StopRequest:
    """Whether somebody asked this process to stop; a context manager that listens for it.

    `Interrupted`, where nobody else has something to say about it, ends the program.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._previous: dict[int, Any] = {}

    def __call__(self) -> bool:
        """Tell whether a signal has come."""
        return self.signal is not None

    @property
    def exit_status(self) -> int:
        """The status that shells expect of a process ended by the signal."""
        return 128 + (self.signal or 0)

    def __enter__(self) -> Self:
        for number in SIGNALS:
            self._previous[number] = signal.signal(number, self._arrived)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if isinstance(error, Interrupted) and self.signal is not None:
            say("Interrupted; the same command goes on from here.")
            raise SystemExit(self.exit_status) from None

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.signal is not None:
            os._exit(128 + number)  # transactions are whole, whenever the process ends
        self.signal = number
