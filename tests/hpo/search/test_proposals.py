"""Who proposes what: the next generation, a pure function of seed and results, for every sampler."""

import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from itertools import pairwise, product
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.definition.grids import Values
from hpo.definition.ranges import Real, Value, WholeEpochs
from hpo.definition.spaces import SAMPLERS, Space
from hpo.definition.study import StudyDefinition
from hpo.errors import MissingPackage
from hpo.experiment.experiment import DataFacts, Experiment
from hpo.experiment.resolution import resolve
from hpo.search.proposals import Parameters, check_installed, propose

DATA = DataFacts(
    name="digits",
    fingerprint="a" * 64,
    n_training=1200,
    n_validation=300,
    d=64,
    n_classes=10,
    image_shape=(8, 8),
)
LAMBDA = Real(1e-4, 1e-2, logarithmic=True)
ETA_MAX = Real(0.02, 0.3, logarithmic=True)
PLENTY = 10**9  #: updates
NUMBERS = Space(lambda_=LAMBDA, eta_max=ETA_MAX, n_s=WholeEpochs(1, 4), width=4, budget=PLENTY)
JOINT = replace(NUMBERS, normalisation=("image", "feature"), flip_probability=(0.0, 0.5))
ONE = Real(1e-3, 1e-3, logarithmic=True)  #: a range of one number
LEARNERS = ("tpe", "gp", "cmaes")  #: what they propose depends on results
Cells = Sequence[Parameters]
Worth = Callable[[Parameters], float | None]


@pytest.fixture(params=SAMPLERS)
def sampler(request: pytest.FixtureRequest) -> str:
    """Each sampler that is installed."""
    return installed(request.param)


@pytest.fixture(params=LEARNERS)
def learner(request: pytest.FixtureRequest) -> str:
    """Each sampler that looks at results, as far as it is installed."""
    return installed(request.param)


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


def space_cells(space: Space) -> list[Parameters]:
    dimensions = space.dimensions(12)
    values = product(*(dimension.values() for dimension in dimensions.values()))
    return [dict(zip(dimensions, chosen, strict=True)) for chosen in values]


def test_a_space_of_one_cell_is_proposed_once(sampler: str) -> None:
    single = Space(lambda_=ONE, sampler=sampler, width=4, budget=PLENTY)

    assert searched(single, 2) == [[{"lambda": 1e-3}], []]


def test_lambda_alone_can_be_searched(sampler: str) -> None:
    alone = Space(lambda_=replace(LAMBDA, n=12), sampler=sampler, width=4, budget=PLENTY)

    cells = joined(searched(alone, 3))

    assert len(set(keys(cells))) == 12
    assert all(list(cell) == ["lambda"] for cell in cells)


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "grid", "gp"])
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


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "grid", "cmaes"])
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


# --- any space


@st.composite
def reals(draw: st.DrawFn) -> Real:
    low, high = sorted((draw(st.floats(1e-5, 0.4)), draw(st.floats(1e-5, 0.4))))
    return Real(low, high, logarithmic=draw(st.booleans()), n=draw(st.integers(1, 3)))


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    sampler = draw(st.sampled_from(("tpe", "random", "qmc", "grid", "cmaes")))
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


@pytest.mark.parametrize("sampler", ["qmc", "tpe", "gp"])
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


# --- earlier studies

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
