"""What earlier studies found moves who learns, and nobody else."""

import math

import numpy as np
import pytest

from hpo.definition.spaces import Space
from hpo.search.proposals import propose
from tests.hpo.search.proposing import (
    ETA_MAX,
    LAMBDA,
    PLENTY,
    Cells,
    experiment,
    searched,
    some_results,
    space_for,
)

KNOWN = tuple(
    ({"lambda": lambda_, "eta_max": 0.1, "n_s": 24}, value)
    for lambda_, value in ((2e-4, 0.40), (9e-3, 0.48), (1e-3, 0.44), (5e-3, 0.46))
)


def test_cmaes_begins_where_earlier_studies_were_best() -> None:
    space = space_for("cmaes", width=16)

    (cold,), (warm,) = searched(space, 1), searched(space, 1, warm=KNOWN)

    def distance(cells: Cells) -> float:
        return float(np.mean([abs(math.log10(float(cell["lambda"]) / 9e-3)) for cell in cells]))

    assert distance(warm) < distance(cold) / 2


def test_tpe_learns_from_earlier_studies_once_it_has_looked_around() -> None:
    plane = Space(lambda_=LAMBDA, eta_max=ETA_MAX, width=8, budget=PLENTY)
    slope = tuple(
        ({"lambda": LAMBDA.at(place), "eta_max": ETA_MAX.at(1 - place)}, place / 2)
        for place in np.linspace(0, 1, 30)
    )

    cold, warm = searched(plane, 2, lambda _: 0.2), searched(plane, 2, lambda _: 0.2, warm=slope)

    def middle(cells: Cells) -> float:
        return float(np.mean([LAMBDA.place(cell["lambda"]) for cell in cells]))

    assert warm[0] == cold[0]
    assert middle(warm[1]) > max(middle(cold[1]), 0.7)


def test_what_earlier_studies_found_outside_the_space_is_left_out(learner: str) -> None:
    space = space_for(learner, normalisation=(), flip_probability=())
    cells, values = some_results(space, 8)
    outside = (
        ({"lambda": 0.5, "eta_max": 0.1, "n_s": 24}, 0.9),
        ({"lambda": 1e-3, "eta_max": 0.1, "n_s": 25}, 0.9),
        ({"lambda": 1e-3, "eta_max": 0.1}, 0.9),
    )

    told = propose(experiment(space, cells, warm=KNOWN + outside), values)

    assert told == propose(experiment(space, cells, warm=KNOWN), values)
    assert told != propose(experiment(space, cells), values)


def test_what_earlier_studies_knew_beside_the_space_does_not_disturb(learner: str) -> None:
    space = space_for(learner, normalisation=(), flip_probability=())
    cells, values = some_results(space, 8)
    more = tuple(({"flip_probability": 0.5, **cell}, value) for cell, value in KNOWN)

    told = propose(experiment(space, cells, warm=more), values)

    assert told == propose(experiment(space, cells, warm=KNOWN), values)


@pytest.mark.parametrize("sampler", ["random", "qmc", "grid"])
def test_who_does_not_learn_takes_no_notice_of_earlier_studies(sampler: str) -> None:
    space = space_for(sampler, normalisation=(), flip_probability=())

    assert searched(space, 2, warm=KNOWN) == searched(space, 2)
