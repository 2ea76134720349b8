"""Somebody who watches the training: what is told to whom, as it happens."""

from collections.abc import Sequence
from typing import Protocol

from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Slot
from hpo.training.phases import Phases


class Progress(Protocol):
    """Somebody who watches the training.

    >>> import hpo
    >>> class Ends(hpo.testing.Silent):
    ...     def ended(self, slot, outcome, value):
    ...         print(f"cell {slot.cell}: {value}")
    >>> watcher: hpo.Progress = Ends()
    >>> watcher.ended(Slot(3, 0), hpo.Outcome.COMPLETE, 0.5)
    cell 3: 0.5
    """

    def began(self, title: str, experiment: Experiment, n_updates: int) -> None:
        """A study is being worked on which needs so many updates, or that many at most."""

    def grew(self, experiment: Experiment) -> None:
        """A search has added cells, or replicates of some."""

    def claimed(self, slots: Sequence[Slot], n_updates: int) -> None:
        """These slots are being trained now, from so many updates on."""

    def advanced(self, slot: Slot, n_updates: int, accuracy: float) -> None:
        """A slot has reached a log point."""

    def ended(self, slot: Slot, outcome: str, value: float | None) -> None:
        """A slot has its result."""

    def warn(self, text: str) -> None:
        """Something happened that the user should know."""

    def spent(self, phases: Phases) -> None:
        """A worker is done, and this is where its time went."""


class Silent:
    """A `Progress` that keeps what it is told to itself."""

    def began(self, title: str, experiment: Experiment, n_updates: int) -> None:
        """Say nothing."""

    def grew(self, experiment: Experiment) -> None:
        """Say nothing."""

    def claimed(self, slots: Sequence[Slot], n_updates: int) -> None:
        """Say nothing."""

    def advanced(self, slot: Slot, n_updates: int, accuracy: float) -> None:
        """Say nothing."""

    def ended(self, slot: Slot, outcome: str, value: float | None) -> None:
        """Say nothing."""

    def warn(self, text: str) -> None:
        """Say nothing."""

    def spent(self, phases: Phases) -> None:
        """Say nothing."""
