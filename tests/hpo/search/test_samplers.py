"""What each sampler is for: even spread, learning, standing still and beginning anew."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from hpo.definition.spaces import Space
from hpo.search.proposals import propose
from tests.hpo.search.proposing import (
    ETA_MAX,
    JOINT,
    LAMBDA,
    PLENTY,
    experiment,
    installed,
    joined,
    keys,
    searched,
    some_results,
    space_cells,
    space_for,
    worth,
)

# --- what each of them is for


def test_a_grid_covers_every_combination_once_in_an_order_of_its_own() -> None:
    space = space_for("grid", lambda_=replace(LAMBDA, n=3), eta_max=replace(ETA_MAX, n=2), width=7)
    expected = space_cells(space)

    generations = searched(space, 16)

    cells = joined(generations)
    assert len(cells) == len(expected) == 3 * 2 * 4 * 2 * 2
    assert set(keys(cells)) == set(keys(expected))
    assert cells != expected
    assert [len(generation) for generation in generations][-3:] == [5, 0, 0]


@pytest.mark.parametrize("sampler", ["qmc", "curves", "tpe", "gp"])
def test_the_first_generation_is_spread_evenly_over_every_range(sampler: str) -> None:
    space = space_for(installed(sampler), width=8)
    dimensions = space.dimensions(12)

    (cells,) = searched(space, 1)

    for name in ("lambda", "eta_max"):
        assert {int(8 * dimensions[name].place(cell[name])) for cell in cells} == set(range(8))
    for name in ("n_s", "normalisation", "flip_probability"):
        counts = {sum(c[name] == v for c in cells) for v in dimensions[name].values()}
        assert len(counts) == 1


def test_a_sequence_goes_on_where_the_generation_before_ended() -> None:
    cells = joined(searched(space_for("qmc", width=8), 8))

    assert {int(64 * LAMBDA.place(cell["lambda"])) for cell in cells} == set(range(64))
    assert keys(cells[:16]) == keys(joined(searched(space_for("qmc", width=16), 1)))


@cache
def mean_of_the_best(sampler: str) -> float:
    """Return the best accuracy of 32 cells of lambda and eta_max, on average over seeds."""
    plane = Space(lambda_=LAMBDA, eta_max=ETA_MAX, sampler=sampler, width=8, budget=PLENTY)
    found = [max(map(worth, joined(searched(plane, 4, seed=seed)))) for seed in range(16)]
    return float(np.mean(found))


def test_who_learns_finds_better_recipes_than_chance(learner: str) -> None:
    lost, lost_by_chance = 0.5 - mean_of_the_best(learner), 0.5 - mean_of_the_best("random")

    assert lost < lost_by_chance * 2 / 3


# --- CMA-ES


def test_cmaes_takes_cells_from_elsewhere_at_the_places_where_they_are() -> None:
    space = space_for("cmaes")
    (own,) = searched(space, 1)
    moved = [cell | {"lambda": LAMBDA.at(0.9)} for cell in own]
    values = [0.1, 0.2, 0.3, 0.4]

    told = propose(experiment(space, moved), values)

    assert np.mean([LAMBDA.place(cell["lambda"]) for cell in told]) > 0.6
    assert told != propose(experiment(space, own), values)


def test_cmaes_begins_anew_once_it_stands_still() -> None:
    alone = Space(lambda_=LAMBDA, sampler="cmaes", width=16, budget=PLENTY)

    cells = joined(searched(alone, 40))

    assert len(set(keys(cells))) == 640
    last = [LAMBDA.place(cell["lambda"]) for cell in cells[-240:]]
    assert max(last) - min(last) > 0.5


# --- Gaussian processes


@pytest.mark.long
def test_a_gaussian_process_does_not_depend_on_the_threads_of_the_process() -> None:
    torch: Any = pytest.importorskip("torch", reason="the sampler gp needs torch")
    cells, values = some_results(JOINT, 304)  # from about 300 on threads share a product
    asked = experiment(replace(JOINT, sampler="gp"), cells)
    before = torch.get_num_threads()
    try:
        proposed = []
        for n_threads in (1, 4):
            torch.set_num_threads(n_threads)
            proposed.append(propose(asked, values))
            assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)

    assert proposed[0] == proposed[1]
