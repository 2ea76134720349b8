"""What a search learns from earlier studies of the same images and the same kind of network."""

from dataclasses import replace

import pytest

from hpo.commands import running
from hpo.commands.request import Order
from hpo.database import outcomes
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.mirror import deleting, study
from model.data import digits
from tests.hpo.small_search import GRID, JOINT, SPACE, RunSearch, Watcher, opened_search


def test_a_search_begins_with_what_earlier_studies_know(
    storage: Storage, run_search: RunSearch
) -> None:
    coarse = run_search(GRID).study
    known = storage.write(lambda c: outcomes.results_of(c, coarse.uuid))
    definition = replace(JOINT, space=replace(SPACE, warm_start=("coarse", "fine")))

    told: list[str] = []
    name, _, experiment = running.prepare(Order(definition, digits()), storage, notify=told.append)

    assert told == ["The search knows 2 cells of coarse-digits."]
    assert experiment.search is not None
    common = {"eta_max": 0.1, "n_s": 24, "normalisation": "image", "flip_probability": 0.0}
    assert experiment.search.warm == tuple(
        ({"lambda": value} | common, round(result.value or 0, 12))
        for value, result in zip((1e-3, 1e-2), known, strict=True)
    )
    made = study.create(storage, name, experiment)
    deleting.delete(storage, "coarse-digits")
    assert opened_search(storage).experiment.search == made.experiment.search  # it never moves


@pytest.mark.parametrize(
    "other", [{"hidden": 20}, {"loss": "binary-cross-entropy"}, {"batch_size": 50, "n_s": 48}]
)
def test_other_networks_know_nothing(
    storage: Storage, run_search: RunSearch, other: dict[str, object]
) -> None:
    run_search(replace(GRID, **other))  # type: ignore[arg-type]
    definition = replace(JOINT, space=replace(SPACE, warm_start=("coarse",)))

    _, _, experiment = running.prepare(Order(definition, digits()), storage)

    assert experiment.search is not None
    assert experiment.search.warm == ()


def test_what_the_space_leaves_out_must_be_equal(storage: Storage, run_search: RunSearch) -> None:
    run_search(GRID)
    space = replace(SPACE, warm_start=("coarse",), normalisation=(), eta_max=None)

    for eta_max, n_known in ((0.1, 2), (0.2, 0)):
        definition = replace(JOINT, name=f"at{eta_max:.0%}"[:-1], space=space, eta_max=eta_max)
        _, _, experiment = running.prepare(Order(definition, digits()), storage)
        assert experiment.search is not None
        assert len(experiment.search.warm) == n_known


def test_an_unfinished_study_knows_nothing(storage: Storage, run_search: RunSearch) -> None:
    run_search(replace(GRID, grid=Values((1e-3, 1e-2, 1e-1))), watcher=Watcher(1))
    definition = replace(JOINT, space=replace(SPACE, warm_start=("coarse",)))

    _, _, experiment = running.prepare(Order(definition, digits()), storage)

    assert experiment.search is not None
    assert experiment.search.warm == ()


@pytest.mark.parametrize(("n_s", "n_known"), [(18, 2), (19, 0)])
def test_cells_judged_by_another_share_of_the_same_images_have_as_many_epochs(
    storage: Storage, run_search: RunSearch, n_s: int, n_known: int
) -> None:
    images = replace(digits(), n_validation=None)
    watcher = Watcher()
    before = replace(GRID, n_validation=0.4, n_s=n_s)  # 9 updates an epoch
    running.run(Order(before, images), storage, watcher, watcher.stop)
    definition = replace(JOINT, n_validation=0.2, space=replace(SPACE, warm_start=("coarse",)))

    _, _, experiment = running.prepare(Order(definition, images), storage)

    assert experiment.per_epoch == 12
    assert experiment.search is not None
    assert [cell["n_s"] for cell, _ in experiment.search.warm] == n_known * [24]


def test_other_images_know_nothing(storage: Storage, run_search: RunSearch) -> None:
    watcher = Watcher()
    running.run(Order(GRID, digits().take(0, 1400)), storage, watcher, watcher.stop)
    definition = replace(JOINT, space=replace(SPACE, warm_start=("coarse",)))

    _, _, experiment = running.prepare(Order(definition, digits()), storage)

    assert experiment.search is not None
    assert experiment.search.warm == ()
