"""The luck of the chosen one, and what more replicates would bring."""

import numpy as np
import pytest
from numpy.typing import NDArray

from hpo.judging import comparisons, winner
from hpo.judging.statistics import Layout, layout_of

Hits = NDArray[np.bool_]


def search(
    shares: list[float], n_replicates: int = 3, n_images: int = 500, seed: int = 0
) -> Layout:
    """Return networks that are right independently of each other with such probabilities."""
    rng = np.random.default_rng(seed)
    return layout_of(rng.random((len(shares), n_replicates, n_images)) < np.c_[shares][..., None])


def luck(layout: Layout, cells: list[int], seed: int = 0) -> float:
    return winner.luck(layout, cells, rng=np.random.default_rng(seed), n_draws=4000)


def test_a_cell_without_rivals_is_not_lucky() -> None:
    assert luck(search([0.7, 0.3]), [0]) == 0.0


@pytest.mark.parametrize("share", [0.5, 1.0])  # the second without any noise
def test_copies_of_one_cell_are_no_luck(share: float) -> None:
    hits = np.random.default_rng(0).random((1, 3, 100)) < share

    found = luck(layout_of(np.repeat(hits, 3, axis=0)), [0, 1, 2])

    assert found == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_the_chosen_one_is_never_unlucky(seed: int) -> None:
    ahead = search([0.9, 0.5, 0.5], seed=seed, n_images=50)  # nearly always the same is chosen

    assert 0 <= luck(ahead, [0, 1, 2], seed) < 0.01


def test_luck_is_a_function_of_results_and_generator() -> None:
    layout = search([0.6, 0.6, 0.6])
    first, again, other = (luck(layout, [0, 1, 2], seed) for seed in (1, 1, 2))

    assert first == again
    assert first != other


def test_cells_in_another_order_are_as_lucky() -> None:
    layout = search([0.6, 0.62, 0.61])

    assert luck(layout, [0, 1, 2]) == pytest.approx(luck(layout, [2, 1, 0]), rel=0.05)


def test_the_corrected_accuracy_of_a_winner_is_hardly_optimistic() -> None:
    shares = [0.6] * 8
    optimism, left = [], []
    for seed in range(200):
        layout = search(shares, seed=seed)
        gain = float(layout.means[layout.best]) - 0.6
        optimism.append(gain)
        left.append(gain - luck(layout, list(range(8)), seed))

    assert np.mean(optimism) > 0.014  # 1.42 standard errors of 1.26 points, on average
    assert abs(np.mean(left)) < 0.25 * np.mean(optimism)


def test_replicates_that_are_added_bring_what_was_announced() -> None:
    """A cell that is one point behind leaves the list in 80 % of all searches."""
    shares = [0.6, 0.59, 0.6, 0.6]
    announced = winner.separation(search([0.6] * 4, 4, 2000), range(4), 0.01).n_more
    assert announced == pytest.approx(17, abs=6)  # (1.55 points)^2 (2.13 + 0.84)^2 / R = 1 point^2

    told = [
        1 not in comparisons.contenders(search(shares, 4 + announced, 2000, seed))
        for seed in range(60)
    ]

    assert np.mean(told) > 0.7


def test_what_is_seen_already_needs_no_more() -> None:
    assert winner.separation(search([0.6, 0.6], 5), [0, 1], 0.2).n_more == 0


def test_a_smaller_difference_needs_more_replicates() -> None:
    layout = search([0.6, 0.6, 0.6])

    needed = [winner.separation(layout, [0, 1, 2], d).n_more for d in (0.04, 0.02, 0.01)]

    assert all(n is not None for n in needed)
    assert needed == sorted(needed)
    assert len(set(needed)) == 3


def test_images_that_cells_differ_on_are_not_helped_by_replicates() -> None:
    rng = np.random.default_rng(0)
    hits = np.repeat(rng.random((2, 1, 500)) < 0.5, 3, axis=1)  # every seed says the same
    hits ^= rng.random(hits.shape) < 0.02

    found = winner.separation(layout_of(hits), [0, 1], 0.01)

    assert found.n_more is None
    assert 0.06 < found.images_alone < 0.08  # (1.64 + 0.84) sqrt(0.5 / 500), a little less


@pytest.mark.parametrize(
    ("n_replicates", "cells", "got"), [(1, [0, 1], "1 and 1"), (3, [0], "3 and 0")]
)
def test_one_replicate_or_one_cell_cannot_say(
    n_replicates: int, cells: list[int], got: str
) -> None:
    with pytest.raises(ValueError, match=f"another cell than the best, got {got}"):
        winner.separation(search([0.9, 0.5], n_replicates), cells, 0.01)
