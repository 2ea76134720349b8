"""How sure a comparison of cells is, from which validation images each network got right.

Replicate r of every cell has the same seed, and all networks are judged by the same images, so
cells are compared image by image and seed by seed. Right answers, and differences of them, are
taken as a two-way layout of images and seeds, both drawn at random, whose interaction is the
residual. With R seeds and n images the variance of a mean is

    V = (MS_seeds + MS_images - MS_residual) / (R n),

where images count for nothing if their part is below the residual's. Few seeds say little about
their own variance, so for differences the ratio MS_seeds / MS_residual is pooled over all cells.
Degrees of freedom are Satterthwaite's, and t quantiles make the 95 % intervals. With one replicate
nothing is known of the seeds, and the intervals cover the images only. `docs/statistics.md` has
the reasons, a simulation and the sources.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
LEAST = 0.02  #: MS_seeds / MS_residual: two seeds that agree by chance are not certainty
FEW = 4096  #: quantiles that are computed one by one; of more most are interpolated
Floats = NDArray[np.float64]
Cells = NDArray[np.intp] | int


@dataclass(frozen=True)
class Interval:
    """An estimate and where the truth lies with 95 % confidence."""

    value: float
    low: float
    high: float
    standard_error: float
    #: Whether it holds for other seeds as well as for other images; one replicate cannot tell.
    covers_seeds: bool


@dataclass(frozen=True)
class Parts:
    """What seeds, images and their interaction contribute to the variance of some means.

    Each is a mean square divided by R n, shape (means,), and has its degrees of freedom.
    """

    seeds: Floats
    images: Floats
    residual: Floats
    freedoms: tuple[float | Floats, float, float | Floats]

    def variance(self) -> Floats:
        """Return the variance of each mean, shape (means,)."""
        return np.asarray(self.seeds + np.maximum(self.images - self.residual, 0))

    def freedom(self) -> Floats:
        """Return the degrees of freedom of `variance`, shape (means,).

        Reference: F. E. Satterthwaite, "An Approximate Distribution of Estimates of Variance
        Components" (1946), Biometrics Bulletin 2.
        """
        parts = (self.seeds, self.images, self.residual)
        spread = sum(
            (part**2 / freedom for part, freedom in zip(parts, self.freedoms, strict=True)),
            start=np.zeros_like(self.images),
        )
        without = np.full_like(self.images, self.freedoms[1])
        found = np.divide(self.variance() ** 2, spread, out=without, where=spread > 0)
        return np.maximum(found, self.freedoms[0])

    def spread(self) -> tuple[float, float]:
        """Return t quantile and standard error of one mean, where nothing is pooled.

        By how much seeds differ beyond what the images explain, few seeds hardly tell. So that part
        has the quantile of their own few degrees of freedom, and the rest that of the images.
        """
        excess = max(float(self.seeds[0] - self.residual[0]), 0.0)
        rest = float(max(self.images[0], self.residual[0]))
        of_seeds, of_images = (float(quantile(np.asarray(f))) for f in self.freedoms[:2])
        variance = excess + rest
        if not variance:
            return of_images, 0.0
        half = np.sqrt(of_seeds**2 * excess + of_images**2 * rest)
        return float(half / np.sqrt(variance)), float(np.sqrt(variance))


@dataclass(frozen=True)
class Layout:
    """Sums of squares and products of cells over images and seeds, each times R n.

    So scaled they are whole numbers and exact: no order of images or seeds changes them.
    """

    n_replicates: int
    n_images: int
    means: Floats  #: of each cell, shape (cells,)
    seeds: Floats  #: between replicates, shape (cells, cells)
    images: Floats  #: between images, shape (cells, cells)
    residual: Floats  #: what is left, shape (cells, cells)

    @property
    def best(self) -> int:
        """The cell with the highest mean; of equal ones the first."""
        return int(np.argmax(self.means))

    @property
    def freedoms(self) -> tuple[int, int, int]:
        """Degrees of freedom of the mean squares: of seeds, images and residual."""
        n_seeds, n_images = self.n_replicates - 1, self.n_images - 1
        return n_seeds, n_images, n_seeds * n_images

    @cached_property
    def seeds_to_residual(self) -> tuple[float, float]:
        """MS_seeds / MS_residual of differences between cells, over all, and its freedom.

        It is 1 where seeds differ by no more than the images they happen to get right. The degrees
        of freedom of k - 1 differences that are correlated are fewer than (k - 1) (R - 1).

        Reference: G. E. P. Box, "Some Theorems on Quadratic Forms Applied in the Study of Analysis
        of Variance Problems II" (1954), Annals of Mathematical Statistics 25.
        """
        apart = _centred(self.residual)
        trace = float(np.trace(apart))
        if trace <= 0:
            return 1.0, float(self.freedoms[0])
        ratio = float(np.trace(_centred(self.seeds))) * self.freedoms[1] / trace
        return max(ratio, LEAST), self.freedoms[0] * trace**2 / float((apart**2).sum())

    def of_cells(self, cells: Cells) -> Parts:
        """Return the parts of the variance of single means."""
        sums = (self.seeds, self.images, self.residual)
        return self._parts(*(np.atleast_1d(part[cells, cells]) for part in sums))

    def of_differences(self, first: Cells, second: Cells) -> Parts:
        """Return the parts of the variance of differences; that of the seeds is pooled."""

        def contrast(sums: Floats) -> Floats:
            own = sums[first, first] + sums[second, second]
            return np.atleast_1d(own - 2 * sums[first, second])

        parts = self._parts(contrast(self.seeds), contrast(self.images), contrast(self.residual))
        if self.n_replicates == 1:
            return parts
        ratio, freedom = self.seeds_to_residual
        return Parts(
            ratio * parts.residual, parts.images, parts.residual, (freedom, *parts.freedoms[1:])
        )

    def _parts(self, seeds: Floats, images: Floats, residual: Floats) -> Parts:
        n = self.n_replicates * self.n_images
        # With one replicate the sums of seeds and residual are 0, whatever they are divided by.
        of_seeds, of_images, left = (max(1, freedom) for freedom in self.freedoms)
        return Parts(
            seeds / of_seeds / n**2,
            images / of_images / n**2,
            residual / left / n**2,
            (of_seeds, of_images, left),
        )


class Comparable(Protocol):
    """Cells that can be compared with one of them: a `Layout`, or `hpo.judging.many`."""

    @property
    def n_replicates(self) -> int:
        """Seeds of each cell."""

    @property
    def n_images(self) -> int:
        """Images that all were shown."""

    @property
    def means(self) -> Floats:
        """Of each cell."""

    @property
    def best(self) -> int:
        """The cell with the highest mean."""

    def of_differences(self, first: int, second: NDArray[np.intp]) -> Parts:
        """Return the parts of the variance of differences of one cell from others."""


def layout_of(hits: NDArray[np.bool_]) -> Layout:
    """Return the sums of squares of ``hits``, shape (cells, replicates, images).

    Reference: H. Scheffé, "The Analysis of Variance" (1959), section 7.4, two-way random model.
    """
    n_cells, n_replicates, n_images = hits.shape
    if n_cells < 1 or n_replicates < 1 or n_images < 2:
        raise ValueError(f"hits must be of 1 cell, 1 replicate, 2 images or more, got {hits.shape}")
    products = np.zeros((n_cells, n_cells))
    by_image = np.zeros((n_cells, n_images))
    for replicate in range(n_replicates):
        right = hits[:, replicate].astype(np.float64)
        products += right @ right.T
        by_image += right
    by_seed = np.count_nonzero(hits, axis=2).astype(np.float64)  # (cells, replicates)
    total = by_seed.sum(axis=1)
    n = n_replicates * n_images
    common = np.outer(total, total)
    images = n_images * (by_image @ by_image.T) - common
    seeds = n_replicates * (by_seed @ by_seed.T) - common
    residual = n * products - common - images - seeds
    return Layout(n_replicates, n_images, total / n, seeds, images, residual)


def mean_accuracy(hits: NDArray[np.bool_], luck: float = 0.0) -> Interval:
    """Return the mean accuracy of one cell, for other images and other seeds of the same kind.

    Args:
        hits: Which images each replicate got right, shape (replicates, images).
        luck: By how much the mean is too high, on average, because the cell was chosen for it; how
            much it was this time is known to about half of that.

    The interval is Wilson's for as many independent images as would have the same standard error
    (Korn and Graubard 1998), so it stays within 0 and 1, and has a width if every answer is right.

    >>> found = mean_accuracy(np.arange(5000)[np.newaxis] % 2 == 0)
    >>> round(found.value, 4), round(found.low, 4), round(found.high, 4), found.covers_seeds
    (0.5, 0.4861, 0.5139, False)
    """
    layout = layout_of(hits[np.newaxis])
    measured = float(layout.means[0])
    share = max(0.0, measured - luck)
    t, error = layout.of_cells(0).spread()
    n = measured * (1 - measured) / error**2 if error else float(layout.n_images)
    variance = share * (1 - share) / n + (luck / 2) ** 2
    n = share * (1 - share) / variance if share * (1 - share) else n  # else none, or all, are right
    middle = (share + t**2 / (2 * n)) / (1 + t**2 / n)
    half = t / (1 + t**2 / n) * float(np.sqrt(share * (1 - share) / n + t**2 / (4 * n**2)))
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    several = layout.n_replicates > 1
    return Interval(share, low, high, float(np.sqrt(variance)), several)


def difference(layout: Layout, first: int, second: int) -> Interval:
    """Return how much higher the accuracy of ``first`` is than that of ``second``.

    The interval is for a pair that was chosen before its results were seen. The seeds' variance
    is pooled over the cells of ``layout``; one of two cells alone assumes nothing of others.
    """
    parts = layout.of_differences(first, second)
    error, freedom = float(np.sqrt(parts.variance()[0])), parts.freedom()
    value, half = (
        float(layout.means[first] - layout.means[second]),
        float(quantile(freedom)[0]) * error,
    )
    several = layout.n_replicates > 1
    return Interval(value, value - half, value + half, error, several)


def _centred(matrix: Floats) -> Floats:
    """Return a matrix of sums of products without what all cells have in common."""
    by_cell = matrix.mean(axis=0)
    return np.asarray(matrix - by_cell - by_cell[:, np.newaxis] + by_cell.mean())


def quantile(freedom: Floats, tail: float = (1 - CONFIDENCE) / 2) -> Floats:
    """Return what Student's t exceeds with probability ``tail``."""
    from scipy.special import stdtrit

    freedom = np.asarray(freedom)
    if freedom.size <= FEW:
        return np.asarray(stdtrit(freedom, 1 - tail))
    inverse = np.linspace(0, 1 / float(freedom.min()), FEW)[1:]
    return np.interp(1 / freedom, inverse, stdtrit(1 / inverse, 1 - tail))
