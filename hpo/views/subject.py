"""What a picture of a study is about: its results and curves, and the one network that is named."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo.database import checkpoints, hits, looks, outcomes, tables
from hpo.database.connections import Connection, Row
from hpo.errors import NoResult
from hpo.experiment.records import Outcome, Result, Slot, StoredStudy, parameters
from hpo.held_out import looking
from hpo.training.trainer import Trainer
from hpo.views.plots import Curve
from hpo.views.report import StudyReport
from model.cifar import CLASS_NAMES
from model.data import Dataset
from model.network import Network


@dataclass(frozen=True)
class Subject:
    """A study to be drawn, at one moment."""

    connection: Connection
    report: StudyReport
    #: The cell whose network is asked for; the best one if None.
    asked: int | None = None
    #: Finds the training images of the study; None where there is no way to them.
    images: Callable[[], Dataset] | None = None

    @property
    def study(self) -> StoredStudy:
        """The study."""
        return self.report.study

    @cached_property
    def curves(self) -> dict[Slot, Curve]:
        """The curve of every network that has one."""
        found = outcomes.curves_of(self.connection, self.study.uuid)
        return {slot: curve_of(rows) for slot, rows in found.items()}

    @cached_property
    def hits(self) -> dict[Slot, NDArray[np.bool_]]:
        """Which validation images each complete network got right."""
        return hits.hits_of(self.connection, self.study)

    @cached_property
    def cell(self) -> int | None:
        """The cell that is asked for, or else the best one; None while there is none."""
        best = self.report.best
        return self.asked if self.asked is not None else best.slot.cell if best else None

    @cached_property
    def slot(self) -> Slot | None:
        """The one network of the cell that every picture of a network is about.

        It is the most accurate one whose weights are kept, or else the most accurate one.
        """
        mine = [r for r in self.report.results if r.slot.cell == self.cell]
        order = sorted(mine, key=_rank)
        kept = [r.slot for r in order if self._weights(r.slot) is not None]
        if kept or order:
            return kept[0] if kept else order[0].slot
        begun = [slot for slot in self.curves if slot.cell == self.cell]
        return min(begun, key=lambda slot: slot.replicate, default=None)

    @cached_property
    def network(self) -> Network | None:
        """Its weights; None where they are not kept."""
        return None if self.slot is None else self._weights(self.slot)

    def _weights(self, slot: Slot) -> Network | None:
        try:
            return looking.final_network(self.connection, self.study, slot)
        except checkpoints.Damaged:  # which is no reason to look elsewhere
            raise
        except NoResult:  # only those of the best few are kept
            return None

    @property
    def test_accuracy(self) -> float | None:
        """What the test images said of this very network; None where nobody has looked."""
        taken = looks.latest(looks.looks_of(self.connection, self.study.uuid))
        mine = [x for x in taken if Slot(x.cell, x.replicate) == self.slot]
        return mine[0].n_right / mine[0].n_images if mine else None

    @property
    def class_names(self) -> Sequence[str]:
        """The names of the classes, as far as they have any, or else their numbers."""
        data = self.study.experiment.data
        return CLASS_NAMES if data.name == "cifar10" else [str(k) for k in range(data.n_classes)]

    @cached_property
    def answers(self) -> tuple[Dataset, np.ndarray] | None:
        """The validation images, and the probabilities that the network gives them.

        Raises:
            HpoError: The images are not at hand, or are others.
            ModelError: They are damaged.
        """
        if self.slot is None or self.network is None or self.images is None:
            return None
        return Trainer(self.study.experiment, self.images()).answers(self.network, self.slot.cell)

    def title(self, what: str, seeds: str | None = None) -> str:
        """Return a title: study and what is drawn, then images and seeds."""
        experiment = self.study.experiment
        data = experiment.data
        if seeds is None:
            n = experiment.definition.replicates
            seeds = "1 seed" if n == 1 else f"{n} seeds a cell"
        return (
            f"{self.study.name}: {what}\n{data.name}, {data.n_training:,} training and "
            f"{data.n_validation:,} validation images, {seeds}"
        )

    def title_of_network(self, what: str) -> str:
        """Return a title that names the one network."""
        slot, experiment = self.slot, self.study.experiment
        if slot is None:
            return self.title(what)
        told = f"{what}, cell {slot.cell} ({parameters(experiment, slot.cell)})"
        n = experiment.replicates_of(slot.cell)
        return self.title(told, f"network of seed {slot.replicate}" + (f" of {n}" if n > 1 else ""))

    def mean_curve(self, cell: int) -> Curve | None:
        """Return the curve of a cell, a mean over its seeds as far as all of them have come."""
        n = self.study.experiment.definition.replicates
        found = [self.curves[Slot(cell, r)] for r in range(n) if Slot(cell, r) in self.curves]
        if len(found) < 2:
            return found[0] if found else None
        shortest = min(found, key=lambda curve: len(curve.update))
        k = len(shortest.update)

        def mean(part: str) -> dict[str, list[float | None]]:
            return {
                name: [_mean([getattr(c, part)[name][i] for c in found]) for i in range(k)]
                for name in tables.MEASURES
            }

        return Curve(shortest.update, mean("training"), mean("validation"))


def curve_of(rows: Sequence[Row[Any]]) -> Curve:
    """Return the rows of a network as a curve."""

    def part(name: str) -> dict[str, list[float | None]]:
        return {m: [getattr(row, f"{name}_{m}") for row in rows] for m in tables.MEASURES}

    return Curve([row.n_updates for row in rows], part("training"), part("validation"))


def _rank(result: Result) -> tuple[bool, float, int]:
    value = -math.inf if result.value is None else result.value
    return result.outcome != Outcome.COMPLETE, -value, result.slot.replicate


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(values) else None
