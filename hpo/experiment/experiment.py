"""An experiment: a definition with every number settled for one data set.

It is stored with the study and is all that a worker needs. The cells of a grid are all there from
the start; those of a space come generation by generation.
"""

import itertools
import math
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

from hpo.definition.grids import ParentCell, grid_from_json, grid_to_json
from hpo.definition.numbers import is_number, within
from hpo.definition.ranges import Value
from hpo.definition.spaces import Space
from hpo.definition.study import Epochs, StudyDefinition
from hpo.errors import DamagedRow, InvalidDefinition
from hpo.experiment.search_state import SearchState

MOST_STORED = 1_000_000  #: results that a stored study may be made for; more than any new one has


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """What an experiment knows of its data, without holding it."""

    name: str
    fingerprint: str
    n_training: int
    n_validation: int
    d: int
    n_classes: int
    #: How a row folds into an image; () if it does not.
    image_shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the networks of one cell are trained."""

    lambda_: float
    eta_max: float
    #: Updates in half a cycle.
    n_s: int
    n_updates: int
    normalisation: str
    flip_probability: float
    eta_min: float
    batch_size: int
    hidden: int

    @property
    def alike(self) -> tuple[str, float, int, int]:
        """What networks must have in common to stand in a stack: their mini-batches, their width."""
        return self.normalisation, self.flip_probability, self.batch_size, self.hidden

    @property
    def n_cycles(self) -> int:
        """Cycles, the last of which may be cut short by the notebook protocol."""
        return -(-self.n_updates // (2 * self.n_s))

    def cycle_end(self, n_updates: int) -> int | None:
        """Return the number of the cycle that ends after so many updates, from 1, or None."""
        cycle, rest = divmod(n_updates, 2 * self.n_s)
        return cycle if cycle and not rest else None


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A definition with every number settled for one data set."""

    #: The definition, with n_s in updates.
    definition: StudyDefinition
    data: DataFacts
    #: Parameters of every cell, in the order of the grid, under the names that Optuna shows.
    cells: tuple[dict[str, Value], ...]
    #: Updates of every trial whose cell has no n_s of its own.
    n_updates: int
    parent: ParentCell | None = None
    #: Notebook protocol: epochs of the runs that used the training set before cell 0.
    earlier_runs: tuple[int, ...] = field(default=())
    #: How far the search of a space is; None for a grid.
    search: SearchState | None = None
    #: Replicates that a study whose cells wait for each other had before it grew; None if it did
    #: not. They alone decide who is cut, and those that it grew by come when they are done.
    began_with: int | None = None
    #: n_s in epochs, where cells have batch sizes and so epochs of their own; None elsewhere.
    n_s_epochs: float | None = None
    #: Whether who ties with the last that goes on after a cycle goes on, too; not in older studies.
    ties_go_on: bool = False

    @cached_property
    def lambdas(self) -> tuple[float, ...]:
        """Lambda of every cell."""
        return tuple(float(cell["lambda"]) for cell in self.cells)

    @property
    def n_s(self) -> int:
        """Updates in half a cycle, of every cell that has no n_s of its own."""
        if isinstance(self.definition.n_s, Epochs):
            raise InvalidDefinition("n_s of a stored experiment is in updates.")
        return self.definition.n_s

    @property
    def per_epoch(self) -> int:
        """Updates in an epoch."""
        return self.data.n_training // self.definition.batch_size

    @property
    def epochs(self) -> int:
        """Epochs that a trial starts."""
        return math.ceil(self.n_updates / self.per_epoch)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters that cells have."""
        space = self.definition.space
        return tuple(space.dimensions(self.per_epoch)) if space else tuple(self.cells[0])

    @property
    def n_slots(self) -> int:
        """Results that the study has when every cell that is known now is done."""
        return sum(self.replicates_of(cell) for cell in range(len(self.cells)))

    @property
    def replicates(self) -> int:
        """Replicates of the cells that have most of them."""
        races = (*self.search.raced, ((), self.search.replicates)) if self.search else ()
        return max(self.definition.replicates, *(n for _, n in races), 0)

    @property
    def replicates_at_rungs(self) -> int:
        """Replicates that it is decided by who goes on after a cycle."""
        return self.began_with or self.definition.replicates

    def replicates_of(self, cell: int) -> int:
        """Return how many seeds a cell has: finalists have more."""
        more = self.search.replicates_of(cell) if self.search else 0
        return max(self.definition.replicates, more)

    @property
    def most_cycles(self) -> int:
        """Cycles of the longest cell that there may be."""
        space = self.definition.space
        if space is not None and space.n_cycles is not None:
            return space.n_cycles.high
        return -(-self.n_updates // (2 * self.n_s))

    @property
    def generations(self) -> tuple[range, ...]:
        """The cells that are compared with each other: of a grid all, of a search each generation."""
        n, space = len(self.cells), self.definition.space
        if self.search is None or space is None:
            return (range(n),)
        sizes = self.search.sizes or [space.width] * -(-n // space.width)
        ends = list(itertools.accumulate(sizes))
        return tuple(range(end - size, min(end, n)) for end, size in zip(ends, sizes, strict=True))

    def recipe(self, cell: int) -> Recipe:
        """Return how a cell is trained: its own parameters, and the definition's for the rest.

        Raises:
            DamagedRow: There is no such cell, so whoever asks read it in a row that is damaged.
        """
        if not 0 <= cell < len(self.cells):
            raise DamagedRow(f"A row about cell {cell}", f"there are {len(self.cells)} cells")
        own, definition = self.cells[cell], self.definition
        batch_size = int(own.get("batch_size", definition.batch_size))
        epochs = own.get("n_s_epochs", self.n_s_epochs)
        n_s = int(own.get("n_s", self.n_s))
        if epochs is not None:
            n_s = max(1, math.floor(float(epochs) * (self.data.n_training // batch_size)))
        n_updates = 2 * n_s * int(own.get("n_cycles", definition.n_cycles))
        if definition.space is None:  # the notebook's last cycle may be cut short
            n_updates = self.n_updates
        eta_max = float(own.get("eta_max", definition.eta_max))
        share = own.get("eta_min_share")
        return Recipe(
            lambda_=float(own["lambda"]),
            eta_max=eta_max,
            n_s=n_s,
            n_updates=n_updates,
            normalisation=str(own.get("normalisation", definition.normalisation)),
            flip_probability=float(own.get("flip_probability", definition.flip_probability)),
            eta_min=definition.eta_min if share is None else float(share) * eta_max,
            batch_size=batch_size,
            hidden=int(own.get("hidden", definition.hidden)),
        )

    def check(self) -> None:
        """Try whatever others ask for, so that a damaged experiment is noticed where it is read.

        Raises:
            Exception: Of any kind; something is not what it must be.
        """
        numbers = [recipe.n_s for recipe in map(self.recipe, range(len(self.cells)))]
        numbers += [self.n_updates, self.per_epoch, self.n_slots, *self.earlier_runs]
        if not self.cells and self.search is None:
            raise InvalidDefinition("It has no cells.")
        if any(not isinstance(number, int) or number < 0 for number in numbers):
            raise InvalidDefinition("A number of updates or epochs is no number.")
        names = set(self.parameters)
        if any(set(cell) != names for cell in self.cells):
            raise InvalidDefinition("Its cells have different parameters.")

    def runs_before(self, cell: int) -> tuple[int, ...]:
        """Return the epochs of the runs that used the training set before ``cell``."""
        return (*self.earlier_runs, *(self.epochs for _ in range(cell)))

    def to_json(self) -> dict[str, Any]:
        """Return plain dictionaries, lists, numbers and strings.

        What older experiments do not have is left out where it says nothing.
        """
        own = self.definition
        definition = {f.name: getattr(own, f.name) for f in fields(own)}
        definition["grid"] = grid_to_json(own.grid) if own.grid else None
        definition["space"] = own.space.to_json() if own.space else None
        for name in ("space", "inherits_recipe"):
            if not definition[name]:
                del definition[name]
        stored: dict[str, Any] = {
            "definition": definition,
            "data": vars(self.data) | {"image_shape": list(self.data.image_shape)},
            "cells": [dict(cell) for cell in self.cells],
            "n_updates": self.n_updates,
            "parent": self.parent.to_json() if self.parent else None,
            "earlier_runs": list(self.earlier_runs),
        }
        if self.search:
            stored["search"] = self.search.to_json()
        for name in ("began_with", "n_s_epochs", "ties_go_on"):
            if getattr(self, name):
                stored[name] = getattr(self, name)
        return stored

    def _in_order(self) -> "Experiment":
        """Return the same with the parameters of every cell in the order of the space."""
        if self.search is None:
            return self
        names = self.parameters
        return replace(
            self, cells=tuple({name: cell[name] for name in names} for cell in self.cells)
        )

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Experiment":
        """Build an experiment back; a field that an older one lacks has its default."""
        try:
            definition = dict(stored["definition"])
            if definition["grid"]:
                definition["grid"] = grid_from_json(definition["grid"])
            if definition.get("space"):
                definition["space"] = Space.from_json(definition["space"])
            data = dict(stored["data"])
            data["image_shape"] = tuple(data["image_shape"])
            rest = {k: v for k, v in stored.items() if k not in ("definition", "data")}
            rest["cells"] = tuple(dict(cell) for cell in rest["cells"])
            rest["earlier_runs"] = tuple(rest.get("earlier_runs", ()))
            if rest.get("parent"):
                rest["parent"] = ParentCell(**rest["parent"])
            if rest.get("search"):
                rest["search"] = SearchState.from_json(rest["search"])
            experiment = cls(
                definition=StudyDefinition(**definition), data=DataFacts(**data), **rest
            )._in_order()
            if not all(map(is_number, experiment.lambdas)):
                raise InvalidDefinition("A lambda of it is no number.")
            within("Trainings", experiment.n_slots, 0, MOST_STORED)
            return experiment
        except InvalidDefinition as error:
            raise InvalidDefinition(
                f"it describes no study that can be worked with: {error}"
            ) from error
        except (TypeError, LookupError, ValueError, AttributeError, ArithmeticError) as error:
            raise InvalidDefinition(
                f"This study was stored by a newer hpo ({error}). Upgrade hpo to go on with it."
            ) from error


@dataclass(frozen=True)
class Parent:
    """A finished study, as far as a derived one needs it."""

    cell: ParentCell  #: its best cell
    experiment: Experiment
