"""Thousands of cells are compared as a few are: the same numbers with the best, and bounds that hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hpo.judging import comparisons, many, statistics, winner
from hpo.judging.many import ManyCells


def cells_of(
    seed: int, k: int, n_replicates: int, n_images: int = 120, spread: float = 0.03
) -> NDArray[np.bool_]:
    """Cells that share easy images and lucky seeds."""
    rng = np.random.default_rng(seed)
    easy = rng.normal(0, 1, n_images)
    better = rng.normal(0, spread, (k, 1, 1))
    lucky = rng.normal(0, 0.2, (1, n_replicates, 1)) + rng.normal(0, 0.1, (k, n_replicates, 1))
    noise = rng.normal(0, 1, (k, n_replicates, n_images))
    return np.asarray(easy + better + lucky + noise > 0)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), k=st.integers(2, 40), n_replicates=st.integers(1, 4))
def test_comparisons_with_the_best_have_the_very_numbers(
    seed: int, k: int, n_replicates: int
) -> None:
    hits = cells_of(seed, k, n_replicates)
    few, lots = statistics.layout_of(hits), ManyCells(hits)
    assert lots.best == few.best
    assert np.array_equal(lots.means, few.means)
    here, there = (one.of_differences(few.best, np.arange(k)) for one in (few, lots))
    assert np.array_equal(here.images, there.images)
    assert np.array_equal(here.residual, there.residual)
    assert here.seeds == pytest.approx(there.seeds, rel=1e-4)
    assert comparisons.contenders(lots) == comparisons.contenders(few)
    lambdas = list(np.geomspace(1e-5, 1e-1, k))
    assert comparisons.parsimonious(lots, lambdas) == comparisons.parsimonious(few, lambdas)
    close = comparisons.contenders(few)
    if n_replicates > 1 and len(close) > 1:
        found = [winner.separation(one, close, 0.005) for one in (few, lots)]
        assert found[0].images_alone == pytest.approx(found[1].images_alone)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), k=st.integers(2, 40), n_replicates=st.integers(1, 4))
def test_how_far_a_cell_is_behind_is_exact_for_the_nearest_and_never_too_small(
    seed: int, k: int, n_replicates: int
) -> None:
    hits = cells_of(seed, k, n_replicates)
    few, lots = statistics.layout_of(hits), ManyCells(hits)
    close = comparisons.contenders(few)
    exact, bounds = comparisons.behind_best(few, close), many.behind_best(lots, close)
    assert [one.value for one in bounds] == [one.value for one in exact]
    nearest = np.argsort([one.value for one in exact], kind="stable")[: many.NEAREST]
    for place, (bound, known) in enumerate(zip(bounds, exact, strict=True)):
        if place in nearest:
            assert bound.most == pytest.approx(known.most, rel=1e-3)
        assert bound.most >= known.most * (1 - 1e-3)


@pytest.mark.parametrize("n_replicates", [1, 3])
def test_luck_is_that_of_the_covariance(n_replicates: int) -> None:
    hits = cells_of(3, 60, n_replicates, n_images=400)
    few, lots = statistics.layout_of(hits), ManyCells(hits)
    close = comparisons.contenders(few)
    known = winner.luck(few, close, rng=np.random.default_rng(0), n_draws=20_000)
    found = many.luck(lots, close, rng=np.random.default_rng(1), n_draws=20_000)
    assert len(close) > 20
    assert found == pytest.approx(known, rel=0.05)


@pytest.mark.parametrize("n_replicates", [1, 3])
def test_seeds_are_pooled_as_in_a_matrix(n_replicates: int) -> None:
    for k, n_images in ((50, 30), (20, 200)):
        hits = cells_of(5, k, n_replicates, n_images)
        known = statistics.layout_of(hits).seeds_to_residual
        assert ManyCells(hits).seeds_to_residual == pytest.approx(known, rel=1e-3)


def test_a_matrix_is_for_some_hundreds_of_cells() -> None:
    assert isinstance(many.of_hits(cells_of(0, 10, 1)), statistics.Layout)
    assert isinstance(many.of_hits(cells_of(0, many.MOST + 1, 1, 20)), ManyCells)


def test_two_thousand_cells_take_no_matrix_of_their_pairs() -> None:
    import tracemalloc

    hits = cells_of(1, 2000, 2, 300, spread=0.0)
    tracemalloc.start()
    layout = many.of_hits(hits)
    assert isinstance(layout, ManyCells)
    close = comparisons.contenders(layout)
    many.luck(layout, close, rng=np.random.default_rng(0), n_draws=500)
    many.behind_best(layout, close)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(close) > 1000
    assert peak < 6 * 8 * 2000**2 / 4  # bytes; a quarter of the six matrices of before
