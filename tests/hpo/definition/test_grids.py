"""Grids over lambda: their values, their ends, and the parent that two of them need."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.definition.grids import (
    AroundBest,
    Best,
    Grid,
    Linear,
    Logarithmic,
    ParentCell,
    Values,
    grid_from_json,
    grid_to_json,
)
from hpo.errors import InvalidDefinition

PARENT_LAMBDAS = (1e-3, 1e-2, 1e-1)


def lambdas(grid: Grid) -> tuple[float, ...]:
    return grid.lambdas(None, (), lambda _: None)


def around(
    best: int, n: int, parent_lambdas: tuple[float, ...] = PARENT_LAMBDAS
) -> tuple[tuple[float, ...], list[str]]:
    """Return the grid around a cell of a parent, and what the user is told."""
    notices: list[str] = []
    parent = ParentCell("coarse", "uuid", best, parent_lambdas[best])
    return AroundBest(n).lambdas(parent, parent_lambdas, notices.append), notices


@pytest.mark.parametrize(
    "make",
    [
        lambda: Values(()),
        lambda: Logarithmic(-5, -1, 0),
        lambda: Linear(0, 1, 0),
        lambda: AroundBest(0),
        lambda: Linear(0, 1, -3),
    ],
)
def test_a_grid_without_cells_is_refused(make: type[Grid]) -> None:
    with pytest.raises(InvalidDefinition, match="A grid needs at least one"):
        make()


def test_a_grid_may_be_given_as_a_list() -> None:
    assert Values([1, 2]) == Values((1.0, 2.0))  # type: ignore[arg-type]


@given(st.floats(-9, 0), st.floats(-9, 0), st.integers(1, 30))
def test_a_logarithmic_grid_is_numpys_logspace(low: float, high: float, n: int) -> None:
    expected = np.logspace(low, high, n)

    np.testing.assert_allclose(lambdas(Logarithmic(low, high, n)), expected, rtol=1e-12)


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 30))
def test_a_linear_grid_is_numpys_linspace_to_the_bit(low: float, high: float, n: int) -> None:
    found = lambdas(Linear(low, high, n))

    np.testing.assert_allclose(found, np.linspace(low, high, n), rtol=1e-12, atol=1e-300)
    assert found[0] == low
    assert found[-1] == (high if n > 1 else low)


def test_powers_too_large_for_a_number_are_refused() -> None:
    with pytest.raises(InvalidDefinition):
        lambdas(Logarithmic(-5, 400, 3))


def test_between_the_neighbours_of_the_best_cell() -> None:
    found, notices = around(1, 10)

    assert found == pytest.approx(np.linspace(1e-3, 1e-1, 10), rel=1e-12)
    assert notices == []


@pytest.mark.parametrize(
    ("best", "ends", "edge"),
    [
        (0, (1e-3, 1e-2), "smallest"),  # the notebook would wrap around to the largest
        (2, (1e-2, 1e-1), "largest"),  # and would end with an index error
    ],
)
def test_at_the_edge_of_the_parents_grid_the_interval_is_one_sided_and_says_so(
    best: int, ends: tuple[float, float], edge: str
) -> None:
    found, (notice,) = around(best, 4)

    assert (found[0], found[-1]) == ends
    assert notice == (
        f"The best cell of coarse is the {edge} of its grid, so the search goes one-sided from "
        f"{ends[0]:g} to {ends[1]:g}; a wider grid there may be worth a look."
    )


def test_neighbours_are_those_in_value_and_not_in_place() -> None:
    found, notices = around(0, 3, (1e-2, 1e-1, 1e-3))

    assert (found[0], found[-1]) == (1e-3, 1e-1)
    assert notices == []


def test_a_parent_with_one_cell_has_no_neighbours() -> None:
    with pytest.raises(InvalidDefinition, match=r"'coarse' has a single cell.*--from"):
        around(0, 3, (1e-3,))


def test_the_best_cell_alone() -> None:
    parent = ParentCell("fine", "uuid", 1, 0.0047)

    assert Best().lambdas(parent, (), lambda _: None) == (0.0047,)


@pytest.mark.parametrize("grid", [Best(), AroundBest(2)])
def test_a_derived_grid_needs_its_parent(grid: Grid) -> None:
    with pytest.raises(InvalidDefinition, match="there is no"):
        lambdas(grid)


@pytest.mark.parametrize(
    ("grid", "stored"),
    [
        (Values((0.1, 0.2)), {"kind": "values", "values": [0.1, 0.2]}),
        (
            Logarithmic(-5, -1, 8),
            {"kind": "logarithmic", "lowest_exponent": -5, "highest_exponent": -1, "n": 8},
        ),
        (Linear(0, 1, 3), {"kind": "linear", "lowest": 0, "highest": 1, "n": 3}),
        (AroundBest(10), {"kind": "around-best", "n": 10}),
        (Best(), {"kind": "best"}),
    ],
)
def test_a_grid_is_stored_with_its_kind(grid: Grid, stored: dict[str, object]) -> None:
    assert grid_to_json(grid) == stored
    assert grid_from_json(stored) == grid
    assert stored["kind"]  # reading takes nothing out of what was read
