"""Intervals and comparisons from right answers: against sums done by hand, other programs, and chance."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import stats

from hpo.judging import comparisons, statistics
from hpo.judging.statistics import LEAST, Interval, layout_of, mean_accuracy

Hits = NDArray[np.bool_]

hits_of_cells = st.tuples(st.integers(2, 5), st.integers(1, 4), st.integers(2, 12)).flatmap(
    lambda shape: arrays(np.bool_, shape)
)


def close(found: Interval, expected: Interval) -> bool:
    """Tell whether two intervals are the same but for the last bits."""
    return vars(found) == pytest.approx(vars(expected), rel=1e-9, abs=1e-12)


def mean_squares(table: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the mean squares of seeds, images and the rest, entry by entry; shape (R, n)."""
    n_seeds, n_images = table.shape
    everything = table.mean()
    seeds = images = residual = 0.0
    for r in range(n_seeds):
        for i in range(n_images):
            of_seed, of_image = table[r].mean() - everything, table[:, i].mean() - everything
            seeds += of_seed**2
            images += of_image**2
            residual += (table[r, i] - everything - of_seed - of_image) ** 2
    n_rest = (n_seeds - 1) * (n_images - 1)
    return seeds / (n_seeds - 1), images / (n_images - 1), residual / n_rest


def random_hits(*shape: int, seed: int = 0, shares: float = 0.6) -> Hits:
    return np.random.default_rng(seed).random(shape) < shares


def test_a_pair_alone_has_the_variance_of_a_two_way_layout() -> None:
    hits = random_hits(2, 4, 30)
    seeds, images, residual = mean_squares(hits[0].astype(float) - hits[1])
    n = 4 * 30
    seeds = max(seeds, LEAST * residual)
    variance = (seeds + max(images - residual, 0)) / n
    freedom = (seeds + max(images - residual, 0)) ** 2 / (
        seeds**2 / 3 + images**2 / 29 + residual**2 / 87
    )

    found = statistics.difference(layout_of(hits), 0, 1)

    assert found.value == pytest.approx(hits[0].mean() - hits[1].mean())
    assert found.standard_error == pytest.approx(variance**0.5)
    t = float(stats.t.ppf(0.975, max(freedom, 3)))
    assert found.high - found.value == pytest.approx(t * variance**0.5)
    half = stats.t.ppf(0.975, max(freedom, 3)) * variance**0.5
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half))
    assert found.covers_seeds


def test_several_cells_share_what_is_known_of_the_seeds() -> None:
    hits = random_hits(4, 3, 40)
    pairs = [(a, b) for a in range(4) for b in range(a)]
    parts = np.array([mean_squares(hits[a].astype(float) - hits[b]) for a, b in pairs])
    ratio = parts[:, 0].sum() / parts[:, 2].sum()
    residual = parts[pairs.index((2, 0)), 2]
    images = parts[pairs.index((2, 0)), 1]

    found = statistics.difference(layout_of(hits), 2, 0)

    variance = (ratio * residual + max(images - residual, 0)) / (3 * 40)
    assert found.standard_error == pytest.approx(variance**0.5)


def test_one_replicate_is_a_paired_t_test_over_the_images() -> None:
    hits = random_hits(3, 1, 200)

    found = statistics.difference(layout_of(hits), 0, 2)

    expected = stats.ttest_rel(hits[0, 0].astype(float), hits[2, 0].astype(float))
    low, high = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert not found.covers_seeds


@pytest.mark.parametrize(("n_right", "low", "high"), [(0, 0.0, 0.0371), (50, 0.4032, 0.5968)])
def test_the_interval_of_one_network_is_wilsons(n_right: int, low: float, high: float) -> None:
    found = mean_accuracy(np.arange(100)[np.newaxis] < n_right)

    expected = stats.binomtest(n_right, 100).proportion_ci(0.95, method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.002)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-3)


def test_networks_that_are_always_right_leave_some_doubt() -> None:
    found = mean_accuracy(np.ones((3, 300), np.bool_))

    assert (found.value, found.high) == (1.0, 1.0)
    assert 0.98 < found.low < 0.99


@pytest.mark.parametrize("shape", [(0, 1, 9), (1, 0, 9), (1, 1, 1)])
def test_without_cells_replicates_or_images_there_is_nothing_to_say(
    shape: tuple[int, int, int],
) -> None:
    with pytest.raises(ValueError, match="1 cell, 1 replicate, 2 images or more, got"):
        layout_of(np.ones(shape, np.bool_))


@given(hits_of_cells, st.randoms(use_true_random=False))
def test_the_order_of_images_and_replicates_changes_not_a_bit(hits: Hits, random: object) -> None:
    rng = np.random.default_rng(random.getrandbits(32))  # type: ignore[attr-defined]
    shuffled = hits[:, rng.permutation(hits.shape[1])][:, :, rng.permutation(hits.shape[2])]

    before, after = layout_of(hits), layout_of(shuffled)

    close = comparisons.contenders(before)
    assert close == comparisons.contenders(after)
    assert comparisons.behind_best(before, close) == comparisons.behind_best(after, close)
    assert mean_accuracy(hits[0]) == mean_accuracy(shuffled[0])


@given(hits_of_cells, st.randoms(use_true_random=False))
def test_cells_in_another_order_have_the_same_intervals(hits: Hits, random: object) -> None:
    order = np.random.default_rng(random.getrandbits(32)).permutation(len(hits))  # type: ignore[attr-defined]
    before, after = layout_of(hits), layout_of(hits[order])

    for place, cell in enumerate(order):
        found = statistics.difference(after, place, 0)
        assert close(found, statistics.difference(before, int(cell), int(order[0])))


@given(hits_of_cells)
def test_a_difference_turned_round_is_its_negative(hits: Hits) -> None:
    there = statistics.difference(layout_of(hits), 0, 1)
    back = statistics.difference(layout_of(hits), 1, 0)
    wrong = statistics.difference(layout_of(~hits), 1, 0)

    assert (back.value, back.low, back.high) == (-there.value, -there.high, -there.low)
    assert close(wrong, there)


@given(hits_of_cells)
def test_a_cell_is_not_behind_itself_or_its_copy(hits: Hits) -> None:
    layout = layout_of(np.concatenate((hits, hits[:1])))

    for other in (0, len(hits)):
        found = statistics.difference(layout, 0, other)
        assert (found.value, found.low, found.high, found.standard_error) == (0, 0, 0, 0)


@given(hits_of_cells)
def test_the_best_and_its_copies_are_contenders(hits: Hits) -> None:
    best = layout_of(hits).best
    layout = layout_of(np.concatenate((hits, hits[best : best + 1])))

    found = comparisons.contenders(layout)

    assert layout.best == best  # the first of equals
    assert {best, len(hits)} <= set(found)
    assert found == sorted(found)


@given(hits_of_cells)
def test_an_accuracy_lies_in_its_interval_and_that_between_0_and_1(hits: Hits) -> None:
    found, opposite = mean_accuracy(hits[0]), mean_accuracy(~hits[0])

    assert 0 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1
    assert found.value == pytest.approx(hits[0].mean())
    assert (opposite.low, opposite.high) == pytest.approx((1 - found.high, 1 - found.low))


@given(hits_of_cells, st.integers(1, 3))
def test_images_seen_twice_make_nothing_less_sure(hits: Hits, times: int) -> None:
    assume(hits.shape[1] == 1)
    once = statistics.difference(layout_of(hits), 0, 1)
    more = statistics.difference(layout_of(np.tile(hits, times)), 0, 1)

    assert more.value == pytest.approx(once.value)
    assert more.standard_error <= once.standard_error + 1e-12


def nearly_alike(n_wrong: list[int], n_images: int = 1000) -> Hits:
    """Return one replicate of cells that are wrong on so many images, each on others."""
    hits = np.ones((len(n_wrong), 1, n_images), np.bool_)
    start = 0
    for cell, n in enumerate(n_wrong):
        hits[cell, 0, start : start + n] = False
        start += n
    return hits


@pytest.mark.parametrize(
    ("n_wrong", "lambdas", "chosen"),
    [
        ([10, 12, 100], [1e-4, 1e-3, 1e-2], 1),  # 2 of 1,000 behind, the error is 4.7
        ([12, 10, 100], [1e-4, 1e-3, 1e-2], 1),  # the best one is the largest that is near
        ([10, 12, 100], [1e-3, 1e-4, 1e-2], 0),  # the near one is smaller
        ([10, 10, 10], [1e-3, 1e-2, 1e-4], 1),  # all equal: the largest
        ([10], [0.0], 0),
    ],
)
def test_the_parsimonious_cell_has_the_largest_lambda_within_a_standard_error(
    n_wrong: list[int], lambdas: list[float], chosen: int
) -> None:
    assert comparisons.parsimonious(layout_of(nearly_alike(n_wrong)), lambdas) == chosen


def test_many_cells_have_the_bounds_that_they_have_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layout = layout_of(np.random.default_rng(0).random((30, 3, 200)) < 0.5)
    cells = range(30)
    one_by_one = comparisons.behind_best(layout, cells)

    monkeypatch.setattr(comparisons, "AT_ONCE", 100)  # pairs
    monkeypatch.setattr(
        statistics, "FEW", 200
    )  # exact quantiles; 1/30 of a point is 1e-3 of a bound
    together = comparisons.behind_best(layout, cells)

    assert [found.most for found in together] == pytest.approx(
        [found.most for found in one_by_one], rel=1e-3
    )


def test_a_cell_that_is_clearly_behind_is_no_contender() -> None:
    assert comparisons.contenders(layout_of(nearly_alike([10, 12, 100]))) == [0, 1]


def searches(n: int, n_replicates: int, luck: float) -> list[tuple[Hits, NDArray[np.float64]]]:
    """Return hits of searches of 4 cells and their true accuracies; a seed has luck of its own."""
    rng = np.random.default_rng(20)
    mu = np.array((0.0, 0.05, 0.1, 0.12))
    deviations = np.array((1.0, 0.3, 0.45))  # of images, of a cell's images, of a training
    truth = stats.norm.cdf(mu / np.sqrt((deviations**2).sum() + luck**2))
    found = []
    for _ in range(n):
        images = rng.standard_normal(800) + 0.3 * rng.standard_normal((4, 1, 800))
        trainings = 0.45 * rng.standard_normal((4, n_replicates, 800))
        seeds = luck * rng.standard_normal((4, n_replicates, 1))
        found.append((mu[:, np.newaxis, np.newaxis] + images + trainings + seeds > 0, truth))
    return found


def images_only(hits: Hits) -> Interval:
    """The interval that takes the means over seeds for single networks."""
    apart = hits[0].mean(axis=0) - hits[3].mean(axis=0)
    error = float(apart.std(ddof=1)) / len(apart) ** 0.5
    value = float(apart.mean())
    return Interval(value, value - 1.96 * error, value + 1.96 * error, error, False)


def with_seeds(hits: Hits) -> Interval:
    return statistics.difference(layout_of(hits), 0, 3)


@pytest.mark.parametrize(
    ("interval", "n_replicates", "luck", "least", "most"),
    [
        (with_seeds, 1, 0.0, 0.92, 0.98),
        (with_seeds, 3, 0.0, 0.92, 0.98),
        (with_seeds, 3, 0.1, 0.92, 0.98),
        (with_seeds, 10, 0.1, 0.92, 0.98),
        (images_only, 3, 0.0, 0.92, 0.98),  # the control is right where seeds have no luck
        (images_only, 3, 0.1, 0.0, 0.85),  # and fails where they have
        (with_seeds, 1, 0.1, 0.0, 0.75),  # as one replicate does, which says so
    ],
)
def test_intervals_cover_the_truth_in_95_percent_of_600_searches(
    interval: Callable[[Hits], Interval],
    n_replicates: int,
    luck: float,
    least: float,
    most: float,
) -> None:
    covered = []
    for hits, truth in searches(600, n_replicates, luck):
        found = interval(hits)
        covered.append(found.low <= truth[0] - truth[3] <= found.high)

    assert least <= np.mean(covered) <= most


@pytest.mark.parametrize(("n_replicates", "luck"), [(1, 0.0), (3, 0.05), (3, 0.1), (10, 0.1)])
def test_the_truly_best_is_a_contender_and_its_accuracy_covered(
    n_replicates: int, luck: float
) -> None:
    inside, covered, alone = [], [], []
    for hits, truth in searches(400, n_replicates, luck):
        found = comparisons.contenders(layout_of(hits))
        inside.append(3 in found)
        alone.append(len(found) == 1)
        accuracy = mean_accuracy(hits[3])
        covered.append(accuracy.low <= truth[3] <= accuracy.high)

    assert np.mean(inside) >= 0.95
    assert np.mean(alone) < 0.5  # the second is close
    assert 0.92 <= np.mean(covered) <= 0.98
