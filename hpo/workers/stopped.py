"""Worker processes that somebody stopped, with SIGSTOP or a debugger, and that hold up others.

A stopped process neither works nor ends. It is left alone while nobody needs what it holds, and
ended when the run is over, when it holds the database, and when it was silent for so long that
others take over its cells. Nothing is lost by that: what it did is in its checkpoints.
"""

import subprocess
import threading
from collections.abc import Callable, Sequence

from hpo.database.fleet import patience_of
from hpo.database.storage import Storage
from hpo.machine.process import is_stopped
from hpo.machine.sightings import Sightings

LOOK = 0.5  #: seconds between two looks
HURRY = 2.0  #: seconds that a stopped process is waited for when all others are done
HELD = 4  #: looks one after the other at which the database is held


class Warden(threading.Thread):
    """Looks after the processes of a run, also while their parent waits for the database."""

    def __init__(
        self,
        storage: Storage,
        processes: Callable[[], Sequence["subprocess.Popen[bytes]"]],
        grace: float,
    ) -> None:
        super().__init__(name="warden", daemon=True)
        self.is_over = threading.Event()  #: whether the run waits for nothing but the ends
        self.ended: set[int] = set()  #: process ids
        self._storage = storage
        self._processes = processes
        self._grace = grace
        self._n_held = 0
        self._seen = Sightings()
        self._left = threading.Event()

    def run(self) -> None:
        """Look until told to leave."""
        while not self._left.wait(LOOK):
            self._look()

    def leave(self) -> None:
        """Look no more."""
        self._left.set()
        self.join(timeout=2 * LOOK)

    def _look(self) -> None:
        present = [process for process in self._processes() if process.returncode is None]
        stopped = [process for process in present if is_stopped(process.pid)]
        for process in present:
            state = "stopped" if process in stopped else "runs"
            seconds = self._seen.unchanged_for(str(process.pid), state)
            if state == "stopped" and seconds > self._limit(len(stopped) == len(present)):
                self.ended.add(process.pid)
                process.kill()
        self._n_held = self._n_held + 1 if stopped and _is_held(self._storage) else 0

    def _limit(self, all_are: bool) -> float:
        if self.is_over.is_set() or self._n_held >= HELD:
            return HURRY
        # Somebody who stops them all wants them to be stopped.
        return float("inf") if all_are else self._grace + patience_of(self._grace)


def _is_held(storage: Storage) -> bool:
    """Tell whether another process holds SQLite's lock; PostgreSQL ends an idle transaction itself."""
    if storage.engine.dialect.name != "sqlite":
        return False
    return storage.is_held()
