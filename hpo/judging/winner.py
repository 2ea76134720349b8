"""What the lead of the best cell is worth: the luck of the chosen one, and what would settle it.

Cells are compared on the sums of squares of `hpo.judging.statistics`. Luck comes from a parametric
bootstrap: the study is repeated with cells as far apart as they may be in truth, and the noise that
images and seeds give their means.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpo.judging.comparisons import tail
from hpo.judging.statistics import Comparable, Floats, Layout, Parts, quantile

AT_ONCE = 1000  #: repetitions held in memory together
MOST = 1000  #: replicates that are looked at
N_SPREADS = 400  #: standard deviations of the truth that are looked at
POWER = 0.8  #: how surely a difference shall be found


@dataclass(frozen=True)
class Separation:
    """What it takes until a cell that is so far behind is told from the best with 80 %."""

    difference: float
    n_more: int | None  #: replicates to add; None if no number of them is enough
    images_alone: float  #: the difference that is found with any number of replicates


def luck(layout: Layout, cells: Sequence[int], *, rng: np.random.Generator, n_draws: int) -> float:
    """Return how far the mean of the best of ``cells`` is above its truth, on average.

    Measured means lie further apart than the truth does. How far that is, nobody knows: each
    repetition draws it from what the means leave possible, and draws them towards their average.
    What all cells have in common moves no choice and is left out, so luck is never negative.

    References: R. J. Tibshirani and R. Tibshirani, "A bias correction for the minimum error rate
    in cross-validation" (2009), Annals of Applied Statistics 3, for the luck, E[maximum - truth of
    the cell that has it]; D. B. Rubin, "Estimation in Parallel Randomized Experiments" (1981),
    Journal of Educational Statistics 6, for the truth behind noisy means.
    """
    wanted = np.asarray(cells)
    if len(wanted) == 1:
        return 0.0
    means = layout.means[wanted]
    apart = means - means.mean()
    noise = covariance(layout, wanted)
    kept, weights = shares_of_truth(apart, float(np.trace(noise)), float(noise.sum()))
    values, vectors = np.linalg.eigh(noise - _common(noise))
    root = (vectors * np.sqrt(np.maximum(values, 0))).astype(np.float32)  # (cells, cells)
    gain = 0.0
    for start in range(0, n_draws, AT_ONCE):
        n = min(AT_ONCE, n_draws - start)
        truth = np.sqrt(rng.choice(kept, (n, 1), p=weights)) * apart  # (n, cells)
        drawn = rng.standard_normal((n, len(wanted)), dtype=np.float32) @ root.T
        chosen = (truth + drawn).argmax(axis=1)
        gain += float(drawn[np.arange(n), chosen].sum())
    return max(0.0, gain / n_draws)


def _common(noise: Floats) -> Floats:
    """Return the part of a covariance that is left out when the average of all is subtracted."""
    by_cell = noise.mean(axis=0)
    return np.asarray(by_cell + by_cell[:, np.newaxis] - by_cell.mean())


def shares_of_truth(apart: Floats, own: float, common: float) -> tuple[Floats, Floats]:
    """Return which shares of the variance of means may be true, and how probable each is.

    Every standard deviation of the truth, up to five times what was measured, is taken to be
    equally probable beforehand (A. Gelman, "Prior distributions for variance parameters in
    hierarchical models" (2006), Bayesian Analysis 1).

    Args:
        apart: Distances of the means from their average, shape (cells,).
        own: The sum of their variances.
        common: The sum of all their covariances, variances among them.
    """
    k = len(apart)
    of_noise = (own - common / k) / (k - 1)  # of differences, halved
    if of_noise <= 0:
        return np.ones(1), np.ones(1)
    squares = float((apart**2).sum())
    longest = 5 * np.sqrt(max(of_noise, squares / (k - 1)))
    of_truth = np.linspace(0, longest, N_SPREADS) ** 2
    both = of_truth + of_noise
    likelihood = -(k - 1) / 2 * np.log(both) - squares / 2 / both
    weights = np.exp(likelihood - likelihood.max())
    return of_truth / both, weights / weights.sum()


def covariance(layout: Layout, cells: NDArray[np.intp]) -> Floats:
    """Return the covariance of the means of ``cells``, shape (cells, cells).

    Seeds are taken to differ by no less than the images they happen to get right.
    """
    chosen = np.ix_(cells, cells)
    n = layout.n_replicates * layout.n_images
    _, of_images, left = (max(1, freedom) for freedom in layout.freedoms)
    images, residual = layout.images[chosen] / of_images, layout.residual[chosen] / left
    ratio, _ = layout.seeds_to_residual if layout.n_replicates > 1 else (1.0, 0.0)
    return np.asarray(images + max(ratio - 1, 0) * residual) / n**2


def separation(layout: Comparable, cells: Sequence[int], difference: float) -> Separation:
    """Return how many more replicates would show that a cell is so far behind.

    It is shown when the cell leaves the `contenders`, and that with a probability of 80 %. Variances
    are averaged over the differences of the other ``cells`` from the best; one replicate does not
    tell them apart. The seeds' is taken to be no smaller than the residual's: luck with few seeds is
    no reason to promise more.
    """
    others = np.array([cell for cell in cells if cell != layout.best], np.intp)
    if layout.n_replicates < 2 or not len(others):
        raise ValueError(
            f"separation needs 2 replicates and another cell than the best, got {layout.n_replicates} "
            f"and {len(others)}"
        )
    parts = layout.of_differences(layout.best, others)
    freedom, of_images, left = parts.freedoms
    residual = float(parts.residual.mean())
    seeds = max(float(parts.seeds.mean()), residual)
    images = max(float(parts.images.mean()) - residual, 0.0)
    present = layout.n_replicates
    replicates = np.arange(present, present + MOST + 1)
    growth = (replicates - 1) / (present - 1)  # of the degrees of freedom
    later = Parts(
        seeds * present / replicates,
        images + residual * present / replicates,
        residual * present / replicates,
        (freedom * growth, of_images, left * growth),
    )
    errs = tail(len(layout.means))

    def found(freedom: Floats, variance: Floats) -> Floats:
        return np.asarray(
            (quantile(freedom, errs) + quantile(freedom, 1 - POWER)) * np.sqrt(variance)
        )

    enough = found(later.freedom(), later.variance()) <= difference
    n_more = int(enough.argmax()) if enough.any() else None
    alone = float(found(np.array(of_images), np.array(images)))
    return Separation(difference, n_more, alone)
