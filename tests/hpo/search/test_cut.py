"""A search whose generations are cut: nearly all of its budget is used, and losers are told of."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.definition.study import StudyDefinition
from hpo.experiment.records import Result, Slot
from hpo.search import cut, generations
from hpo.search.proposals import propose
from tests.hpo.search.made_up import accuracy, cut_results, searched
from tests.hpo.small_search import HALVED, JOINT

SPACE = replace(HALVED.space, sampler="random")
SHORTEST = 2 * 12 * 3  #: updates of a cell with the smallest n_s, to its end


def grew(budget: int, **changes: object):
    *_, last = searched(replace(SPACE, budget=budget, **changes), accuracy, definition=HALVED)
    return last, cut_results(last, accuracy)


@given(st.integers(600, 9000), st.integers(1, 9), st.sampled_from([None, 0, 2, 5]))
def test_a_search_that_cuts_stays_within_its_budget_and_uses_it(
    budget: int, width: int, finalists: int | None
) -> None:
    last, found = grew(budget, width=width, finalists=finalists)

    used = generations.spent(last, found)
    assert used <= budget
    if not last.search.finalists:  # nothing that was proposed could be paid for
        assert budget - used < 3 * SHORTEST


def test_what_is_cut_pays_for_more_cells() -> None:
    whole = searched(SPACE, accuracy, definition=replace(HALVED, pruner="none"))[-1]
    last, _ = grew(SPACE.budget)

    assert len(last.cells) > 1.3 * len(whole.cells)


def test_generations_have_their_width_until_what_is_left_pays_for_less() -> None:
    last, _ = grew(9000)

    sizes = [len(cells) for cells in last.generations]
    assert sizes == list(last.search.sizes)
    assert sizes[:2] == [8, 8]
    assert max(sizes) == 8
    assert sizes[-1] < 8
    assert [cell for cells in last.generations for cell in cells] == list(range(len(last.cells)))


@given(st.randoms(use_true_random=False))
def test_the_order_of_results_has_no_say(rng: object) -> None:
    def shuffled(found: list[Result]) -> list[Result]:
        return rng.sample(found, len(found))  # type: ignore[attr-defined]

    expected = searched(SPACE, accuracy, definition=HALVED)[-1]
    assert searched(SPACE, accuracy, shuffled, definition=HALVED)[-1] == expected


def test_a_state_of_a_search_that_cuts_is_read_back() -> None:
    last, _ = grew(6000)

    assert type(last).from_json(last.to_json()) == last
    assert "sizes" not in searched(JOINT.space, accuracy)[-1].to_json()["search"]


def test_the_race_takes_fewer_finalists_where_a_round_of_all_costs_too_much() -> None:
    ample, _ = grew(9000, finalists=4, final_share=0.3)
    scarce, _ = grew(2200, finalists=8, final_share=0.2)

    assert len(ample.search.finalists) == 4
    assert 0 < len(scarce.search.finalists) < 8


def test_a_race_is_usual_from_600000_updates_on() -> None:
    assert replace(SPACE, finalists=None, budget=599_999).n_finalists == 0
    assert replace(SPACE, finalists=None, budget=600_000).n_finalists == 4


def test_tpe_is_told_what_cells_had_when_they_were_cut_and_when_that_was() -> None:
    space = replace(SPACE, sampler="tpe", budget=20_000)
    *_, before, _ = searched(space, accuracy, definition=HALVED)[:4]
    values = [accuracy(Slot(cell, 0)) for cell in range(len(before.cells))]

    best = sorted(range(len(values)), key=lambda cell: -(values[cell] or 0))[:6]
    told = [propose(before, values, dict.fromkeys(best, cycle)) for cycle in (1, 2)]
    told.append(propose(before, values))

    assert len({str(proposals) for proposals in told}) > 1


def test_others_are_told_the_last_value_and_what_those_gained_that_went_on() -> None:
    last, found = grew(3000)
    losers = cut.cells(last, found)
    first = dict.fromkeys(last.generations[0], 0.5)  # where the best came to 0.9 from
    best = next(cell for cell in last.generations[0] if cell not in losers)
    early = [cell for cell, loser in losers.items() if loser.cycle == 1]

    worth = cut.worths(last, losers, {best: 0.9}, {1: first})

    assert early
    for cell in early:
        assert worth[cell] == pytest.approx((losers[cell].value or 0) + 0.4)


def test_a_space_cuts_unless_it_is_said_otherwise_and_a_grid_does_not() -> None:
    space = StudyDefinition(name="own", space=SPACE, n_cycles=2)
    assert space.pruner == "halving"
    assert replace(space, pruner="none").pruner == "none"
    assert StudyDefinition(name="own", space=SPACE, n_cycles=1).pruner == "none"
    assert StudyDefinition(name="own", grid=HALVED.grid or _grid()).pruner == "none"


def _grid():
    from hpo import Values

    return Values((1e-3, 1e-2))


def test_with_a_confidence_a_generation_may_come_to_its_end_whole() -> None:
    last = searched(SPACE, accuracy, definition=HALVED)[-1]
    careful = replace(last.definition, pruner="halving:confidence=0.9")
    cells = last.cells[:8]

    whole = sum(last.recipe(cell).n_updates for cell in range(8))

    assert generations.most_updates(replace(last, definition=careful), cells) == whole
    assert generations.most_updates(last, cells) < whole


def test_most_updates_are_those_of_the_longest_cells_going_on() -> None:
    steps = searched(SPACE, accuracy, definition=HALVED)
    for before, after in pairwise(steps):
        new = after.cells[len(before.cells) :]
        found = cut_results(after, accuracy)[len(before.cells) :]
        made = sum(r.n_updates for r in found if r.slot.replicate == 0)
        if new:
            assert made <= generations.most_updates(before, new)
