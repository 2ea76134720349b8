"""Generations of a search: within the budget, and a race of the best with what is left of it."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.experiment.records import Result, Slot
from hpo.experiment.resolution import resolve
from hpo.experiment.search_state import SearchState
from hpo.search import generations
from tests.hpo.search.made_up import accuracy, cut_results, searched
from tests.hpo.small_search import DATA, HALVED, QUICK, SPACE


@given(st.integers(600, 5000), st.integers(1, 9), st.integers(0, 5), st.integers(1, 2))
def test_a_search_never_plans_more_than_its_budget(
    budget: int, width: int, finalists: int, replicates: int
) -> None:
    space = replace(QUICK, budget=budget, width=width, finalists=finalists)

    *_, last = searched(space, accuracy, replicates=replicates)

    assert last.cells
    assert generations.spent(last) <= budget
    assert last.search is not None
    if not last.search.finalists:  # then what is left pays for no other cell of middle length
        assert generations.spent(last) > space.for_search - 144 * replicates


@pytest.mark.parametrize("sampler", ["curves", "tpe", "random", "qmc", "grid"])
def test_every_generation_has_its_width_and_keeps_those_before(sampler: str) -> None:
    steps = searched(replace(SPACE, sampler=sampler), accuracy)

    sizes = [len(step.cells) for step in steps]
    assert [b - a for a, b in pairwise(sizes)][:-2] == [4] * (len(sizes) - 3)
    for before, after in pairwise(steps):
        assert after.cells[: len(before.cells)] == before.cells


@given(st.randoms(use_true_random=False))
def test_the_order_of_results_has_no_say(rng: object) -> None:
    def shuffled(found: list[Result]) -> list[Result]:
        return rng.sample(found, len(found))  # type: ignore[attr-defined]

    assert searched(QUICK, accuracy, shuffled)[-1] == searched(QUICK, accuracy)[-1]


def test_the_best_cells_become_finalists_and_get_the_rest_of_the_budget() -> None:
    *_, last = searched(QUICK, accuracy)

    assert last.search is not None
    best = sorted(
        (cell for cell in range(len(last.cells)) if accuracy(Slot(cell, 0)) is not None),
        key=lambda cell: (-(accuracy(Slot(cell, 0)) or 0), cell),
    )[:3]
    assert last.search.finalists == tuple(sorted(best))
    a_round = sum(last.recipe(cell).n_updates for cell in best)
    assert generations.spent(last) > QUICK.budget - a_round
    assert last.replicates == last.search.replicates > 1
    assert [last.replicates_of(cell) for cell in best] == [last.replicates] * 3
    assert sum(last.replicates_of(cell) for cell in range(len(last.cells))) == last.n_slots


def test_of_equal_cells_the_first_become_finalists() -> None:
    *_, last = searched(QUICK, lambda slot: 0.5)

    assert last.search is not None
    assert last.search.finalists == (0, 1, 2)


def test_without_two_cells_that_ended_there_is_no_race() -> None:
    *_, last = searched(QUICK, lambda slot: 0.5 if slot.cell == 2 else None)

    assert last.search is not None
    assert last.search.finalists == ()
    assert last.replicates == 1


@given(st.integers(2000, 20_000), st.integers(0, 3))
@pytest.mark.long
def test_a_search_that_cuts_ends_when_the_shortest_cell_costs_too_much(
    budget: int, finalists: int
) -> None:
    space = replace(QUICK, budget=budget, width=8, finalists=finalists)

    *_, last = searched(space, accuracy, definition=HALVED)

    left = budget - generations.spent(last, cut_results(last, accuracy))
    assert 0 <= left < 2 * 12 * HALVED.n_cycles  # of an epoch
    assert len({tuple(cell.values()) for cell in last.cells}) == len(last.cells)


def test_a_search_that_began_before_ends_as_it_did_then() -> None:
    more = 0
    for budget in range(1000, 1300, 30):
        space = replace(QUICK, budget=budget, width=1, finalists=0)
        steps = [replace(resolve(replace(HALVED, space=space), DATA), search=SearchState())]
        while steps[-1].search is not None and not steps[-1].search.is_over:
            steps.append(generations.grown(steps[-1], cut_results(steps[-1], accuracy)))
        now = searched(space, accuracy, definition=HALVED)[-1]

        assert steps[-1].search is not None
        assert "edition" not in steps[-1].search.to_json()
        assert now.cells[: len(steps[-1].cells)] == steps[-1].cells
        more += len(now.cells) - len(steps[-1].cells)
    assert more > 0
