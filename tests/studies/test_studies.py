"""The three studies that ship: their grids, their recipes, and the notebook's carried order."""

import json
from pathlib import Path

import numpy as np
import pytest

import hpo
from hpo.definition.grids import ParentCell
from hpo.definition.study import StudyDefinition, study_name
from hpo.experiment.experiment import DataFacts, Experiment, Parent
from hpo.experiment.resolution import inheritance, resolve
from model.data import n_held_out
from studies import coarse, final, fine, joint

PUBLISHED = json.loads(
    Path(hpo.__file__).with_name("commands").joinpath("published.json").read_text()
)
DEFINITIONS = [coarse.STUDY, fine.STUDY, final.STUDY]  # in the order of the notebook
BEST_COARSE, BEST_FINE = 5, 1  # the cells that won in the notebook


def cifar10(definition: StudyDefinition) -> DataFacts:
    """Return the facts of the 50,000 training images, split as the definition says."""
    return DataFacts(
        name="cifar10",
        fingerprint="f" * 64,
        n_training=50_000 - n_held_out(50_000, definition.n_validation),
        n_validation=n_held_out(50_000, definition.n_validation),
        d=3072,
        n_classes=10,
        image_shape=(3, 32, 32),
    )


def experiment(name: str, protocol: str = "standard") -> Experiment:
    """Return one of the three as it is run after the ones before it."""
    definition = {"coarse": coarse, "fine": fine, "final": final}[name].STUDY.in_protocol(protocol)
    parent = None
    if definition.parent is not None:
        before = experiment(definition.parent, protocol)
        best = BEST_COARSE if definition.parent == "coarse" else BEST_FINE
        recipe = inheritance(before, best) if definition.inherits_recipe else None
        cell = ParentCell(definition.parent, "uuid", best, before.lambdas[best], recipe)
        parent = Parent(cell, before)
    return resolve(definition, cifar10(definition), parent)


def test_joint_searches_the_whole_recipe_and_nothing_else() -> None:
    found = resolve(joint.STUDY, cifar10(joint.STUDY))

    assert found.parameters == ("lambda", "eta_max", "n_s", "normalisation", "flip_probability")
    assert joint.STUDY.space is not None
    dimensions = joint.STUDY.space.dimensions(found.per_epoch)
    assert dimensions["n_s"].values() == [400 * epochs for epochs in range(2, 9)]
    assert found.definition.space is not None
    assert found.definition.space.budget == 266_666
    assert not joint.STUDY.evaluates_test
    same = ("hidden", "batch_size", "loss", "eta_min", "dtype", "seed")
    for field in same:
        assert getattr(joint.STUDY, field) == getattr(coarse.STUDY, field)


def test_a_grid_lies_within_the_space_that_it_warms() -> None:
    space = joint.STUDY.space
    assert space is not None
    cell = inheritance(experiment("coarse"), 2)
    assert {key: cell[key] for key in list(cell)[:5]} == {
        "epochs": 2, "n_cycles": 2, "eta_max": 0.1, "normalisation": "image", "flip_probability": 0.0
    }  # fmt: skip
    assert space.n_s is not None
    assert space.eta_max is not None
    assert space.n_s.low <= 2 <= space.n_s.high
    assert space.eta_max.has(0.1)


def test_each_study_is_named_after_its_file() -> None:
    assert [study_name(study, "cifar10") for study in DEFINITIONS] == ["coarse", "fine", "final"]
    assert study_name(joint.STUDY, "digits") == "joint-digits"
    assert [study.parent for study in DEFINITIONS] == [None, "coarse", "fine"]


def test_only_final_looks_at_the_test_images() -> None:
    assert [study.evaluates_test for study in DEFINITIONS] == [False, False, True]


def test_final_tells_the_luck_of_a_seed_from_the_recipe() -> None:
    assert [study.replicates for study in DEFINITIONS] == [1, 1, 3]
    assert [s.in_protocol("notebook").replicates for s in DEFINITIONS] == [1, 1, 1]


def test_coarse_is_the_logarithmic_grid_with_the_printed_digits() -> None:
    lambdas = experiment("coarse").lambdas

    assert lambdas == tuple(PUBLISHED["coarse"]["lambdas"])
    np.testing.assert_allclose(lambdas, np.logspace(-5, -1, 8), rtol=1e-12, atol=0)


def test_fine_lies_between_the_neighbours_of_the_best_coarse_cell() -> None:
    lambdas, grid = experiment("fine").lambdas, experiment("coarse").lambdas

    np.testing.assert_allclose(lambdas, PUBLISHED["fine"]["lambdas"], rtol=1e-12, atol=0)
    assert (lambdas[0], lambdas[-1]) == (grid[4], grid[6])


def test_final_has_the_lambda_of_the_best_fine_cell() -> None:
    found = experiment("final")

    assert found.lambdas == pytest.approx((PUBLISHED["fine"]["best_lambda"],), rel=1e-12, abs=0)
    assert found.parent is not None
    assert (found.parent.study, found.parent.cell) == ("fine", BEST_FINE)


@pytest.mark.parametrize(
    ("name", "protocol", "n_s", "n_updates"),
    [
        ("coarse", "standard", 900, 3600),  # two cycles of 4 epochs with 450 updates each
        ("fine", "standard", 900, 5400),  # three cycles
        ("final", "standard", 980, 5880),  # as fine: three cycles of 4 epochs, of 490 updates each
        ("coarse", "notebook", 900, 3600),  # 8 epochs
        ("fine", "notebook", 900, 5400),  # 12 epochs
        ("final", "notebook", 500, 4900),  # 10 epochs of 490: the fifth cycle is cut short
    ],
)
def test_the_recipe_in_updates(name: str, protocol: str, n_s: int, n_updates: int) -> None:
    found = experiment(name, protocol)

    assert (found.n_s, found.n_updates) == (n_s, n_updates)


@pytest.mark.parametrize("name", ["coarse", "fine", "final"])
def test_all_three_share_the_notebooks_settings(name: str) -> None:
    definition = experiment(name).definition

    assert (definition.batch_size, definition.hidden, definition.loss) == (100, 50, "cross-entropy")
    assert (definition.eta_min, definition.eta_max) == (1e-5, 1e-1)
    assert (definition.normalisation, definition.flip_probability) == ("image", 0)
    assert (definition.dtype, definition.train_metrics) == ("float32", "running")


@pytest.mark.parametrize("name", ["coarse", "fine", "final"])
def test_the_notebook_protocol_settles_what_the_notebook_did(name: str) -> None:
    definition = experiment(name, "notebook").definition

    assert (definition.dtype, definition.train_metrics) == ("float64", "full")
    assert (definition.seed, definition.normalisation) == (65465168, "image")


@pytest.mark.parametrize(
    ("name", "cell", "epochs"),
    [
        ("coarse", 0, ()),  # the first run finds the images as they were loaded
        ("coarse", 3, (8, 8, 8)),  # every run leaves its order to the next
        ("coarse", 7, (8,) * 7),
        ("fine", 0, (8,) * 8),  # after all of coarse
        ("fine", 9, (8,) * 8 + (12,) * 9),
        ("final", 0, ()),  # loads the images afresh
    ],
)
def test_the_runs_that_left_their_order_behind(
    name: str, cell: int, epochs: tuple[int, ...]
) -> None:
    assert experiment(name, "notebook").runs_before(cell) == epochs


@pytest.mark.parametrize(("name", "n"), [("coarse", 45_000), ("fine", 45_000), ("final", 49_000)])
def test_the_split_of_the_50000_images(name: str, n: int) -> None:
    assert experiment(name).data.n_training == n
