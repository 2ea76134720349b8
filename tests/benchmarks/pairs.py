"""Whether intervals of differences between two cells keep what they promise, ours and others."""

from collections import defaultdict
from collections.abc import Callable

import numpy as np
from latent import Search
from numpy.typing import NDArray

from hpo.judging import statistics
from hpo.judging.statistics import Layout

FIRST, SECOND = np.triu_indices(8, 1)
N_BOOTSTRAPS = 500  #: resamples of a bootstrap interval
Half = tuple[NDArray[np.float64], NDArray[np.float64]]  #: differences, half widths; shape (pairs,)


def ours(layout: Layout) -> Half:
    """The interval of `statistics.difference`, for all pairs at once."""
    parts = layout.of_differences(FIRST, SECOND)
    half = statistics.quantile(parts.freedom()) * np.sqrt(parts.variance())
    return layout.means[FIRST] - layout.means[SECOND], half


def alone(layout: Layout) -> Half:
    """The same from two cells, the others unseen."""

    def contrast(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        own = sums[FIRST, FIRST] + sums[SECOND, SECOND]
        return np.asarray(own - 2 * sums[FIRST, SECOND])

    seeds, images, residual = layout.freedoms
    n = layout.n_replicates * layout.n_images
    left = contrast(layout.residual) / residual / n**2
    parts = statistics.Parts(
        np.maximum(contrast(layout.seeds) / seeds / n**2, statistics.LEAST * left),
        contrast(layout.images) / images / n**2,
        left,
        (seeds, images, residual),
    )
    half = statistics.quantile(parts.freedom()) * np.sqrt(parts.variance())
    return layout.means[FIRST] - layout.means[SECOND], half


def images_only(layout: Layout) -> Half:
    """The means over seeds compared as if there were no others."""
    n = layout.n_replicates * layout.n_images
    sums = layout.images
    of_images = sums[FIRST, FIRST] + sums[SECOND, SECOND] - 2 * sums[FIRST, SECOND]
    variance = of_images / (layout.n_images - 1) / n**2
    return layout.means[FIRST] - layout.means[SECOND], 1.96 * np.sqrt(variance)


METHODS: dict[str, Callable[[Layout], Half]] = {
    "ours": ours,
    "two cells alone": alone,
    "images only": images_only,
}


def rows(search: Search, n: int, seed: int) -> dict[str, str]:
    """Return a row by method: coverage of all pairs and of each, width."""
    truth = search.accuracies[FIRST] - search.accuracies[SECOND]
    rng = np.random.default_rng(seed)
    covered, width = defaultdict(list), defaultdict(list)
    for _ in range(n):
        layout = statistics.layout_of(search.hits(rng))
        for name, method in METHODS.items():
            difference, half = method(layout)
            covered[name].append(np.abs(difference - truth) <= half)
            width[name].append(half[0])
    return {name: _row(covered[name], width[name]) for name in METHODS}


def bootstrap(search: Search, n: int, seed: int) -> str:
    """Return a row: coverage of the percentiles of a two-way bootstrap, for neighbouring cells."""
    rng = np.random.default_rng(seed)
    n_replicates, n_images = search.n_replicates, search.n_images
    seeds = rng.multinomial(n_replicates, np.full(n_replicates, 1 / n_replicates), N_BOOTSTRAPS)
    images = rng.multinomial(n_images, np.full(n_images, 1 / n_images), N_BOOTSTRAPS)
    truth = -np.diff(search.accuracies)
    covered, width = [], []
    for _ in range(n):
        hits = search.hits(rng).astype(np.float32)
        differences = hits[:-1] - hits[1:]  # (pairs, replicates, images)
        by_seed = differences @ (images.T / n_images).astype(np.float32)
        means = np.einsum("prb,br->pb", by_seed, seeds / n_replicates)
        low, high = np.quantile(means, (0.025, 0.975), axis=1)
        covered.append((low <= truth) & (truth <= high))
        width.append((high - low)[0] / 2)
    return _row(covered, width)


def _row(covered: list[NDArray[np.bool_]], width: list[float]) -> str:
    by_pair = np.mean(covered, axis=0)
    return (
        f"{by_pair.mean():.1%} | {by_pair.min():.1%} to {by_pair.max():.1%} | "
        f"{100 * np.median(width):.2f}"
    )
