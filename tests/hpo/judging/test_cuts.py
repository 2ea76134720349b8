"""What a cut may have cost, and who is behind by more than chance."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from hpo.experiment.records import Outcome, Result, Slot
from hpo.judging.cuts import Cut, cuts, surely_behind, whole
from hpo.judging.judgement import in_words
from tests.hpo.judging.test_judgement import JUDGEMENT, LAMBDAS, over

Bits = NDArray[np.bool_]


def bits(shares: dict[int, float], n_replicates: int = 1, n: int = 1000) -> dict[Slot, Bits]:
    """Return networks that find the same images hard, and are right on such shares of them."""
    rng = np.random.default_rng(0)
    hardness = rng.random(n)
    return {
        Slot(cell, r): hardness + rng.normal(0, 0.02, n) < share
        for cell, share in shares.items()
        for r in range(n_replicates)
    }


def pruned(cell: int, cycle: int, replicate: int = 0) -> Result:
    return Result(Slot(cell, replicate), 0, Outcome.PRUNED, 0.4, cycle, 20 * cycle)


def test_a_cut_names_the_cells_that_the_best_there_was_not_surely_ahead_of() -> None:
    at_rungs = {1: bits({0: 0.5, 1: 0.502, 2: 0.498, 3: 0.3})}

    found = cuts([pruned(2, 1), pruned(3, 1)], at_rungs, 1)

    assert found == (Cut(cycle=1, n_compared=4, cells=(2, 3), unsure=(2,)),)


def test_each_cycle_has_its_cut() -> None:
    at_rungs = {1: bits({0: 0.5, 1: 0.2, 2: 0.5}), 2: bits({0: 0.5, 2: 0.1})}

    found = cuts([pruned(1, 1), pruned(2, 2)], at_rungs, 1)

    assert [(cut.cycle, cut.cells, cut.unsure) for cut in found] == [(1, (1,), ()), (2, (2,), ())]


def test_without_bits_nothing_is_known_of_a_cut() -> None:
    (found,) = cuts([pruned(1, 1)], {1: bits({0: 0.5})}, 1)

    assert (found.n_compared, found.unsure) == (2, None)


def test_what_was_never_trained_or_came_to_its_end_was_not_cut() -> None:
    never = replace(pruned(1, 0, replicate=1), value=None)
    ended = Result(Slot(0, 0), 0, Outcome.COMPLETE, 0.5, 2, 40)

    assert cuts([never, ended], {1: bits({0: 0.5, 1: 0.5})}, 1) == ()


@pytest.mark.parametrize(
    ("unsure", "words"),
    [
        (None, "whether the best was among them is not known, as no bits of them were kept"),
        ((), "the best there, at 95 %, was not among them"),
        ((1,), "lambda 0.01 could not be told from the best there at 95 %, and may have been it"),
    ],
)
def test_a_cut_in_words(unsure: tuple[int, ...] | None, words: str) -> None:
    judgement = replace(JUDGEMENT, cuts=(Cut(1, 4, (1, 3), unsure),))

    assert in_words(judgement, over(*LAMBDAS))[-1] == (
        f"2 of 4 cells were cut after cycle 1; {words}"
    )


def test_who_is_a_little_behind_is_not_surely_behind() -> None:
    there = whole(bits({0: 0.52, 1: 0.5, 2: 0.498, 3: 0.3}), 1)

    assert surely_behind(there, 1, 0.9) == {3}
    assert surely_behind(there, 0, 0.9) == {1, 2, 3}


def test_more_confidence_never_cuts_more() -> None:
    there = whole(bits(dict(enumerate(np.linspace(0.5, 0.4, 12))), 2), 2)

    found = [surely_behind(there, 2, confidence) for confidence in (0.5, 0.8, 0.9, 0.99)]

    assert all(more >= fewer for more, fewer in pairwise(found))
    assert len(found[0]) > len(found[-1]) > 0


def test_a_survivor_without_bits_cuts_nobody() -> None:
    assert surely_behind(whole(bits({0: 0.5, 1: 0.1}), 1), 7, 0.9) == set()
