"""The nouns that travel: studies, slots, attempts, results and points, as they are stored."""

from dataclasses import dataclass
from typing import Any

from hpo.experiment.experiment import Experiment


@dataclass(frozen=True)
class StoredStudy:
    """A study as our tables hold it."""

    uuid: str
    name: str
    experiment: Experiment


@dataclass(frozen=True)
class UnreadableStudy:
    """A study whose row is damaged, or was written by a newer hpo."""

    uuid: str
    name: str
    reason: str


@dataclass(frozen=True)
class Slot:
    """One (cell, replicate) of a study."""

    cell: int
    replicate: int


@dataclass(frozen=True)
class Attempt:
    """One trial at one slot."""

    slot: Slot
    number: int  #: from 0
    trial_id: int | None
    state: str
    worker: dict[str, Any] | None = None
    reason: str | None = None
    ended_at: float | None = None
    token: str | None = None
    alone: bool = False
    saved: int | None = None


@dataclass(frozen=True)
class Result:
    """What counts for one slot."""

    slot: Slot
    attempt: int
    outcome: str  #: complete, diverged or pruned
    value: float | None
    cycles: int
    n_updates: int


@dataclass(frozen=True)
class Point:
    """The curves of one slot at one log point, in the order of `hpo.database.tables.CURVE_COLUMNS`."""

    n_updates: int
    values: tuple[float, ...]


def parameters(experiment: Experiment, cell: int) -> str:
    """Return ``lambda 0.000518, eta_max 0.1``: what the cell sets."""
    return ", ".join(
        f"{name} {value}" if isinstance(value, int | str) else f"{name} {value:.6g}"
        for name, value in experiment.cells[cell].items()
    )


def describe(experiment: Experiment, slot: Slot) -> str:
    """Return ``cell 3 (lambda 0.000518)``, with the replicate where there are several."""
    text = f"cell {slot.cell} ({parameters(experiment, slot.cell)})"
    several = experiment.replicates > 1
    return f"{text}, replicate {slot.replicate}" if several else text
