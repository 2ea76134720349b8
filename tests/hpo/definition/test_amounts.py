"""A budget in updates, epochs or minutes: one of them, of a search, and a number that means something."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hpo.definition.amounts import Amount, asked
from hpo.errors import InvalidDefinition
from tests.hpo.small_search import GRID, JOINT


def test_a_budget_is_taken_as_it_is_given() -> None:
    assert asked(JOINT) is None
    assert asked(JOINT, updates=5000) is None
    assert asked(JOINT, epochs=np.int64(3)) == Amount(3, "epochs")
    assert asked(JOINT, minutes=0.5) == Amount(0.5, "minutes")
    assert [Amount(1, "minutes").in_words(), Amount(2.5, "epochs").in_words()] == [
        "1 minute",
        "2.5 epochs",
    ]


@pytest.mark.parametrize("value", [0, -1, 10**18, "many", "7", float("nan"), True, [1]])
@pytest.mark.parametrize("way", ["updates", "epochs", "minutes"])
def test_a_mistake_is_told_in_the_same_words_whatever_the_unit(way: str, value: Any) -> None:
    with pytest.raises(InvalidDefinition, match=rf"^A budget in {way} must be a .*; got .*\.$"):
        asked(JOINT, **{way: value})


def test_a_study_has_one_budget() -> None:
    with pytest.raises(
        InvalidDefinition, match=r"^A study has one budget; give one of .* got 2\.$"
    ):
        asked(JOINT, epochs=3, minutes=2)


@pytest.mark.parametrize("way", ["updates", "epochs", "minutes"])
def test_a_grid_has_no_budget(way: str) -> None:
    with pytest.raises(InvalidDefinition, match="A budget is for a study that searches a space"):
        asked(replace(GRID), **{way: 3})
