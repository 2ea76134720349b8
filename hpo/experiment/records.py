"""The nouns that travel: studies, slots, attempts, results and points, as they are stored."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hpo.experiment.experiment import Experiment


class State(StrEnum):
    """Where an attempt at a slot stands.

    >>> import hpo
    >>> hpo.State("waiting") is hpo.State.WAITING
    True
    """

    WAITING = "waiting"  #: Nobody holds it.
    RUNNING = "running"  #: A worker holds it, by a token.
    PAUSED = "paused"  #: It waits at a rung for the others to get there.
    ENDED = "ended"  #: Its slot has a result, or had one.
    FAILED = "failed"  #: Training raised, or its worker died; the slot gets another attempt.


class Outcome(StrEnum):
    """What counts for a slot, beside its value.

    >>> import hpo
    >>> hpo.Outcome.PRUNED == "pruned"
    True
    """

    COMPLETE = "complete"  #: It was trained to its end.
    DIVERGED = "diverged"  #: Its cost was no number any more.
    PRUNED = "pruned"  #: It was cut at the end of a cycle.


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
    state: str  #: one of `State`, unless the row is damaged: then others of the study go on
    worker: dict[str, Any] | None = None
    reason: str | None = None
    ended_at: float | None = None
    token: str | None = None
    alone: bool = False
    saved: int | None = None
    seconds: float = 0.0  #: that workers have held it, up to when it was let go last


@dataclass(frozen=True)
class Result:
    """What counts for one slot.

    >>> import hpo
    >>> result = hpo.Result(Slot(3, 0), 0, hpo.Outcome.COMPLETE, 0.5, cycles=2, n_updates=3600)
    >>> result.slot.cell, result.value
    (3, 0.5)
    """

    slot: Slot
    attempt: int
    outcome: Outcome
    value: float | None
    cycles: int
    n_updates: int


@dataclass(frozen=True)
class Point:
    """The curves of one slot at one log point, in the order of `hpo.database.tables.CURVE_COLUMNS`.

    >>> import hpo
    >>> hpo.Point(90, (2.1, 0.3, 2.2, 0.28)).n_updates
    90
    """

    n_updates: int
    values: tuple[float, ...]


def short(value: float) -> str:
    """Return a number as people read it, to four digits; exports and files have all of them.

    >>> short(9.999999999999999e-06), short(0.00013894954943731373), short(0.5)
    ('1e-05', '0.0001389', '0.5')
    """
    return f"{value:.4g}"


def parameters(experiment: Experiment, cell: int) -> str:
    """Return ``lambda 0.0005179, eta_max 0.1``: what the cell sets."""
    return ", ".join(
        f"{name} {value}" if isinstance(value, int | str) else f"{name} {short(value)}"
        for name, value in experiment.cells[cell].items()
    )


def describe(experiment: Experiment, slot: Slot) -> str:
    """Return ``cell 3 (lambda 0.0005179)``, with the replicate where there are several."""
    text = f"cell {slot.cell} ({parameters(experiment, slot.cell)})"
    several = experiment.replicates > 1
    return f"{text}, replicate {slot.replicate}" if several else text
