"""The triangular schedule against hand-made sequences and the notebook's own formula."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import InvalidConfig
from model.schedule import Cyclic, Static, triangular


def notebook_rate(eta_min: float, eta_max: float, stepsize: int, t: int) -> float:
    """The notebook's ``cyclicLearningRate``, in its words."""
    l = t // (2 * stepsize)  # noqa: E741
    if 2 * l * stepsize <= t <= (2 * l + 1) * stepsize:
        return eta_min + (t - 2 * l * stepsize) / stepsize * (eta_max - eta_min)
    return eta_max - (t - (2 * l + 1) * stepsize) / stepsize * (eta_max - eta_min)


def test_a_cycle_climbs_and_falls_in_a_straight_line_and_starts_again() -> None:
    rates = [triangular(t, eta_min=1.0, eta_max=9.0, n_s=4) for t in range(18)]

    assert rates == [1, 3, 5, 7, 9, 7, 5, 3, 1, 3, 5, 7, 9, 7, 5, 3, 1, 3]


def test_a_cycle_of_two_updates_alternates_between_lowest_and_highest() -> None:
    schedule = Cyclic(eta_min=0.25, eta_max=1.0, n_s=1)

    assert [schedule.rate(t) for t in range(5)] == [0.25, 1.0, 0.25, 1.0, 0.25]


@pytest.mark.parametrize(
    "n_s",
    [
        500,  # the first cycle and the final training
        800,  # the three cycles
        900,  # the coarse and the fine search
    ],
)
def test_two_cycles_equal_the_notebooks_formula_to_the_last_bit(n_s: int) -> None:
    schedule = Cyclic(eta_min=1e-5, eta_max=1e-1, n_s=n_s)

    rates = [schedule.rate(t) for t in range(4 * n_s + 1)]

    assert rates == [notebook_rate(1e-5, 1e-1, n_s, t) for t in range(4 * n_s + 1)]
    assert max(rates) == rates[n_s] == 1e-1
    assert min(rates) == rates[0] == rates[2 * n_s] == 1e-5


@given(n_s=st.integers(10, 3000), cycle=st.integers(0, 5))
def test_a_cycle_of_ten_updates_up_or_more_has_exactly_20_log_points(n_s: int, cycle: int) -> None:
    schedule = Cyclic(n_s=n_s)
    first = 2 * n_s * cycle

    points = [u for u in range(first + 1, first + 2 * n_s + 1) if schedule.is_log_point(u)]

    assert len(points) == 20
    assert points[9] == first + n_s  # the middle of the cycle
    assert points[19] == first + 2 * n_s  # its end
    assert max(np.diff([first, *points])) <= -(-n_s // 10)  # evenly spread


@given(n_s=st.integers(1, 9), n_done=st.integers(1, 1000))
def test_every_update_of_a_shorter_cycle_is_a_log_point(n_s: int, n_done: int) -> None:
    assert Cyclic(n_s=n_s).is_log_point(n_done)


@given(tenth=st.integers(1, 400), n_done=st.integers(1, 10_000))
def test_log_points_follow_the_notebooks_rule_where_ten_divides_n_s(
    tenth: int, n_done: int
) -> None:
    n_s = 10 * tenth

    assert Cyclic(n_s=n_s).is_log_point(n_done) == (n_done % (n_s / 10) == 0)


def test_log_points_of_a_half_cycle_of_15_updates_are_rounded_up_to_whole_updates() -> None:
    schedule = Cyclic(n_s=15)  # every 1.5 updates

    assert [u for u in range(1, 31) if schedule.is_log_point(u)] == [
        *(2, 3, 5, 6, 8, 9, 11, 12, 14, 15),
        *(17, 18, 20, 21, 23, 24, 26, 27, 29, 30),
    ]


@given(n_s=st.integers(1, 2000), cycle=st.integers(1, 6))
def test_every_cycle_end_is_a_log_point(n_s: int, cycle: int) -> None:
    schedule = Cyclic(n_s=n_s)

    assert schedule.cycle_end(2 * n_s * cycle) == cycle
    assert schedule.is_log_point(2 * n_s * cycle)


def test_cycles_end_after_2_n_s_updates_and_nowhere_else() -> None:
    schedule = Cyclic(n_s=3)

    ends = [schedule.cycle_end(n_done) for n_done in range(14)]

    assert ends == [None] * 6 + [1] + [None] * 5 + [2, None]


def test_a_static_rate_never_changes_and_logs_once_a_period() -> None:
    schedule = Static(eta=0.01, period=4)

    assert {schedule.rate(t) for t in range(20)} == {schedule.eta_max} == {0.01}
    assert [u for u in range(1, 13) if schedule.is_log_point(u)] == [4, 8, 12]
    assert [schedule.cycle_end(u) for u in range(9)] == [None] * 4 + [1, None, None, None, 2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_s": 0}, r"n_s must be at least 1 update, got 0\."),  # no update at all
        ({"n_s": -5}, r"n_s must be at least 1 update, got -5\."),  # backwards
        ({"eta_min": -1e-5, "n_s": 5}, "got eta_min=-1e-05, eta_max=0.1"),  # uphill
        ({"eta_min": 0.2, "eta_max": 0.1, "n_s": 5}, "0 <= eta_min <= eta_max"),  # exchanged
        ({"eta_min": 0.0, "eta_max": 0.0, "n_s": 5}, "eta_max above 0"),  # never moves
        ({"eta_max": float("inf"), "n_s": 5}, "eta_max=inf"),  # no number
        ({"eta_max": float("nan"), "n_s": 5}, "eta_max=nan"),  # no number either
    ],
)
def test_an_impossible_cycle_is_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidConfig, match=message):
        Cyclic(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"eta": 0.0, "period": 5}, r"eta must be above 0, got 0\.0"),  # never moves
        ({"eta": float("inf"), "period": 5}, "eta must be above 0, got inf"),  # no number
        ({"eta": float("nan"), "period": 5}, "eta must be above 0, got nan"),  # no number either
        ({"period": 0}, r"period must be at least 1 update, got 0\."),  # logs without updates
    ],
)
def test_an_impossible_static_rate_is_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidConfig, match=message):
        Static(**settings)
