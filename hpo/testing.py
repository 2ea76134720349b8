"""What tests of code that uses hpo need: the facts of a data set, somebody who watches, and patience.

Nothing here needs a test framework or a database, and nothing in hpo uses it.

>>> import hpo, tempfile
>>> from hpo.testing import Recorder
>>> watcher = Recorder()
>>> quick = hpo.StudyDefinition(name="quick", grid=hpo.Values((1e-3, 1e-2)), n_s=5, n_cycles=1)
>>> with tempfile.TemporaryDirectory() as folder:
...     study = hpo.run(
...         quick, data="digits", storage=f"sqlite:///{folder}/hpo.db",
...         progress=watcher, stop=watcher.stop,
...     )
>>> watcher.stacks, watcher.warnings
([[Slot(cell=0, replicate=0), Slot(cell=1, replicate=0)]], [])
"""

import math
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from hpo.experiment.experiment import DataFacts
from hpo.experiment.records import Slot
from hpo.training.progress import Silent

__all__ = ["Recorder", "Silent", "digits_facts", "until"]

T = TypeVar("T")
PAUSE = 0.02  #: seconds between two looks at a condition


def digits_facts() -> DataFacts:
    """Return what an experiment on the digits knows of its data, without loading them.

    The fingerprint is made up, so that a study of these facts is never one of the real digits.

    >>> digits_facts().n_training
    1200
    """
    return DataFacts(
        name="digits",
        fingerprint="a" * 64,
        n_training=1200,
        n_validation=300,
        d=64,
        n_classes=10,
        image_shape=(8, 8),
    )


class Recorder(Silent):
    """A `Progress` that keeps what it is told, acts at one log point, and asks to stop at another.

    Args:
        stop_after: Log points after which `stop` says so; never by default.
        at: The log point at which ``act`` is called, counted from 1 over all slots.
        act: What is done then, in the middle of the training.
    """

    def __init__(
        self,
        stop_after: float = math.inf,
        *,
        at: int = 0,
        act: Callable[[], object] = lambda: None,
    ) -> None:
        self.stop_after, self.at, self.act = stop_after, at, act
        #: Log points so far, over all slots.
        self.n_points = 0
        #: The slots of each stack whose training began.
        self.stacks: list[list[Slot]] = []
        #: The value of each slot that ended; None where it has none, as it diverged.
        self.results: dict[Slot, float | None] = {}
        #: What the user would have been warned of.
        self.warnings: list[str] = []

    def stop(self) -> bool:
        """Return whether to stop now; hand it on as ``stop=``."""
        return self.n_points >= self.stop_after

    def claimed(self, slots: Sequence[Slot], n_updates: int) -> None:
        """Keep the stack."""
        self.stacks.append(list(slots))

    def advanced(self, slot: Slot, n_updates: int, accuracy: float) -> None:
        """Count the log point, and act if it is the one."""
        self.n_points += 1
        if self.n_points == self.at:
            self.act()

    def ended(self, slot: Slot, outcome: str, value: float | None) -> None:
        """Keep the value."""
        self.results[slot] = value

    def warn(self, text: str) -> None:
        """Keep the warning."""
        self.warnings.append(text)


def until(condition: Callable[[], T], *, seconds: float = 30.0) -> T:
    """Wait until a condition holds, and return what it gave.

    Raises:
        TimeoutError: It did not hold within so many seconds.

    >>> until(lambda: "done")
    'done'
    """
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() >= end:
            raise TimeoutError(f"The condition did not hold within {seconds:g} s.")
        time.sleep(PAUSE)
    return found
