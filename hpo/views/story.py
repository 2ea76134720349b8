"""The story of a run on stderr: one calm screen on a terminal, plain lines elsewhere."""

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self

from hpo.machine.console import say
from hpo.machine.hints import completed
from hpo.machine.printable import printable, printable_lines

if TYPE_CHECKING:  # the command line says things before it needs a database
    from hpo.experiment.experiment import Experiment
    from hpo.experiment.records import Slot
    from hpo.training.phases import Phases
    from hpo.views.standing import Snapshot, Standing

PAUSE = 10.0  #: seconds between two plain lines about the same stack
LOOK = 2.0  #: seconds between two looks at what others do, at least
MOST_FOR_LOOKS = 0.01  #: share of a core that looks take beside the training
FRAMES = 4  #: a second
MOST_FOR_FRAMES = 0.02  #: share of a core that drawing them takes


class Story:
    """Shows how far a run is."""

    def __init__(self, look: "Callable[[str], Snapshot | None] | None" = None) -> None:
        """Take whom to ask what the database knows of the study that is worked on."""
        self._title = ""
        self._told: Experiment | None = None  # of which lines have told
        self._largest = 0  # budget of which a line has told
        self._standing: Standing | None = None
        self.look = look
        self._lock = threading.Lock()
        self._said = time.monotonic()
        self._live: Any = None
        self._frame: Any = ""
        self._redrawn_at = 0.0
        self._is_over = threading.Event()
        self._looking: threading.Thread | None = None
        self.phases: list[Phases] = []  #: of every worker that is done

    def began(self, title: str, experiment: "Experiment", n_updates: int) -> None:
        """Learn what will be trained."""
        from hpo.views.standing import Standing

        del n_updates  # what is left is known better, cell by cell
        self._title = printable(title)
        self._told, self._largest = experiment, 0
        with self._lock:
            self._standing = Standing(title, experiment)
        if not _is_live():
            return
        self._take_a_look()
        if self.look is not None and self._looking is None:
            self._looking = threading.Thread(target=self._keep_looking, daemon=True)
            self._looking.start()
        if self._live is None:
            from rich.console import Console
            from rich.live import Live

            console = Console(stderr=True)
            self._live = Live(
                get_renderable=lambda: self._drawn(console.width),
                console=console,
                refresh_per_second=FRAMES,
            )
            self._live.start()

    def grew(self, experiment: "Experiment") -> None:
        """Learn of more cells, and say so once, whoever of the workers tells it first."""
        known = self._told
        if known is None or known.search is None or experiment.search is None:
            return
        from hpo.experiment import budgets

        largest = budgets.largest(experiment)
        if largest > max(self._largest, budgets.largest(known)):
            self._largest = largest
            self._line(f"{self._title}: the budget grew to {largest:,} updates")
        n_more = len(experiment.cells) - len(known.cells)
        are_chosen = experiment.search.is_over and not known.search.is_over
        if n_more < 0 or (n_more == 0 and not are_chosen):
            return
        self._told = experiment
        if self._standing is not None:
            with self._lock:
                self._standing.follow(experiment)
        if n_more:
            self._line(f"{self._title}: {n_more} more proposals, {len(experiment.cells)} in all")
        if are_chosen and experiment.search.finalists:
            cells = ", ".join(map(str, experiment.search.finalists))
            n = experiment.search.replicates
            self._line(f"{self._title}: the finalists are cells {cells}; {n} replicates each")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the last frame as it is; what is said from now on stands below it."""
        self._is_over.set()
        if self._looking is not None:
            self._looking.join()
            self._looking = None
        if self._live is not None:
            self._take_a_look()
            self._live.stop()
            self._live = None

    def claimed(self, slots: Sequence["Slot"], n_updates: int) -> None:
        """Say which cells are trained together."""
        with self._lock:
            for slot in slots:
                if self._standing is not None:
                    self._standing.claimed(slot, n_updates)
        if self._live is not None:
            return
        cells = ", ".join(str(slot.cell) for slot in slots)
        together = "" if len(slots) == 1 else " in one stack"
        onward = f", from update {n_updates:,} on" if n_updates else ""
        plural = "" if len(slots) == 1 else "s"
        self._line(f"{self._title}: training cell{plural} {cells}{together}{onward}")

    def advanced(self, slot: "Slot", n_updates: int, accuracy: float) -> None:
        """Keep the value for the screen, or say a line now and then."""
        if self._standing is None:
            return
        with self._lock:
            self._standing.advanced(slot, n_updates, accuracy)
        self.remind()

    def remind(self) -> None:
        """Say a line where there is no screen and nothing was said for a while."""
        standing = self._standing
        if standing is None or self._live is not None or time.monotonic() - self._said < PAUSE:
            return
        from hpo.views.screen import best_so_far, pace

        self._said = time.monotonic()
        with self._lock:
            best, speed = best_so_far(standing), pace(standing)
        self._line(f"{self._title}: {speed}; best so far {best}")

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to train."""
        with self._lock:
            return self._standing is not None and self._standing.is_complete

    def ended(self, slot: "Slot", outcome: str, value: float | None) -> None:
        """Say what came out of a cell."""
        if self._standing is None:
            return
        with self._lock:
            self._standing.ended(slot, outcome, value)
        if self._live is not None:
            return
        from hpo.experiment.records import describe

        what = outcome if value is None else f"validation accuracy {value:.4f}"
        self._line(f"{self._title}: {describe(self._standing.experiment, slot)}: {what}")

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

    def _drawn(self, width: int) -> Any:
        """Return the frame to be shown: of thousands of cells the last one, for as long as it must be."""
        from hpo.views.screen import drawn

        if time.monotonic() < self._redrawn_at and not self._is_over.is_set():
            return self._frame
        before = time.thread_time()
        with self._lock:
            self._frame = drawn(self._standing, width) if self._standing is not None else ""
        self._redrawn_at = time.monotonic() + (time.thread_time() - before) / MOST_FOR_FRAMES
        return self._frame

    def see(self, found: "Snapshot") -> None:
        """Take over what the database knows."""
        with self._lock:
            if self._standing is not None:
                self._standing.look(found)

    def _keep_looking(self) -> None:
        pause = LOOK
        while not self._is_over.wait(pause):
            before = time.thread_time()
            self._take_a_look()
            pause = max(LOOK, (time.thread_time() - before) / MOST_FOR_LOOKS)

    def _take_a_look(self) -> None:
        standing = self._standing
        found = self.look(standing.name) if self.look is not None and standing is not None else None
        if found is not None:
            self.see(found)

    def _line(self, text: str) -> None:
        if self._live is not None:
            self._live.console.print(
                printable_lines(completed(text)), highlight=False, markup=False
            )
        else:
            say(text)


def _is_live() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM") not in (None, "", "dumb", "unknown")
