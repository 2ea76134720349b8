"""Waiting for a database: for one that is held as long as it takes, for one that is away a minute."""

import time
from collections.abc import Callable

from hpo.database.faults import explain, is_busy, is_transient
from hpo.database.locations import shown, sqlite_path
from hpo.database.sqlite_file import LOCK_WAIT, holder
from hpo.errors import HpoError
from hpo.machine.signals import Interrupted

AWAY_FOR = 60.0  #: seconds that we go on trying when nobody answers
TOLD_AFTER = 10.0  #: seconds after which a wait is told of
FIRST_PAUSE = 0.01  #: seconds between the first two tries


class Wait:
    """One wait: tells once whom it waits for, and is ended by who may stop us."""

    def __init__(
        self,
        url: str,
        stop: Callable[[], bool],
        notify: Callable[[str], None],
        away_for: float | None = None,
    ) -> None:
        self._url, self._stop, self._notify = url, stop, notify
        self._away_for = AWAY_FOR if away_for is None else away_for
        self._began = time.monotonic()
        self._away_since: float | None = None
        self._pause = FIRST_PAUSE
        self._has_told = False

    def after(self, error: Exception) -> None:
        """Return when it is time for another try.

        Raises:
            StorageError: Another try cannot help, or nobody answers for too long.
            Interrupted: We were told to stop.
        """
        explained = None if isinstance(error, HpoError) else explain(error, self._url)
        if explained is None:
            raise error
        if not is_transient(error):
            raise explained from error
        if is_busy(error):
            self._away_since = None
            self.held(lambda: _holder(self._url))
            return
        self._away_since = self._away_since or time.monotonic()
        if time.monotonic() - self._away_since > self._away_for:
            raise explained from error
        self._sleep()

    def held(self, by: Callable[[], str]) -> None:
        """Return when it is time to ask again for what another process holds.

        Args:
            by: Tells who that is.

        Raises:
            Interrupted: We were told to stop.
        """
        if not self._has_told and self.seconds > TOLD_AFTER:
            self._has_told = True
            self._notify(
                f"Waiting for {shown(self._url)}, which {by()} holds; Ctrl-C ends the wait."
            )
        self._sleep()

    @property
    def seconds(self) -> float:
        """How long it takes already."""
        return time.monotonic() - self._began

    def _sleep(self) -> None:
        if self._stop():
            raise Interrupted
        time.sleep(self._pause)
        self._pause = min(2 * self._pause, LOCK_WAIT)


def _holder(url: str) -> str:
    path = sqlite_path(url)
    if path is None:
        return "another session"
    return holder(path) or "another process"
