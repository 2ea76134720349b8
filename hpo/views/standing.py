"""How a run stands: every cell, the best so far, the rate, and what is really left to train.

It learns from what this process is told as it trains and from looks into the database, where others
tell what they do, in any order: a slot never goes back.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from hpo.definition.pruning import NONE, parse
from hpo.experiment import budgets
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Outcome, Slot, State
from hpo.search.generations import n_kept

WINDOW = 20.0  #: seconds that the rate is taken over
SETTLES = 1.0  #: seconds of training before there is a rate


@dataclass
class SlotStanding:
    """Where one slot stands."""

    n_updates: int = 0
    state: str = State.WAITING
    outcome: str | None = None
    value: float | None = None  #: of its result, or of the cycle that it was cut after
    curve: dict[int, float] = field(default_factory=dict)  #: validation accuracy by log point

    @property
    def accuracy(self) -> float | None:
        """The result, or the validation accuracy last heard of."""
        if self.outcome is not None and self.value is not None:
            return self.value
        return self.curve[max(self.curve)] if self.curve else None

    @property
    def highest(self) -> float | None:
        """The highest accuracy heard of, which never falls."""
        known = [*self.curve.values(), *([] if self.value is None else [self.value])]
        return max(known, default=None)


class Best(NamedTuple):
    """What is best so far."""

    cell: int
    accuracy: float  #: the mean over the seeds that are done; the highest in training if none is
    n_seeds: int  #: that are done


@dataclass(frozen=True)
class Snapshot:
    """What one look into the database has found."""

    experiment: Experiment
    slots: Mapping[Slot, SlotStanding]
    n_workers: int


class Standing:
    """A run, as far as it is known."""

    def __init__(
        self, name: str, experiment: Experiment, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name, self.experiment = name, experiment
        self.slots: dict[Slot, SlotStanding] = {}
        self.n_workers = 0
        self.n_trained = 0  #: updates made, by whomever
        self._is_here = False  #: one of the workers at least
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()

    def follow(self, experiment: Experiment) -> None:
        """Learn of more cells."""
        if len(experiment.cells) >= len(self.experiment.cells):
            self.experiment = experiment

    def claimed(self, slot: Slot, n_updates: int) -> None:
        """A slot is trained from so many updates on."""
        self._is_here = True
        self.n_workers = max(1, self.n_workers)
        own = self._slot(slot)
        if own.outcome is None:
            own.state = State.RUNNING
            self._reach(own, n_updates)
        self._see()

    def advanced(self, slot: Slot, n_updates: int, accuracy: float) -> None:
        """A slot has reached a log point; where cells wait for each other it may wait there."""
        own = self._slot(slot)
        own.curve[n_updates] = accuracy
        self._reach(own, n_updates)
        if own.outcome is None:
            recipe = self.experiment.recipe(slot.cell)
            waits = self._is_halved and recipe.cycle_end(own.n_updates) is not None
            own.state = State.PAUSED if waits else State.RUNNING
        self._see()

    def ended(self, slot: Slot, outcome: str, value: float | None) -> None:
        """A slot has its result."""
        own = self._slot(slot)
        own.state, own.outcome = State.ENDED, outcome
        own.value = own.accuracy if value is None else value
        if outcome == Outcome.COMPLETE:
            self._reach(own, self.experiment.recipe(slot.cell).n_updates)
        self._see()

    def look(self, found: Snapshot) -> None:
        """Take over what the database knows and this process was not told."""
        self.follow(found.experiment)
        before = self.n_trained
        for slot, theirs in found.slots.items():
            own = self._slot(slot)
            own.curve = {**theirs.curve, **own.curve}
            if own.outcome is None and theirs.n_updates >= own.n_updates:
                self._reach(own, theirs.n_updates)
                own.state = theirs.state
                own.outcome, own.value = theirs.outcome, theirs.value
            elif own.outcome is None and theirs.outcome is not None:
                own.state, own.outcome, own.value = theirs.state, theirs.outcome, theirs.value
        self.n_workers = max(found.n_workers, int(self._is_here))
        if not before:
            self._seen.clear()  # what was there from the start was not made now
        self._see()

    def of_cell(self, cell: int) -> list[SlotStanding]:
        """Return the replicates of a cell."""
        n = self.experiment.replicates_of(cell)
        return [self.slots.get(Slot(cell, r), SlotStanding()) for r in range(n)]

    @property
    def best(self) -> Best | None:
        """The best cell so far, over as many seeds as any cell has done.

        Over one number of seeds it only gets worse where another seed of that cell diverges: cells
        leave the comparison upwards, and of what is in training the highest that was seen counts.
        """
        done, begun = [], []
        for cell in range(len(self.experiment.cells)):
            own = self.of_cell(cell)
            seen = [s.highest for s in own if s.highest is not None]
            begun += [Best(cell, max(seen), 0)] if seen else []
            ends = [s.accuracy for s in own if s.outcome == Outcome.COMPLETE]
            values = [value for value in ends if value is not None]
            if values and not {s.outcome for s in own} & {Outcome.PRUNED, Outcome.DIVERGED}:
                # Accuracies are whole shares: what differs in the 13th digit is equal.
                mean = round(math.fsum(values) / len(values), 12)
                done.append(Best(cell, mean, len(values)))
        return max(done or begun, key=lambda b: (b.n_seeds, b.accuracy, -b.cell), default=None)

    @property
    def n_done(self) -> int:
        """Slots that have a result."""
        return sum(own.outcome is not None for own in self.slots.values())

    @property
    def is_complete(self) -> bool:
        """Whether every slot has a result and no search wants more."""
        search = self.experiment.search
        return self.n_done == self.experiment.n_slots and (search is None or search.is_over)

    @property
    def n_left(self) -> int:
        """Updates that are really left: those who will be cut need no more."""
        known = sum(self._left_of(generation) for generation in self.experiment.generations)
        search, space = self.experiment.search, self.experiment.definition.space
        if search is None or space is None or search.is_over:
            return known
        return max(known, budgets.largest(self.experiment) - self.n_trained)

    @property
    def rate(self) -> float | None:
        """Updates a second, lately; None before that can be known."""
        if len(self._seen) < 2:
            return None
        (began, before), (ended, after) = self._seen[0], self._seen[-1]
        if ended - began < SETTLES or after <= before:
            return None
        return (after - before) / (ended - began)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until all is trained at this rate; None before that can be known."""
        rate = self.rate
        return None if rate is None else self.n_left / rate

    @property
    def _is_halved(self) -> bool:
        return parse(self.experiment.definition.pruner).is_synchronous

    def _left_of(self, cells: range) -> int:
        """Return what a generation still needs: after each cycle fewer of it go on."""
        pruning = parse(self.experiment.definition.pruner)
        eta = pruning.parameters["eta"] if self._is_halved and pruning.name != NONE else 1
        left, n = 0, len(cells)
        ranked = sorted(cells, key=self._rank)
        n_cycles = max((self.experiment.recipe(cell).n_cycles for cell in cells), default=0)
        for cycle in range(n_cycles):
            for cell in ranked[:n]:
                recipe = self.experiment.recipe(cell)
                start = 2 * recipe.n_s * cycle
                end = min(start + 2 * recipe.n_s, recipe.n_updates)
                left += sum(
                    max(0, end - max(own.n_updates, start))
                    for own in self.of_cell(cell)
                    if own.outcome is None
                )
            n = n_kept(n, eta)
        return left

    def _rank(self, cell: int) -> tuple[bool, int, float, int]:
        own = self.of_cell(cell)
        is_cut = any(s.outcome in (Outcome.PRUNED, Outcome.DIVERGED) for s in own)
        reached = max(s.n_updates for s in own)
        return is_cut, -reached, -max((s.accuracy or 0.0) for s in own), cell

    def _reach(self, own: SlotStanding, n_updates: int) -> None:
        """A slot has got so far; told late, it is further already."""
        self.n_trained += max(0, n_updates - own.n_updates)
        own.n_updates = max(own.n_updates, n_updates)

    def _slot(self, slot: Slot) -> SlotStanding:
        return self.slots.setdefault(slot, SlotStanding())

    def _see(self) -> None:
        now, n = self._clock(), self.n_trained
        if self._seen and now - self._seen[-1][0] < 0.1:  # calls that tell of one stack
            self._seen[-1] = self._seen[-1][0], n
            return
        self._seen.append((now, n))
        while now - self._seen[0][0] > WINDOW:
            self._seen.popleft()
