"""The search of a space: every slot once, and the same end whatever interrupts it."""

from dataclasses import replace

import pytest

from hpo.commands import running
from hpo.commands.request import Order
from hpo.database import outcomes
from hpo.database.storage import Storage
from hpo.errors import DefinitionChanged, MissingPackage
from hpo.experiment.records import Slot
from hpo.mirror import study
from hpo.planning.plan import plan
from hpo.training import trainer
from model.data import digits
from tests.hpo.small_search import (
    JOINT,
    QUICK,
    SPACE,
    RunSearch,
    Watcher,
    exported_search,
    opened_search,
)


def test_a_search_counts_every_slot_once(storage: Storage, run_search: RunSearch) -> None:
    outcome = run_search()

    experiment = outcome.study.experiment
    found = storage.write(lambda c: outcomes.results_of(c, outcome.study.uuid))
    wanted = [
        Slot(cell, replicate)
        for cell in range(len(experiment.cells))
        for replicate in range(experiment.replicates_of(cell))
    ]
    assert [result.slot for result in found] == wanted
    assert [r.n_updates for r in found] == [experiment.recipe(r.slot.cell).n_updates for r in found]
    assert {result.cycles for result in found} == {2}
    assert outcome.after.is_complete
    assert experiment.search is not None
    assert experiment.search.is_over


@pytest.mark.long
def test_cells_that_share_no_stack_have_the_same_results(
    storage: Storage,
    run_search: RunSearch,
    undisturbed_search: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trainer, "WIDTH", 1)
    run_search()

    assert exported_search(storage) == undisturbed_search


@pytest.mark.parametrize(
    "stop_after",
    [pytest.param(1, marks=pytest.mark.long), 90, pytest.param(333, marks=pytest.mark.long)],
)
def test_an_interrupted_search_goes_on_as_if_nothing_had_happened(
    storage: Storage, run_search: RunSearch, undisturbed_search: str, stop_after: int
) -> None:
    first = run_search(watcher=Watcher(stop_after))
    assert not first.after.is_complete

    run_search()

    assert exported_search(storage) == undisturbed_search


@pytest.mark.long
def test_interrupting_again_and_again_changes_nothing(
    storage: Storage, run_search: RunSearch, undisturbed_search: str
) -> None:
    n_runs = 0
    while not run_search(watcher=Watcher(100)).after.is_complete:
        n_runs += 1

    assert n_runs > 3
    assert exported_search(storage) == undisturbed_search


@pytest.mark.long
def test_replicates_grow_when_the_search_is_over_and_not_before(
    storage: Storage, run_search: RunSearch
) -> None:
    run_search(watcher=Watcher(50))
    with pytest.raises(DefinitionChanged, match="replicates: stored 1, asked for 6"):
        run_search(replace(JOINT, replicates=6))
    before = run_search().study.experiment

    grown = run_search(replace(JOINT, replicates=6)).study

    after = grown.experiment
    assert after.cells == before.cells
    assert after.search.finalists == before.search.finalists
    assert {after.replicates_of(cell) for cell in after.search.finalists} == {6}
    assert after.n_slots == len(after.cells) + 5 * len(after.search.finalists)
    found = storage.write(lambda c: outcomes.results_of(c, grown.uuid))
    assert len(found) == after.n_slots


def test_nothing_is_proposed_while_a_result_is_missing(storage: Storage) -> None:
    definition = replace(JOINT, space=QUICK)
    made, standing = running.submit(Order(definition, digits()), storage)
    assert standing.n_slots == 4

    plan(made)

    assert len(opened_search(storage).experiment.cells) == 4


def test_a_library_that_is_missing_is_named_before_anything_is_made(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    definition = replace(JOINT, space=replace(SPACE, sampler="gp"))

    with pytest.raises(MissingPackage, match=r"needs torch.*pip install torch"):
        running.submit(Order(definition, digits()), storage)

    assert study.names(storage) == []
