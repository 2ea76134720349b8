"""The state of a search is stored with it, and what says nothing is left out."""

import json

from hypothesis import given
from hypothesis import strategies as st

from hpo.experiment.search_state import SearchState

COUNTS = st.lists(st.integers(0), max_size=4).map(tuple)


@given(
    st.builds(
        SearchState,
        is_full=st.booleans(),
        is_over=st.booleans(),
        finalists=COUNTS,
        replicates=st.integers(0),
        warm=st.lists(
            st.tuples(
                st.dictionaries(st.text(), st.text() | st.integers() | st.floats(0, 9), max_size=3),
                st.floats(0, 1),
            ),
            max_size=3,
        ).map(tuple),
        sizes=COUNTS,
        budgets=COUNTS,
        later=COUNTS,
        minutes=st.floats(0, 1e6),
        raced=st.lists(st.tuples(COUNTS, st.integers(0)), max_size=2).map(tuple),
    )
)
def test_the_state_of_a_search_comes_back_from_json(state: SearchState) -> None:
    assert SearchState.from_json(json.loads(json.dumps(state.to_json()))) == state


def test_what_a_search_of_before_did_not_have_is_left_out() -> None:
    assert SearchState().to_json() == {
        "is_full": False,
        "is_over": False,
        "finalists": [],
        "replicates": 0,
        "warm": [],
    }


def test_a_cell_keeps_the_replicates_of_the_race_that_gave_it_most() -> None:
    state = SearchState(finalists=(1, 2), replicates=3, raced=(((0, 1), 5), ((2,), 2)))

    assert [state.replicates_of(cell) for cell in range(4)] == [5, 5, 3, 0]
