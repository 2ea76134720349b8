"""Chances of being the best, the luck of the chosen one, and what more replicates would bring."""

import numpy as np
import pytest
from numpy.typing import NDArray

from hpo.judging import chances as winner
from hpo.judging import statistics
from hpo.judging.statistics import Layout, layout_of

Hits = NDArray[np.bool_]


def search(
    shares: list[float], n_replicates: int = 3, n_images: int = 500, seed: int = 0
) -> Layout:
    """Return networks that are right independently of each other with such probabilities."""
    rng = np.random.default_rng(seed)
    return layout_of(rng.random((len(shares), n_replicates, n_images)) < np.c_[shares][..., None])


def chances(layout: Layout, cells: list[int], seed: int = 0) -> winner.Chances:
    return winner.chances(layout, cells, rng=np.random.default_rng(seed), n_draws=4000)


@pytest.mark.parametrize("n_replicates", [1, 2, 5])
def test_chances_add_to_one_and_follow_the_means(n_replicates: int) -> None:
    layout = search([0.70, 0.62, 0.68, 0.40], n_replicates)

    found = chances(layout, [0, 1, 2, 3])

    assert found.of_cells.sum() == pytest.approx(1)
    by_mean = found.of_cells[np.argsort(-layout.means)]
    assert by_mean.tolist() == sorted(by_mean, reverse=True)
    assert (by_mean[0] > 0.5, by_mean[3]) == (True, 0)
    assert 0 < found.optimism < 0.03


def test_a_cell_without_rivals_is_the_best_and_not_lucky() -> None:
    found = chances(search([0.7, 0.3]), [0])

    assert (found.of_cells.tolist(), found.optimism) == ([1.0], 0.0)


@pytest.mark.parametrize("share", [0.5, 1.0])  # the second without any noise
def test_copies_of_one_cell_share_the_chance_and_are_no_luck(share: float) -> None:
    hits = np.random.default_rng(0).random((1, 3, 100)) < share

    found = chances(layout_of(np.repeat(hits, 3, axis=0)), [0, 1, 2])

    assert found.of_cells == pytest.approx([1 / 3] * 3, abs=0.03)
    assert found.optimism == pytest.approx(0, abs=2e-3)


def test_a_copy_of_the_best_halves_its_chance() -> None:
    rng = np.random.default_rng(0)
    hits = rng.random((3, 2, 500)) < np.reshape([0.75, 0.65, 0.74], (3, 1, 1))
    best = layout_of(hits).best

    alone = chances(layout_of(hits), [0, 1, 2]).of_cells
    doubled = chances(layout_of(np.concatenate((hits, hits[[best]]))), [0, 1, 2, 3]).of_cells

    assert doubled[best] == pytest.approx(doubled[3], abs=0.03)
    assert doubled[best] + doubled[3] == pytest.approx(alone[best], abs=0.1)


def test_chances_are_a_function_of_results_and_generator() -> None:
    layout = search([0.6, 0.6, 0.6])
    first, again, other = (chances(layout, [0, 1, 2], seed) for seed in (1, 1, 2))

    assert first.of_cells.tolist() == again.of_cells.tolist()
    assert first.optimism == again.optimism
    assert first.of_cells.tolist() != other.of_cells.tolist()


def test_cells_in_another_order_have_the_same_chances() -> None:
    layout = search([0.6, 0.62, 0.61])

    there, back = chances(layout, [0, 1, 2]).of_cells, chances(layout, [2, 1, 0]).of_cells

    assert there == pytest.approx(back[::-1], abs=0.04)


def test_the_corrected_accuracy_of_a_winner_is_hardly_optimistic() -> None:
    shares = [0.6] * 8
    optimism, left = [], []
    for seed in range(200):
        layout = search(shares, seed=seed)
        gain = float(layout.means[layout.best]) - 0.6
        optimism.append(gain)
        left.append(gain - chances(layout, list(range(8)), seed).optimism)

    assert np.mean(optimism) > 0.014  # 1.42 standard errors of 1.26 points, on average
    assert abs(np.mean(left)) < 0.25 * np.mean(optimism)


def test_chances_mean_what_they_say() -> None:
    rng = np.random.default_rng(7)
    promised, kept = [], []
    for seed in range(300):
        shares = 0.6 + 0.02 * rng.standard_normal(6)
        layout = search(shares.tolist(), seed=seed)
        promised.append(chances(layout, list(range(6)), seed).of_cells[layout.best])
        kept.append(layout.best == shares.argmax())

    assert np.mean(promised) == pytest.approx(np.mean(kept), abs=0.08)


def test_replicates_that_are_added_bring_what_was_announced() -> None:
    def half_width(n_replicates: int) -> float:
        layout = search([0.6] * 4, n_replicates, 2000, seed=1)
        found = statistics.difference(layout, 0, 1)
        return (found.high - found.low) / 2

    announced = winner.separation(search([0.6] * 4, 4, 2000), range(4), 0.01).n_more

    assert announced == pytest.approx(6, abs=2)  # (2 x 1.55 points)^2 / R = 1 point^2
    assert half_width(4 + announced) == pytest.approx(0.01, rel=0.25)
    assert half_width(4) > 0.012


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
    assert 0.05 < found.images_alone < 0.07  # 1.96 sqrt(0.5 / 500), a little less


@pytest.mark.parametrize(
    ("n_replicates", "cells", "got"), [(1, [0, 1], "1 and 1"), (3, [0], "3 and 0")]
)
def test_one_replicate_or_one_cell_cannot_say(
    n_replicates: int, cells: list[int], got: str
) -> None:
    with pytest.raises(ValueError, match=f"another cell than the best, got {got}"):
        winner.separation(search([0.9, 0.5], n_replicates), cells, 0.01)
