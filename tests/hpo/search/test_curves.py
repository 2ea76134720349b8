"""The sampler of Gaussian processes over recipes and cycles."""

from dataclasses import replace

import numpy as np
import pytest

from hpo.definition.ranges import Choice, Real, Whole
from hpo.search import candidates, cut
from hpo.search.curves import MOST, Value, asks, encoded, improvement, seen
from hpo.search.process import ENOUGH, Process, Seen, settings
from tests.hpo.search.made_up import accuracy, searched
from tests.hpo.search.proposing import JOINT, experiment, keys, some_results
from tests.hpo.small_search import HALVED

SPACE = HALVED.space
DIMENSIONS = {"lambda": Real(1e-4, 1e-2, logarithmic=True), "eta_max": Real(0.01, 0.1)}


def some(n: int, *, noise: float = 0.0, seed: int = 0) -> Seen:
    """Return values of a smooth function of two places."""
    rng = np.random.default_rng(seed)
    x = rng.random((n, 2))
    y = np.sin(4 * x[:, 0]) + x[:, 1] + noise * rng.standard_normal(n)
    return Seen(x, np.zeros(n, int), np.arange(n), y)


def likeliest(known: Seen) -> Process:
    tried, _ = settings(known, np.random.default_rng(0))
    return Process(known, tried[0])


def test_what_was_not_seen_is_foretold_where_the_function_is_smooth() -> None:
    others = some(100, seed=1)

    belief = likeliest(some(40)).at(others.x)

    missed = belief.mean - others.y
    assert np.abs(missed).mean() < 0.05
    assert np.mean(np.abs(missed) < 3 * belief.deviation) > 0.9


def test_the_noise_is_found_in_the_values() -> None:
    noises = [np.sqrt(p.noise * p.scale) for p in map(likeliest, (some(60), some(60, noise=0.3)))]

    assert noises[0] < 0.1 < noises[1] < 0.6


def test_a_value_of_an_early_cycle_says_something_of_the_end() -> None:
    known, far = some(30), np.array([[0.5, 0.5]])
    levels = replace(known, togo=np.arange(30) % 3, y=known.y - 0.5 * (np.arange(30) % 3))
    setting = np.log([0.8, 0.8, 0.1, 0.1])
    early = Seen(
        np.vstack([levels.x, far]),
        np.append(levels.togo, 2),
        np.append(levels.training, 99),
        np.append(levels.y, 3.0),
    )

    before, after = (Process(known, setting).at(far) for known in (levels, early))

    end = Process(replace(early, togo=np.append(levels.togo, 0)), setting).at(far)
    assert after.mean[0] > before.mean[0]
    assert end.taken[0] > after.taken[0] > before.taken[0]


def test_believing_what_is_expected_is_as_being_told_it() -> None:
    known, asked = some(20, noise=0.1), some(30, seed=3).x
    process = likeliest(known)
    believed = process.at(asked)

    believed.believe(7)

    told = Seen(
        np.vstack([known.x, asked[7:8]]),
        np.append(known.togo, 0),
        np.append(known.training, 99),
        np.append(known.y, believed.mean[7]),
    )
    expected = Process(told, process.setting).at(asked)
    assert believed.mean == pytest.approx(expected.mean, abs=1e-5)
    assert believed.taken == pytest.approx(expected.taken, abs=1e-5)


def test_a_value_that_is_only_luck_teaches_little_and_is_hardly_wanted_again() -> None:
    known = some(30, noise=0.2)
    belief = likeliest(known).at(known.x)

    assert (belief.learnt < belief.deviation).all()


def test_the_improvement_is_what_a_normal_value_is_above_the_best_on_average() -> None:
    values = np.random.default_rng(0).normal(0.3, 0.5, 200_000)

    expected = improvement(np.array([0.3]), np.array([0.5]), 0.6)[0]

    assert np.maximum(values - 0.6, 0).mean() == pytest.approx(expected, abs=2e-3)


def test_cells_that_diverged_hide_no_difference_between_the_others() -> None:
    values = [Value(n, 0, 0.5 + 0.001 * n) for n in range(8)] + [Value(8, 0, 0.1)]

    y = seen(np.zeros((9, 2)), values).y

    assert np.ptp(y[:8]) > 2
    assert y[8] == y.min() > -12


def test_equal_values_are_no_hindrance() -> None:
    cells = [candidates.at(DIMENSIONS, place) for place in np.random.default_rng(0).random((6, 2))]
    values = [Value(n, 0, 0.5) for n in range(6)]

    ask = asks(DIMENSIONS, cells, values, np.random.default_rng(1))

    assert len(set(keys([ask() for _ in range(5)]))) == 5


def test_options_without_an_order_are_equally_far_from_each_other() -> None:
    dimensions = {"of": Choice(("a", "b", "c")), "hidden": Whole(1, 3)}
    places = np.array([candidates.places(dimensions, {"of": v, "hidden": 2}) for v in "abc"])

    x = encoded(dimensions, places)

    apart = [np.linalg.norm(x[i] - x[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert apart == pytest.approx([1, 1, 1])


def test_of_more_values_than_it_learns_from_the_best_ends_count() -> None:
    n = MOST + 50
    values = [Value(cell, cell % 2, cell / n) for cell in range(n)]

    known = seen(np.random.default_rng(0).random((n, 2)), values)

    assert len(known.y) == MOST
    assert (known.togo == 0).sum() == n // 2
    assert MOST > ENOUGH


def test_a_search_that_cuts_tells_every_value_at_a_rung_and_at_the_end() -> None:
    *_, last, _ = searched(SPACE, accuracy, definition=HALVED)[:3]
    early, best = list(last.generations[0])[:2]
    losers = {early: cut.Loser(1, 0.4)}
    values = [0.6] * len(last.cells)

    told = cut.seen(last, losers, values, {1: {early: 0.4, best: 0.5}})

    n_cycles = last.recipe(best).n_cycles
    assert [v for v in told if v.cell == early] == [Value(early, n_cycles - 1, 0.4)]
    assert [v for v in told if v.cell == best] == [
        Value(best, 0, 0.6),
        Value(best, n_cycles - 1, 0.5),
    ]


def test_it_knows_of_earlier_studies() -> None:
    from hpo.search.proposals import propose

    space = replace(JOINT, sampler="curves")
    cells, values = some_results(space, 8)
    warm = tuple((cell, 0.9 if n else 0.2) for n, cell in enumerate(some_results(space, 3)[0]))

    alone = propose(experiment(space, cells), values)

    assert propose(experiment(space, cells, warm=warm), values) != alone
