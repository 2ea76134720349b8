"""A budget that grows: when it is begun, and what of the search before stays."""

from dataclasses import replace

import pytest

from hpo.database.checkpoints import experiment_hash
from hpo.experiment import budgets
from hpo.experiment.experiment import Experiment
from hpo.search import generations
from tests.hpo.search.made_up import accuracy, cut_results, results, searched
from tests.hpo.small_search import HALVED, JOINT, QUICK

LARGER = 5000
CUT = replace(HALVED, space=replace(HALVED.space, sampler="random", budget=3000, finalists=3))


def to_its_end(experiment: Experiment) -> Experiment:
    make = results if experiment.definition.pruner == "none" else cut_results
    while not experiment.search.is_over:
        experiment = budgets.begun(generations.grown(experiment, make(experiment, accuracy)))
    return experiment


@pytest.mark.parametrize("definition", [replace(JOINT, space=QUICK), CUT])
def test_whenever_a_budget_grows_the_search_ends_the_same(definition: object) -> None:
    steps = searched(definition.space, accuracy, definition=definition)

    ends = [to_its_end(budgets.enlarged(step, LARGER)) for step in steps]

    assert all(end == ends[0] for end in ends)
    assert ends[0].cells[: len(steps[-1].cells)] == steps[-1].cells
    assert len(ends[0].cells) > len(steps[-1].cells)
    assert budgets.given(ends[0]) == (definition.space.budget, LARGER)


@pytest.mark.parametrize("definition", [replace(JOINT, space=QUICK), CUT])
def test_a_search_that_grew_is_within_its_budget_with_all_its_finalists(definition: object) -> None:
    *_, before = searched(definition.space, accuracy, definition=definition)
    assert before.search.finalists

    after = to_its_end(budgets.enlarged(before, LARGER))

    make = results if definition.pruner == "none" else cut_results
    assert generations.spent(after, make(after, accuracy)) <= LARGER
    assert after.search.raced == ((before.search.finalists, before.search.replicates),)
    for cell in before.search.finalists:
        assert after.replicates_of(cell) >= before.replicates_of(cell)
    assert after.search.finalists
    assert sum(len(cells) for cells in after.generations) == len(after.cells)


def test_budgets_are_begun_one_after_the_other() -> None:
    first = searched(QUICK, accuracy)[1]

    twice = budgets.enlarged(budgets.enlarged(first, 4000), 5000)

    assert budgets.largest(twice) == 5000
    assert budgets.given(to_its_end(twice)) == (QUICK.budget, 4000, 5000)
    assert budgets.enlarged(twice, 4500) == twice


def test_networks_of_before_are_networks_of_the_search_that_grew() -> None:
    *_, before = searched(QUICK, accuracy)

    assert experiment_hash(budgets.enlarged(before, LARGER)) == experiment_hash(before)
