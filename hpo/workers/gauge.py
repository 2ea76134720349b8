"""How fast a process trains: counted while it does, and told by its heart (`hpo.workers.membership`)."""

import time

EVIDENCE = 1.0  #: seconds of training from which a pace is told


class Gauge:
    """The work of one process in one study, counted in updates of a network.

    Training asks before every update whether to stop, and calls `step` then; at a log point `reached`
    says exactly how far it is. A thread may read what another one counts.
    """

    def __init__(self) -> None:
        self.token: str | None = None  #: of the claim that is trained
        self.n_steps = 0  #: in all; while they grow, the training moves
        self._pace: float | None = None  #: seconds for an update of a network, before this claim
        self._width, self._left, self._done, self._since = 0, 0, 0, 0.0
        self._uncounted = 0  #: steps since the last log point

    def turn(self) -> None:
        """Begin with another study, in which an update takes another time."""
        self._pace = None

    def begin(self, token: str, width: int, work_left: int) -> None:
        """Begin with a stack of so many networks."""
        self._width, self._left, self._done, self._uncounted = width, work_left, 0, 0
        self._since = time.monotonic()
        self.n_steps += 1  # what hangs before the first update has moved till here
        self.token = token

    def step(self) -> None:
        """Count an update of the stack, or a part of an evaluation."""
        self.n_steps += 1
        self._uncounted += 1

    def reached(self, n_done: int, width: int, work_left: int) -> None:
        """Say how many updates of a network were made since the last log point, and what is left."""
        self._done += n_done
        self._width, self._left, self._uncounted = width, work_left, 0

    def end(self) -> None:
        """Hold nothing any more; the pace stays known."""
        self._pace = self.pace
        self.token = None

    @property
    def pace(self) -> float | None:
        """Seconds for an update of a network in this study; None where nothing tells it."""
        passed = time.monotonic() - self._since
        if self.token is None or passed < EVIDENCE:
            return self._pace
        return passed / max(1, self._done + self._uncounted * self._width)

    @property
    def work_left(self) -> int:
        """Updates of networks that are left of what is held."""
        if self.token is None:
            return 0
        return max(0, self._left - self._uncounted * self._width)
