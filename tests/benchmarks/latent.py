"""Simulated right answers of a search: networks whose true accuracies are known.

A network of cell c and seed r gets image i right if a normal number is above a threshold:

    mu_c + u_ci + v_cri + a_r + b_cr > 0

u is how hard an image is for a cell, v what a training makes of it, a how lucky a seed is for all
cells, b for one. u and v are correlated between cells as they are on CIFAR-10: `fit` finds how from
bits of several seeds, and `real_bits.py` keeps what it found.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Population:
    """Cells with their true accuracies; a network can also stand for two, after each cycle."""

    accuracies: Floats  #: over all images and seeds, shape (cells,)
    same_seed: Floats  #: correlation of the normal numbers of two cells, shape (cells, cells)
    other_seed: Floats  #: the same of networks with different seeds

    @cached_property
    def of_images(self) -> NDArray[np.float32]:
        """Root of the covariance of u."""
        return _root(self.other_seed)

    @cached_property
    def of_trainings(self) -> NDArray[np.float32]:
        """Root of the covariance of v."""
        return _root(self.same_seed - self.other_seed)


@dataclass(frozen=True)
class Search:
    """Searches of a population, as many as are drawn."""

    population: Population
    n_replicates: int
    #: Standard deviation of a seed's luck in accuracy, with all cells.
    common: float = 0.0
    #: The same with one cell, shape (cells,) or ().
    own: Floats | float = 0.0
    n_images: int = 5000

    @property
    def accuracies(self) -> Floats:
        """The truth, shape (cells,)."""
        return self.population.accuracies

    def hits(self, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Return right answers, shape (cells, replicates, images)."""
        from scipy.special import ndtri

        k = len(self.accuracies)
        quantiles = ndtri(self.accuracies)
        density = np.exp(-(quantiles**2) / 2) / np.sqrt(2 * np.pi)
        common, own = self.common / density, np.broadcast_to(self.own, (k,)) / density
        mu = quantiles * np.sqrt(1 + common**2 + own**2)
        size = (k, self.n_images)
        hardness = self.population.of_images @ rng.standard_normal(size, dtype=np.float32)
        found = np.empty((k, self.n_replicates, self.n_images), np.bool_)
        for replicate in range(self.n_replicates):
            luck = mu + common * rng.standard_normal() + own * rng.standard_normal(k)
            training = self.population.of_trainings @ rng.standard_normal(size, dtype=np.float32)
            found[:, replicate] = hardness + training > -luck.astype(np.float32)[:, np.newaxis]
        return found


def alike(accuracies: Floats, same_seed: float, other_seed: float) -> Population:
    """Return cells of which any two are as correlated as any other two."""
    k = len(accuracies)
    same = np.full((k, k), same_seed)
    np.fill_diagonal(same, 1)
    return Population(accuracies, same, np.full((k, k), other_seed))


def fit(hits: NDArray[np.bool_]) -> Population:
    """Return accuracies and tetrachoric correlations of bits (cells, replicates, images)."""
    k, n_replicates, n_images = hits.shape
    right = hits.reshape(k * n_replicates, n_images).astype(np.float32)
    both = (right @ right.T).reshape(k, n_replicates, k, n_replicates) / n_images
    accuracies = hits.mean(axis=(1, 2))
    same, other = np.eye(k), np.eye(k)
    for a in range(k):
        for b in range(k):
            joint = both[a, :, b]  # (replicates, replicates)
            own = float(np.trace(joint))
            if a != b:
                same[a, b] = _correlation(accuracies[a], accuracies[b], own / n_replicates)
            n_pairs = n_replicates * (n_replicates - 1)
            other[a, b] = _correlation(
                accuracies[a], accuracies[b], (float(joint.sum()) - own) / n_pairs
            )
    return Population(accuracies, same, other)


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


def _root(covariance: Floats) -> NDArray[np.float32]:
    """Return a matrix whose product with its transpose is the covariance, rounded up to one."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0))).astype(np.float32)
