"""The product's search on recipes that were really trained (tests/benchmarks/table)."""

import json
from pathlib import Path

import numpy as np
import pytest

from studies.joint import STUDY
from tests.benchmarks.regret import compare, ours
from tests.benchmarks.regret.trainings import Purse, Trainings, World
from tests.benchmarks.table import surface as table
from tests.benchmarks.table.surface import Surface, Table, measured_noise

FOLDER = Path(table.__file__).parent
RECIPE = {
    "lambda": 0.001,
    "eta_max": 0.1,
    "epochs": 4,
    "normalisation": "image",
    "flip_probability": 0.5,
}
CHEAPEST = 2 * 3 * 900  #: updates of the shortest cell of joint


@pytest.fixture(scope="module")
def world() -> World:
    return World.read()


def test_the_table_holds_results_of_many_recipes_and_little_else() -> None:
    known = Table.read()

    assert len(np.unique(known.recipe)) >= 200
    assert known.accuracy.shape[1:] == (3, 2)
    assert 0.2 < known.accuracy.min() < known.accuracy.max() < 0.6
    assert (FOLDER / "results.npz").stat().st_size < 200_000


def test_the_space_of_the_table_is_that_of_joint() -> None:
    space = STUDY.space
    assert space is not None
    assert space.eta_max is not None
    assert space.n_s is not None
    assert (space.lambda_.low, space.lambda_.high) == table.LAMBDA
    assert (space.eta_max.low, space.eta_max.high) == table.ETA_MAX
    assert (space.n_s.low, space.n_s.high) == table.EPOCHS
    assert (space.normalisation, space.flip_probability) == (table.NORMALISATIONS, table.FLIPS)
    assert STUDY.n_cycles == table.N_CYCLES


def test_the_error_of_the_surface_and_the_noise_are_as_told(world: World) -> None:
    told = json.loads((FOLDER / "surface.json").read_text())

    assert world.surface.errors(world.noise) == pytest.approx(told["error"], abs=2e-5)
    assert world.noise.deviation == pytest.approx(told["noise"], abs=2e-5)
    assert world.surface.best == pytest.approx(told["best"], abs=2e-5)
    assert max(told["error"]) < 0.006


def test_the_fitted_surface_is_more_likely_than_its_neighbours() -> None:
    known = Table.read()
    fitted = Surface.read(known).processes[-1]

    for place in range(len(fitted.theta)):
        for step in (-0.7, 0.7):
            theta = fitted.theta.copy()
            theta[place] += step
            moved = table.Process(fitted.x, fitted.y, fitted.n, theta)
            assert moved.minus_log_likelihood() > fitted.minus_log_likelihood() - 0.05


def test_noise_is_found_again_in_recipes_that_have_it() -> None:
    rng = np.random.default_rng(0)
    n, n_seeds = 200, 5
    shape = (n, n_seeds, table.N_CYCLES, 2)
    truth = rng.normal(0.5, 0.05, (n, 1, table.N_CYCLES, 1))
    shared = rng.normal(0, 0.02, (1, n_seeds, 1, 1)) + rng.normal(0, 0.02, (1, 1, 1, 2))
    images = rng.normal(0, 0.003, (n, 1, table.N_CYCLES, 2))
    accuracy = truth + shared + images + rng.normal(0, 0.004, shape)
    known = Table(
        recipe=np.repeat(np.arange(n), n_seeds),
        replicate=np.tile(1000 + np.arange(n_seeds), n),
        places=np.zeros((n * n_seeds, 5)),
        accuracy=accuracy.reshape(n * n_seeds, table.N_CYCLES, 2),
    )

    noise = measured_noise(known)

    assert np.sqrt(np.diag(noise.images)) == pytest.approx(0.003, abs=6e-4)
    assert np.sqrt(np.diag(noise.seed)) == pytest.approx(0.004, abs=4e-4)
    assert noise.correlation[0, 2] == pytest.approx(0, abs=0.15)


def test_twice_the_images_take_away_a_half_of_the_variance_at_most(world: World) -> None:
    few, many = world.noise, world.noise.of_all_images()

    assert (many.deviation**2 / few.deviation**2).min() > 0.45
    assert (many.deviation**2 / few.deviation**2).max() < 0.65
    values = Trainings(world.of_all_images(), 0).curve(RECIPE)
    assert (values * 10_000 == np.round(values * 10_000)).all()
    assert (values * 5_000 != np.round(values * 5_000)).any()


@pytest.mark.parametrize("method", [*ours.METHODS])
def test_the_product_spends_its_budget_and_never_more(world: World, method: str) -> None:
    for budget in (30_000, 150_000):
        answer = ours.METHODS[method](Trainings(world, 1), budget)

        assert answer.spent <= budget
        if "before" not in method:  # its race is of whole rounds
            assert answer.spent > budget - CHEAPEST
        assert answer.regret >= 0


def test_equal_seeds_give_equal_searches_and_others_do_not(world: World) -> None:
    first, again, other = (ours.search(Trainings(world, seed), 150_000) for seed in (3, 3, 4))

    assert first == again
    assert first != other


def test_the_luck_of_a_recipe_is_the_same_for_every_method(world: World) -> None:
    mine, theirs = Trainings(world, 7), Trainings(world, 7)
    theirs.curve(RECIPE | {"lambda": 0.002})  # whatever came before

    assert (mine.curve(RECIPE) == theirs.curve(dict(reversed(RECIPE.items())))).all()
    assert (mine.curve(RECIPE) != mine.curve(RECIPE, replicate=1)).any()
    assert (mine.curve(RECIPE) != Trainings(world, 8).curve(RECIPE)).any()


def test_a_peer_pays_for_every_cycle_and_chooses_what_it_saw(world: World) -> None:
    purse = Purse(Trainings(world, 0), 12_000)

    assert purse.pays(RECIPE)
    value = purse.train(RECIPE, 1)
    assert purse.spent == 3600
    assert not purse.seen
    assert purse.answer().regret > 30  # as from guessing: nothing came to its end
    for cycle in (2, 3):
        purse.train(RECIPE, cycle, cycle - 1)
    assert purse.spent == 10_800
    assert not purse.pays(RECIPE, 1)
    assert value == Trainings(world, 0).curve(RECIPE)[0]
    assert purse.answer().regret == world.regret(RECIPE)


def test_a_method_is_marked_when_pairs_tell_it_from_joint() -> None:
    spent = np.full(4, 300_000)
    joint = np.array([0.1, 0.5, 0.3, 0.2])

    def shown(regret: np.ndarray) -> str:
        known = {
            (compare.JOINT, 300_000): compare.Measured(joint, spent),
            ("Sobol", 300_000): compare.Measured(regret, spent),
        }
        return compare.shown(known, [compare.JOINT, "Sobol"], [300_000]).splitlines()[-1]

    steps = np.array([0.2, 0.3, 0.2, 0.3])
    assert shown(joint + steps) == "| Sobol | +0.250 ± 0.029 ** |"
    assert shown(joint - steps) == "| Sobol | -0.250 ± 0.029 !! |"
    assert shown(joint + np.array([0.5, -0.6, 0.6, -0.4])) == "| Sobol | +0.025 ± 0.307 |"


@pytest.mark.long
def test_a_comparison_in_processes_of_its_own_gives_the_same_every_time() -> None:
    methods, budgets = [compare.JOINT, compare.BEFORE], (150_000,)

    first, failed = compare.measured(methods, budgets, 2)
    again, _ = compare.measured(methods, budgets, 2)

    assert not failed
    for method in methods:
        assert (first[method, 150_000].regret == again[method, 150_000].regret).all()
    assert "± " in compare.shown(first, methods, budgets)
