"""Work for idle workers: who holds a stack gives half of it back when somebody has none.

An idle worker says so in a row, once (in the table of leases), and each holder looks for such rows
when it writes the end of a cycle, where trials can change hands without a loss.
"""

import time
from collections.abc import Collection

from hpo.database import idle
from hpo.mirror.study import OpenStudy

WORTH_SHARING = 1.0  #: seconds of training left from which another worker's start pays


class Pace:
    """How long a stack takes for an update, and so how long for what is left of it."""

    def __init__(self, n_updates: int) -> None:
        self._measured_at = time.monotonic()
        self._n_updates = n_updates

    def surplus(
        self,
        study: OpenStudy,
        held: Collection[int],
        saved: Collection[int],
        n_updates: int,
    ) -> list[int]:
        """Return the cells to give back: an equal share for each idle worker.

        Args:
            held: Cells that are trained here.
            saved: Those with a checkpoint after just these ``n_updates``: nothing is lost by them.
        """
        now = time.monotonic()
        pace = (now - self._measured_at) / max(1, n_updates - self._n_updates)
        self._measured_at, self._n_updates = now, n_updates
        left = {cell: study.experiment.recipe(cell).n_updates - n_updates for cell in held}
        if len(left) < 2 or pace * max(left.values()) < WORTH_SHARING:
            return []
        n = study.storage.read(lambda connection: idle.n_idle(connection, study.uuid))
        n_given = len(left) - -(-len(left) // (n + 1))
        can_go = [cell for cell in held if cell in saved]
        return can_go[len(can_go) - min(n_given, len(can_go)) :]
