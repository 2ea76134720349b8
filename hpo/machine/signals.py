"""SIGINT and SIGTERM: the first asks to stop, the second ends the process at once.

Commands that train listen with a `StopRequest`; of the others the first signal is the end too.
"""

import os
import signal
import sys
import time
from types import FrameType, TracebackType
from typing import Any, Self

from hpo.machine.console import say

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """We were told to stop while we waited for something."""


def end_at_once() -> None:
    """Let a signal end this process without a word: for a program that is still being imported."""

    def arrived(number: int, frame: FrameType | None) -> None:
        del frame
        os._exit(128 + number)

    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, arrived)


class Interruption:
    """A signal to a command that does not listen for any: it is left, and a second one ends it.

    A context manager for the whole of a program. What is left in the middle may raise what it
    likes, so the status is said here.
    """

    def __init__(self) -> None:
        self.status = 0  #: that shells expect of a process ended by the signal; 0 if none has come

    def __enter__(self) -> Self:
        sys.unraisablehook = self._ignored
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._arrived)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        end_at_once()  # nothing is left to do but to flush
        return bool(self.status)

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.status:
            os._exit(self.status)
        self.status = 128 + number
        raise KeyboardInterrupt

    def _ignored(self, told: "sys.UnraisableHookArgs") -> None:
        """End where Python would print a traceback and go on, as when an object is taken down."""
        if self.status and isinstance(told.exc_value, KeyboardInterrupt):
            os._exit(self.status)
        sys.__unraisablehook__(told)


class StopRequest:
    """Whether somebody asked this process to stop; a context manager that listens for it.

    `Interrupted`, where nobody else has something to say about it, ends the program.
    """

    def __init__(self, hours: float | None = None) -> None:
        """Listen to nobody yet.

        Args:
            hours: Time after which to stop without a signal, too.
        """
        self.signal: int | None = None
        self._previous: dict[int, Any] = {}
        self._ends = None if hours is None else time.monotonic() + 3600 * hours

    def __call__(self) -> bool:
        """Tell whether a signal has come, or the time is up."""
        return self.signal is not None or self.is_late

    @property
    def is_late(self) -> bool:
        """Whether the time is up."""
        return self._ends is not None and time.monotonic() > self._ends

    @property
    def exit_status(self) -> int:
        """The status that shells expect of a process ended by the signal; 0 if the time was up."""
        return 0 if self.signal is None and self.is_late else 128 + (self.signal or 0)

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
        if isinstance(error, Interrupted) and self():
            say("Interrupted; the same command goes on from here.")
            raise SystemExit(self.exit_status) from None

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.signal is not None:
            os._exit(128 + number)  # transactions are whole, whenever the process ends
        self.signal = number
