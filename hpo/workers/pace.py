"""Work for idle workers: who holds a stack gives half of it back when somebody has none.

An idle worker says so in its row, once, and each holder looks for such rows at log points, now and
then: from every one of them training goes on elsewhere with the same bits.
"""

import time
from collections.abc import Collection

from hpo.database import idle
from hpo.mirror.study import OpenStudy

WORTH_SHARING = 1.0  #: seconds of training left from which another worker's start pays
WORTH_SAVING = 3.0  #: the same within a cycle, where what is shared must be saved for it
LOOK_EVERY = 2.0  #: seconds between two looks for idle workers at log points within a cycle


class Pace:
    """How long a stack takes for an update, and so how long for what is left of it."""

    def __init__(self, n_updates: int) -> None:
        self._measured_at = time.monotonic()
        self._n_updates = n_updates
        self._looked = time.monotonic()

    def surplus(
        self,
        study: OpenStudy,
        held: Collection[int],
        can_go: Collection[int],
        n_updates: int,
        *,
        is_cycle_end: bool = True,
    ) -> list[int]:
        """Return the cells to give back: an equal share for each idle worker.

        Args:
            held: Cells that are trained here.
            can_go: Those that are at a log point after just these ``n_updates``.
            is_cycle_end: Look in any case; else only now and then.
        """
        now = time.monotonic()
        if not is_cycle_end and now - self._looked < LOOK_EVERY:
            return []
        pace = (now - self._measured_at) / max(1, n_updates - self._n_updates)
        self._measured_at, self._n_updates, self._looked = now, n_updates, now
        left = {cell: study.experiment.recipe(cell).n_updates - n_updates for cell in held}
        worth = WORTH_SHARING if is_cycle_end else WORTH_SAVING
        if len(left) < 2 or pace * max(left.values()) < worth:
            return []
        n = study.storage.read(lambda connection: idle.n_idle(connection, study.uuid))
        n_given = len(left) - -(-len(left) // (n + 1))
        free = [cell for cell in held if cell in can_go]
        return free[len(free) - min(n_given, len(free)) :]
