"""What a file in ``studies/`` may say: a question, its grid and its training recipe.

A `StudyDefinition` is written by people; quantities may be relative there (n_s in epochs, a grid
around the parent's best cell). An `Experiment` is what `resolve` makes of it for one data set:
every number is settled. It is stored with the study and is all that a worker needs.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

from hpo.checks import PROTOCOLS, TRAIN_METRICS, check
from hpo.errors import InvalidDefinition
from hpo.grids import Grid, ParentCell, grid_from_json, grid_to_json

NOTEBOOK_SEED = 65465168
__all__ = ["PROTOCOLS", "TRAIN_METRICS", "Epochs", "Experiment", "StudyDefinition", "resolve"]


@dataclass(frozen=True)
class Epochs:
    """A number of updates given in epochs; an epoch has as many updates as whole mini-batches."""

    epochs: float


@dataclass(frozen=True, kw_only=True)
class StudyDefinition:
    """One question, one grid over lambda, one recipe; equal definitions give equal results."""

    #: Name of the study, before suffixes for data and protocol.
    name: str
    grid: Grid
    #: Definition of the finished study that the grid is derived from.
    parent: str | None = None
    #: Images held out for validation; digits and small sets have their own number.
    n_validation: int = 5000
    batch_size: int = 100
    #: Width of the hidden layer.
    hidden: int = 50
    loss: str = "cross-entropy"
    eta_min: float = 1e-5
    eta_max: float = 1e-1
    #: Updates in half a cycle, or epochs.
    n_s: int | Epochs = Epochs(2)
    n_cycles: int = 2
    normalisation: str = "image"
    #: Probability that an image is mirrored when it is trained on.
    flip_probability: float = 0.0
    dtype: str = "float32"
    #: ``running``: means over the mini-batches; ``full``: the whole training set at each log point.
    train_metrics: str = "running"
    protocol: str = "standard"
    seed: int = 0
    #: Seeds per cell, the same in every cell; may grow later.
    replicates: int = 1
    #: Who is cut at the end of a cycle: a name of `hpo.pruners`, with its parameters after a colon.
    pruner: str = "none"
    #: Notebook protocol: the training set is the parent's, in the order its runs left behind.
    continues_order: bool = False
    #: Whether the trained network is shown the test images, once, at the end.
    evaluates_test: bool = False

    def __post_init__(self) -> None:
        check(self)

    def in_protocol(self, protocol: str) -> "StudyDefinition":
        """Return this definition in ``protocol``; the notebook's settles what it did."""
        if protocol == "standard" or self.protocol == protocol:
            return replace(self, protocol=protocol)
        return replace(
            self,
            protocol=protocol,
            dtype="float64",
            train_metrics="full",
            normalisation="image",
            flip_probability=0.0,
            pruner="none",
            seed=NOTEBOOK_SEED,
            replicates=1,
        )


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
class Experiment:
    """A definition with every number settled for one data set."""

    #: The definition, with n_s in updates.
    definition: StudyDefinition
    data: DataFacts
    #: Parameters of every cell, in the order of the grid, under the names that Optuna shows.
    cells: tuple[dict[str, float], ...]
    #: Updates of every trial.
    n_updates: int
    parent: ParentCell | None = None
    #: Notebook protocol: epochs of the runs that used the training set before cell 0.
    earlier_runs: tuple[int, ...] = field(default=())

    @property
    def lambdas(self) -> tuple[float, ...]:
        """Lambda of every cell."""
        return tuple(cell["lambda"] for cell in self.cells)

    @property
    def n_s(self) -> int:
        """Updates in half a cycle."""
        if isinstance(self.definition.n_s, Epochs):
            raise InvalidDefinition("n_s of a stored experiment is in updates.")
        return self.definition.n_s

    @property
    def epochs(self) -> int:
        """Epochs that a trial starts."""
        return math.ceil(self.n_updates / (self.data.n_training // self.definition.batch_size))

    def runs_before(self, cell: int) -> tuple[int, ...]:
        """Return the epochs of the runs that used the training set before ``cell``."""
        return (*self.earlier_runs, *(self.epochs for _ in range(cell)))

    def to_json(self) -> dict[str, Any]:
        """Return plain dictionaries, lists, numbers and strings."""
        definition = {f.name: getattr(self.definition, f.name) for f in fields(self.definition)} | {
            "grid": grid_to_json(self.definition.grid)
        }
        return {
            "definition": definition,
            "data": vars(self.data) | {"image_shape": list(self.data.image_shape)},
            "cells": [dict(cell) for cell in self.cells],
            "n_updates": self.n_updates,
            "parent": vars(self.parent).copy() if self.parent else None,
            "earlier_runs": list(self.earlier_runs),
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Experiment":
        """Build an experiment back; a field that an older one lacks has its default."""
        try:
            definition = dict(stored["definition"])
            definition["grid"] = grid_from_json(definition["grid"])
            data = dict(stored["data"])
            data["image_shape"] = tuple(data["image_shape"])
            rest = {k: v for k, v in stored.items() if k not in ("definition", "data")}
            rest["cells"] = tuple(dict(cell) for cell in rest["cells"])
            rest["earlier_runs"] = tuple(rest.get("earlier_runs", ()))
            if rest.get("parent"):
                rest["parent"] = ParentCell(**rest["parent"])
            return cls(definition=StudyDefinition(**definition), data=DataFacts(**data), **rest)
        except (TypeError, KeyError) as error:
            raise InvalidDefinition(
                f"This study was stored by a newer hpo ({error}). Upgrade hpo to go on with it."
            ) from error


@dataclass(frozen=True)
class Parent:
    """A finished study, as far as a derived one needs it."""

    cell: ParentCell  #: its best cell
    experiment: Experiment


def study_name(definition: StudyDefinition, data_name: str) -> str:
    """Return ``<definition>[-<data>][-notebook]``."""
    return suffixed(definition.name, data_name, definition.protocol)


def suffixed(name: str, data_name: str, protocol: str) -> str:
    """Add the suffixes for data other than CIFAR-10 and for the notebook protocol."""
    data = "" if data_name == "cifar10" else f"-{data_name}"
    return name + data + ("-notebook" if protocol == "notebook" else "")


def resolve(
    definition: StudyDefinition,
    data: DataFacts,
    parent: Parent | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> Experiment:
    """Settle every number of ``definition`` for ``data``.

    Raises:
        InvalidDefinition: The definition does not fit the data, or the grid its parent.
    """
    per_epoch = data.n_training // definition.batch_size
    if per_epoch < 1:
        raise InvalidDefinition(
            f"The batch size {definition.batch_size} is larger than the training set "
            f"({data.n_training} images)."
        )
    n_s = definition.n_s
    if isinstance(n_s, Epochs):
        n_s = max(1, math.floor(n_s.epochs * per_epoch))
    lambdas = definition.grid.lambdas(
        parent.cell if parent else None, parent.experiment.lambdas if parent else (), notify
    )
    for value in lambdas:
        if not 0 <= value < math.inf or 1 - 2 * definition.eta_max * value <= 0:
            raise InvalidDefinition(
                f"lambda {value} does not work with eta_max {definition.eta_max}: it must be 0 or more "
                "and keep 1 - 2 eta lambda above 0. Lower one of them."
            )
    if len(set(lambdas)) != len(lambdas):
        raise InvalidDefinition(f"The grid of {definition.name!r} has a lambda twice: {lambdas}.")
    earlier: tuple[int, ...] = ()
    if definition.protocol == "notebook" and definition.continues_order and parent:
        earlier = parent.experiment.runs_before(len(parent.experiment.lambdas))
    return Experiment(
        definition=replace(definition, n_s=n_s),
        data=data,
        cells=tuple({"lambda": value} for value in lambdas),
        n_updates=_n_updates(definition, n_s, data.n_training, per_epoch),
        parent=parent.cell if parent else None,
        earlier_runs=earlier,
    )


def _n_updates(definition: StudyDefinition, n_s: int, n_training: int, per_epoch: int) -> int:
    """Return whole cycles; in the notebook protocol the whole epochs that fit into them."""
    if definition.protocol == "standard":
        return 2 * n_s * definition.n_cycles
    epochs_per_cycle = 2 * n_s / (n_training / definition.batch_size)
    return per_epoch * max(1, int(epochs_per_cycle * definition.n_cycles))


def differences(stored: Experiment, asked: Experiment) -> list[str]:
    """Return one line for each thing in which two experiments differ; replicates may grow."""
    found = []
    for part in ("definition", "data"):
        old, new = stored.to_json()[part], asked.to_json()[part]
        for key in old.keys() | new.keys():
            if key == "replicates" and new[key] >= old[key]:
                continue
            if old.get(key) != new.get(key):
                name = key if part == "definition" else f"data {key}"
                found.append(
                    f"{name}: stored {_short(old.get(key))}, asked for {_short(new.get(key))}"
                )
    return sorted(found)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 120 else text[:117] + "..."
