"""Where the time of a run goes, by phase: ``hpo run --profile``.

A worker's time is cut into laps without gaps: whatever passed since the last lap belongs to the
phase that ends. So the phases of a worker add up to the time from the run's start to its end.
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

#: In order; ``start`` ends at the first claim, ``prepare`` builds a stack, ``end`` is the parent's.
PHASES = (
    "start",
    "prepare",
    "gather",
    "forward",
    "backward",
    "evaluation",
    "database",
    "waiting",
    "end",
)
TRAINING = frozenset(("gather", "forward", "backward", "evaluation"))


@dataclass
class Phases:
    """The time of one worker."""

    #: When the run began, in seconds of `time.time`, which all its processes share.
    began: float
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    #: When the first update began and the last one was over; None before there was one.
    first_update: float | None = None
    last_update: float | None = None

    def __post_init__(self) -> None:
        self._last = time.perf_counter() - (time.time() - self.began)

    def lap(self, phase: str) -> None:
        """End a phase."""
        now = time.perf_counter()
        if phase in TRAINING:
            moment = time.time()
            if self.first_update is None:
                self.first_update = moment - (now - self._last)
            self.last_update = moment
        self.seconds[phase] += now - self._last
        self._last = now

    def received(self) -> None:
        """Go on in another process, whose clock has its own zero."""
        self._last = time.perf_counter()


def table(workers: Sequence[Phases]) -> str:
    """Return a column of phases for every worker, up to now, and what passed outside the training."""
    ended = time.time()
    for worker in workers:
        worker.lap("end")
    every = [w for w in workers if w.first_update is not None]
    if not every:
        return "Nothing was trained, so there is nothing to profile."
    whole = ended - min(w.began for w in every)
    first = min(w.first_update for w in every if w.first_update)
    last = max(w.last_update for w in every if w.last_update)
    header = "".join(f"{f'worker {n}':>12}" for n in range(1, len(every) + 1))
    lines = [f"{'phase':<12}{header}{'share':>8}"]
    for phase in PHASES:
        spent = [w.seconds.get(phase, 0.0) for w in every]
        columns = "".join(f"{seconds:>10.3f} s" for seconds in spent)
        lines.append(f"{phase:<12}{columns}{sum(spent) / (whole * len(every)):>8.1%}")
    sums = [sum(w.seconds.values()) for w in every]
    columns = "".join(f"{seconds:>10.3f} s" for seconds in sums)
    lines += [
        f"{'sum':<12}{columns}{sum(sums) / (whole * len(every)):>8.1%}",
        f"before the first update: {first - min(w.began for w in every):.3f} s",
        f"after the last update: {ended - last:.3f} s",
        f"whole run: {whole:.3f} s",
    ]
    return "\n".join(lines)
