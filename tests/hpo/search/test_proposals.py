"""Who proposes what: the next generation, a pure function of seed and results, for every sampler."""

import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from itertools import pairwise

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.definition.grids import Values
from hpo.definition.ranges import Real, WholeEpochs
from hpo.definition.spaces import SAMPLERS, Space
from hpo.definition.study import StudyDefinition
from hpo.errors import MissingPackage
from hpo.experiment.resolution import resolve
from hpo.search.proposals import check_installed, propose
from tests.hpo.search.proposing import (
    DATA,
    JOINT,
    LAMBDA,
    ONE,
    PLENTY,
    experiment,
    installed,
    joined,
    keys,
    searched,
    some_results,
    space_cells,
    space_for,
)

# --- every sampler


def test_every_generation_is_full_and_lies_in_the_space(sampler: str) -> None:
    space = space_for(sampler)
    dimensions = space.dimensions(12)

    generations = searched(space, 4)

    assert [len(generation) for generation in generations] == [4] * 4
    for cell in joined(generations):
        assert list(cell) == list(dimensions)
        assert all(dimensions[name].has(value) for name, value in cell.items())
        assert {type(value) for value in cell.values()} <= {float, int, str}


def test_no_cell_comes_twice(sampler: str) -> None:
    crowded = space_for(sampler, lambda_=ONE, eta_max=None)

    cells = joined(searched(crowded, 4))

    assert len(set(keys(cells))) == len(cells)


def test_a_space_that_can_be_counted_is_proposed_whole_and_then_runs_out(sampler: str) -> None:
    space = space_for(sampler, lambda_=ONE, eta_max=None, n_s=WholeEpochs(1, 6))
    expected = set(keys(list(space_cells(space))))

    generations = searched(space, 8)

    assert set(keys(joined(generations))) == expected
    n = len(expected)
    assert [len(g) for g in generations] == [min(4, max(0, n - 4 * i)) for i in range(8)]


def test_a_space_of_one_cell_is_proposed_once(sampler: str) -> None:
    single = Space(lambda_=ONE, sampler=sampler, width=4, budget=PLENTY)

    assert searched(single, 2) == [[{"lambda": 1e-3}], []]


def test_lambda_alone_can_be_searched(sampler: str) -> None:
    alone = Space(lambda_=replace(LAMBDA, n=12), sampler=sampler, width=4, budget=PLENTY)

    cells = joined(searched(alone, 3))

    assert len(set(keys(cells))) == 12
    assert all(list(cell) == ["lambda"] for cell in cells)


@pytest.mark.parametrize("sampler", ["curves", "tpe", "random", "qmc", "grid", "gp"])
def test_a_generation_can_be_one_cell(sampler: str) -> None:
    generations = searched(space_for(installed(sampler), width=1), 4)

    assert [len(generation) for generation in generations] == [1] * 4
    assert len(set(keys(joined(generations)))) == 4


def test_the_same_seed_and_results_give_the_same_generation_whatever_was_asked_before(
    sampler: str,
) -> None:
    space = space_for(sampler)
    cells, values = some_results(space, 12)
    asked = experiment(space, cells)

    first = propose(asked, values)
    searched(space_for(sampler, width=5), 2, seed=3)
    np.random.seed(1)
    random.seed(1)

    assert propose(asked, values) == first


PROPOSE = """
import json, sys
from hpo.experiment.experiment import Experiment
from hpo.search.proposals import propose
for stored, values in json.load(sys.stdin):
    print(json.dumps(propose(Experiment.from_json(stored), values)))
"""


def test_another_process_proposes_the_same() -> None:
    samplers = [sampler for sampler in SAMPLERS if sampler != "gp" or find_spec("torch")]
    asked = []
    for sampler in samplers:
        cells, values = some_results(space_for(sampler), 20)
        asked.append((experiment(space_for(sampler), cells), values))
    given = json.dumps([[e.to_json(), values] for e, values in asked], sort_keys=True)

    done = subprocess.run(
        [sys.executable, "-c", PROPOSE],
        input=given,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "7"},
    )

    proposed = [json.loads(line) for line in done.stdout.splitlines()]
    assert proposed == [propose(e, values) for e, values in asked]
    assert done.stderr == ""


def test_another_seed_begins_elsewhere(sampler: str) -> None:
    assert searched(space_for(sampler), 1, seed=0) != searched(space_for(sampler), 1, seed=1)


@pytest.mark.parametrize("sampler", ["curves", "tpe", "random", "qmc", "grid", "cmaes"])
def test_another_seed_goes_on_elsewhere_from_the_same_results(sampler: str) -> None:
    cells, values = some_results(space_for(sampler), 12)

    one, other = (experiment(space_for(sampler), cells, seed=seed) for seed in (0, 1))

    assert propose(one, values) != propose(other, values)


def test_a_result_of_an_earlier_generation_may_change_what_comes_next(learner: str) -> None:
    cells, values = some_results(space_for(learner), 12)
    asked = experiment(space_for(learner), cells)

    assert propose(asked, [0.2, *values[1:]]) != propose(asked, values)


@pytest.mark.parametrize("sampler", ["random", "qmc", "grid"])
def test_who_does_not_learn_ignores_results(sampler: str) -> None:
    cells, values = some_results(space_for(sampler), 12)
    asked = experiment(space_for(sampler), cells)

    assert propose(asked, [0.2, *values[1:]]) == propose(asked, values)


def test_a_cell_that_diverged_is_worth_as_much_as_guessing(learner: str) -> None:
    cells, _ = some_results(space_for(learner), 12)
    asked = experiment(space_for(learner), cells)

    diverged, guessed, better = (
        propose(asked, [0.15, value, 0.05, 0.05] * 3) for value in (None, 1 / DATA.n_classes, 0.2)
    )

    assert diverged == guessed
    assert diverged != better


def test_a_search_goes_on_when_everything_diverges(sampler: str) -> None:
    cells = joined(searched(space_for(sampler), 3, lambda _: None))

    assert len(set(keys(cells))) == 12


def test_proposing_leaves_the_log_of_optuna_as_it_was(learner: str) -> None:
    before = optuna.logging.get_verbosity()
    try:
        optuna.logging.set_verbosity(optuna.logging.DEBUG)
        searched(space_for(learner), 2)
        assert optuna.logging.get_verbosity() == optuna.logging.DEBUG
    finally:
        optuna.logging.set_verbosity(before)


def test_every_cell_needs_its_value() -> None:
    cells, values = some_results(JOINT, 4)
    with pytest.raises(ValueError, match="shorter"):
        propose(experiment(JOINT, cells), values[:-1])


def test_a_grid_of_values_has_no_next_generation() -> None:
    listed = resolve(StudyDefinition(name="mine", grid=Values((0.1,))), DATA)
    with pytest.raises(ValueError, match="mine searches no space"):
        propose(listed, [0.5])


@pytest.mark.parametrize(("sampler", "package"), [("gp", "torch"), ("cmaes", "cmaes")])
def test_a_sampler_whose_library_is_missing_says_what_to_install(
    sampler: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    told = rf"The sampler {sampler} needs {package}.*pip install {package}"

    with pytest.raises(MissingPackage, match=told):
        propose(experiment(space_for(sampler)), [])
    for other in set(SAMPLERS) - {"gp", "cmaes"}:
        check_installed(space_for(other))


@st.composite
def reals(draw: st.DrawFn) -> Real:
    low, high = sorted((draw(st.floats(1e-5, 0.4)), draw(st.floats(1e-5, 0.4))))
    return Real(low, high, logarithmic=draw(st.booleans()), n=draw(st.integers(1, 3)))


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    sampler = draw(st.sampled_from(("curves", "tpe", "random", "qmc", "grid", "cmaes")))
    first, last = sorted((draw(st.integers(1, 4)), draw(st.integers(1, 4))))
    space = Space(
        lambda_=draw(reals() | st.just(ONE)),
        eta_max=draw(st.none() | reals()),
        n_s=draw(st.none() | st.just(WholeEpochs(first, last))),
        sampler=sampler,
        width=draw(st.integers(4, 9)),
        budget=PLENTY,
    )
    if sampler == "cmaes":
        return space
    options = st.lists(st.sampled_from(("image", "feature", "none")), unique=True)
    shares = st.lists(st.floats(0, 1), unique=True, max_size=2)
    return replace(
        space,
        normalisation=tuple(draw(options)),
        flip_probability=tuple(draw(shares)),
        width=draw(st.integers(1, 9)),
    )


# --- any space


@settings(max_examples=40)
@given(spaces(), st.integers(0, 2**32 - 1), st.randoms(use_true_random=False))
def test_whatever_the_space_every_proposal_is_new_and_inside(
    space: Space, seed: int, rng: random.Random
) -> None:
    dimensions = space.dimensions(12)

    generations = searched(space, 3, lambda _: rng.choice((None, rng.random(), 0.5)), seed=seed)

    cells = joined(generations)
    assert len(set(keys(cells))) == len(cells)
    for cell in cells:
        assert list(cell) == list(dimensions)
        assert all(dimensions[name].has(value) for name, value in cell.items())
    sizes = [len(generation) for generation in generations]
    assert all(size == space.width for size, after in pairwise(sizes) if after)
