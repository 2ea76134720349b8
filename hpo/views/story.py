"""The story of a run on stderr: a live display on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from hpo.machine.console import say
from hpo.machine.printable import printable, printable_lines

if TYPE_CHECKING:  # the command line says things before it needs a database
    from hpo.experiment.experiment import Experiment
    from hpo.experiment.records import Slot
    from hpo.training.phases import Phases

PAUSE = 10.0  #: seconds between two plain lines about the same stack


class Story:
    """Shows how far a run is; the total is what was missing when it began."""

    def __init__(self) -> None:
        self._title = ""
        self._experiment: Experiment | None = None
        self._total = 0
        self._largest = 0  # budget of the search, which may grow
        self._done: dict[Slot, int] = {}
        self._said = time.monotonic()
        self._bar: Any = None
        self._task: Any = None
        self.phases: list[Phases] = []  #: of every worker that is done

    def began(self, title: str, experiment: "Experiment", n_updates: int) -> None:
        """Learn what will be trained."""
        self._title, self._experiment = printable(title), experiment
        self._total = n_updates
        self._largest = _largest(experiment)
        self._done.clear()
        if self._bar is not None:
            self._task = self._bar.add_task(self._title, total=self._total, accuracy="")

    def grew(self, experiment: "Experiment") -> None:
        """Learn of more cells, and say so once, whoever of the workers tells it first."""
        known = self._experiment
        if known is None or known.search is None or experiment.search is None:
            return
        more = _largest(experiment) - self._largest
        if more > 0:
            self._largest += more
            self._total += more
            if self._bar is not None:
                self._bar.update(self._task, total=self._total)
            self._line(f"{self._title}: the budget grew to {self._largest:,} updates")
        n_more = len(experiment.cells) - len(known.cells)
        are_chosen = experiment.search.is_over and not known.search.is_over
        if n_more < 0 or (n_more == 0 and not are_chosen):
            return
        self._experiment = experiment
        if n_more:
            self._line(f"{self._title}: {n_more} more proposals, {len(experiment.cells)} in all")
        if are_chosen and experiment.search.finalists:
            cells = ", ".join(map(str, experiment.search.finalists))
            n = experiment.search.replicates
            self._line(f"{self._title}: the finalists are cells {cells}; {n} replicates each")

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )

            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.completed:,.0f}/{task.total:,.0f} updates"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[accuracy]}"),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take the live display away; what is said from now on stands alone."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def claimed(self, slots: Sequence["Slot"], n_updates: int) -> None:
        """Say which cells are trained together."""
        cells = ", ".join(str(slot.cell) for slot in slots)
        together = "" if len(slots) == 1 else " in one stack"
        onward = f", from update {n_updates:,} on" if n_updates else ""
        plural = "" if len(slots) == 1 else "s"
        self._line(f"{self._title}: training cell{plural} {cells}{together}{onward}")

    def advanced(self, slot: "Slot", n_updates: int, accuracy: float) -> None:
        """Move the bar, or say a line now and then."""
        self._done[slot] = n_updates
        done = sum(self._done.values())
        if self._bar is not None:
            self._bar.update(self._task, completed=done, accuracy=f"accuracy {accuracy:.4f}")
        elif time.monotonic() - self._said >= PAUSE:
            self._said = time.monotonic()
            say(f"{self._title}: {done:,} of {self._total:,} updates ({done / self._total:.0%})")

    def ended(self, slot: "Slot", outcome: str, value: float | None) -> None:
        """Say what came out of a cell."""
        if self._experiment is None:
            return
        from hpo.experiment.records import Outcome, describe

        if (
            outcome != Outcome.PRUNED or self._experiment.search is None
        ):  # what a search saves is used up
            self._done[slot] = self._experiment.recipe(slot.cell).n_updates
        what = outcome if value is None else f"validation accuracy {value:.4f}"
        self._line(f"{self._title}: {describe(self._experiment, slot)}: {what}")

    def warn(self, text: str) -> None:
        """Say what the user should know."""
        self._line(text)

    def spent(self, phases: "Phases") -> None:
        """Keep it for the profile."""
        self.phases.append(phases)

    def profile(self) -> str:
        """Return where the time of every worker went, up to now."""
        from hpo.training.phases import table

        return table(self.phases)

    def _line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(printable_lines(text), highlight=False, markup=False)
        else:
            say(text)


def _largest(experiment: "Experiment") -> int:
    """Return the largest budget of a search; of a grid there is none."""
    if experiment.search is None:
        return 0
    from hpo.experiment import budgets

    return budgets.largest(experiment)
