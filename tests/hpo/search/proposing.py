"""Spaces, results that are made up, and what is proposed after them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from hpo.definition.ranges import Real, Value, WholeEpochs
from hpo.definition.spaces import Space
from hpo.definition.study import StudyDefinition
from hpo.experiment.experiment import Experiment
from hpo.experiment.resolution import resolve
from hpo.search.proposals import Parameters, propose
from hpo.testing import digits_facts

DATA = digits_facts()
LAMBDA = Real(1e-4, 1e-2, logarithmic=True)
ETA_MAX = Real(0.02, 0.3, logarithmic=True)
PLENTY = 10**9  #: updates
NUMBERS = Space(lambda_=LAMBDA, eta_max=ETA_MAX, n_s=WholeEpochs(1, 4), width=4, budget=PLENTY)
JOINT = replace(NUMBERS, normalisation=("image", "feature"), flip_probability=(0.0, 0.5))
ONE = Real(1e-3, 1e-3, logarithmic=True)  #: a range of one number
LEARNERS = ("curves", "tpe", "gp", "cmaes")  #: what they propose depends on results
Cells = Sequence[Parameters]
Worth = Callable[[Parameters], float | None]


def installed(sampler: str) -> str:
    if sampler == "gp":
        pytest.importorskip("torch", reason="the sampler gp needs torch: pip install torch")
    return sampler


def experiment(space: Space, cells: Cells = (), *, seed: int = 0, warm: Any = ()) -> Experiment:
    made = resolve(StudyDefinition(name="mine", space=space, seed=seed), DATA)
    assert made.search is not None
    return replace(made, cells=tuple(cells), search=replace(made.search, warm=warm))


def space_for(sampler: str, **changes: Any) -> Space:
    """Return a space with as many kinds of dimensions as the sampler can do."""
    return replace(NUMBERS if sampler == "cmaes" else JOINT, sampler=sampler, **changes)


def worth(cell: Parameters) -> float:
    """Return an accuracy that falls with the distance from the best lambda and rate."""
    value = 0.5 - 0.05 * (math.log10(float(cell["lambda"])) + 2.6) ** 2
    if "eta_max" in cell:
        value -= 0.1 * (math.log10(float(cell["eta_max"])) + 0.9) ** 2
    return value


def searched(
    space: Space, n_generations: int, value: Worth = worth, *, seed: int = 0, warm: Any = ()
) -> list[list[Parameters]]:
    """Return the generations of a search whose results are made up."""
    generations: list[list[Parameters]] = []
    for _ in range(n_generations):
        cells = [cell for generation in generations for cell in generation]
        asked = experiment(space, cells, seed=seed, warm=warm)
        generations.append(propose(asked, [value(cell) for cell in cells]))
    return generations


def joined(generations: Sequence[Cells]) -> list[Parameters]:
    return [cell for generation in generations for cell in generation]


def keys(cells: Cells) -> list[tuple[Value, ...]]:
    return [tuple(cell.values()) for cell in cells]


def some_results(space: Space, n: int) -> tuple[list[Parameters], list[float | None]]:
    """Return cells anywhere in a space, with what they are worth; every seventh diverged."""
    rng = np.random.default_rng(5)
    dimensions = space.dimensions(DATA.n_training // 100)
    cells = [{k: d.at(rng.random()) for k, d in dimensions.items()} for _ in range(n)]
    return cells, [None if i % 7 == 3 else worth(cell) for i, cell in enumerate(cells)]


def space_cells(space: Space) -> list[Parameters]:
    dimensions = space.dimensions(12)
    values = product(*(dimension.values() for dimension in dimensions.values()))
    return [dict(zip(dimensions, chosen, strict=True)) for chosen in values]
