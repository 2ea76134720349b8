"""Simulated right answers of a search: networks whose true accuracies are known.

A network of cell c and seed r gets image i right if a normal number is above a threshold:

    mu_c + u_ci + v_cri + a_r + b_cr > 0

u is how hard an image is for a cell, v what a training makes of it, a how lucky a seed is for all
cells, b for one. u and v are correlated between cells as they are on CIFAR-10: `fit` finds how from
the stored bits of a study with several replicates.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# The coarse search on CIFAR-10 with 5 seeds and 5,000 validation images: means of its cells, and
# correlations of the normal numbers behind right answers, of networks with the same seed and with
# another one (`fit`). Seeds themselves differed by 0.1 points at most beyond that.
ACCURACIES = np.array((0.5098, 0.5102, 0.5121, 0.5102, 0.5130, 0.5100, 0.4706, 0.3841))
SAME_SEED = np.array(
    (
        (1.000, 0.948, 0.948, 0.945, 0.939, 0.901, 0.801, 0.630),
        (0.948, 1.000, 0.952, 0.952, 0.946, 0.907, 0.800, 0.631),
        (0.948, 0.952, 1.000, 0.949, 0.948, 0.911, 0.813, 0.630),
        (0.945, 0.952, 0.949, 1.000, 0.950, 0.916, 0.820, 0.638),
        (0.939, 0.946, 0.948, 0.950, 1.000, 0.937, 0.841, 0.658),
        (0.901, 0.907, 0.911, 0.916, 0.937, 1.000, 0.911, 0.727),
        (0.801, 0.800, 0.813, 0.820, 0.841, 0.911, 1.000, 0.863),
        (0.630, 0.631, 0.630, 0.638, 0.658, 0.727, 0.863, 1.000),
    )
)
OTHER_SEED = np.array(
    (
        (0.821, 0.822, 0.824, 0.826, 0.836, 0.848, 0.793, 0.625),
        (0.822, 0.824, 0.827, 0.829, 0.838, 0.849, 0.794, 0.627),
        (0.824, 0.827, 0.833, 0.832, 0.841, 0.856, 0.802, 0.626),
        (0.826, 0.829, 0.832, 0.834, 0.844, 0.860, 0.809, 0.636),
        (0.836, 0.838, 0.841, 0.844, 0.855, 0.875, 0.827, 0.650),
        (0.848, 0.849, 0.856, 0.860, 0.875, 0.914, 0.894, 0.720),
        (0.793, 0.794, 0.802, 0.809, 0.827, 0.894, 0.974, 0.858),
        (0.625, 0.627, 0.626, 0.636, 0.650, 0.720, 0.858, 0.989),
    )
)


@dataclass(frozen=True)
class Search:
    """A search whose truth is known."""

    accuracies: NDArray[np.float64]  #: over all images and seeds, shape (cells,)
    n_replicates: int
    #: Standard deviation of a seed's luck in accuracy, with all cells.
    common: float = 0.0
    #: The same with one cell, shape (cells,) or ().
    own: NDArray[np.float64] | float = 0.0
    n_images: int = 5000

    def hits(self, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Return right answers, shape (cells, replicates, images)."""
        from scipy.special import ndtri

        k = len(self.accuracies)
        quantiles = ndtri(self.accuracies)
        density = np.exp(-(quantiles**2) / 2) / np.sqrt(2 * np.pi)
        common, own = self.common / density, np.broadcast_to(self.own, (k,)) / density
        mu = quantiles * np.sqrt(1 + common**2 + own**2)
        size = (k, self.n_images)
        hardness = OF_IMAGES @ rng.standard_normal(size, dtype=np.float32)
        found = np.empty((k, self.n_replicates, self.n_images), np.bool_)
        for replicate in range(self.n_replicates):
            luck = mu + common * rng.standard_normal() + own * rng.standard_normal(k)
            training = OF_TRAININGS @ rng.standard_normal(size, dtype=np.float32)
            found[:, replicate] = hardness + training > -luck.astype(np.float32)[:, np.newaxis]
        return found


def fit(
    hits: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return accuracies and tetrachoric correlations as above, from bits of several replicates."""
    k, n_replicates, n_images = hits.shape
    right = hits.astype(np.float64)
    accuracies = right.mean(axis=(1, 2))
    same, other = np.eye(k), np.eye(k)
    for a in range(k):
        for b in range(k):
            both = right[a] @ right[b].T / n_images  # (replicates, replicates)
            own = float(np.trace(both))
            if a != b:
                same[a, b] = _correlation(accuracies[a], accuracies[b], own / n_replicates)
            n_pairs = n_replicates * (n_replicates - 1)
            joint = (float(both.sum()) - own) / n_pairs
            other[a, b] = _correlation(accuracies[a], accuracies[b], joint)
    return accuracies, same, other


def _correlation(first: float, second: float, joint: float) -> float:
    """Return which correlation of two normal numbers makes both fall below their quantiles."""
    from scipy.special import ndtri

    h, k = float(ndtri(first)), float(ndtri(second))
    nodes, weights = np.polynomial.legendre.leggauss(60)
    low, high = -0.999, 0.999
    for _ in range(50):
        middle = (low + high) / 2
        angles = np.arcsin(middle) * (nodes + 1) / 2
        heights = np.exp(-(h * h - 2 * h * k * np.sin(angles) + k * k) / (2 * np.cos(angles) ** 2))
        excess = np.arcsin(middle) / 2 * float(weights @ heights) / (2 * np.pi)
        low, high = (middle, high) if first * second + excess < joint else (low, middle)
    return (low + high) / 2


def _root(covariance: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return a matrix whose product with its transpose is the covariance, rounded up to one."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0))).astype(np.float32)


OF_IMAGES, OF_TRAININGS = _root(OTHER_SEED), _root(SAME_SEED - OTHER_SEED)
