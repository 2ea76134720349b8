"""A Gaussian process over recipes and cycles: what a recipe comes to, and how sure that is.

What is seen of a recipe with so many cycles to go is a level of those cycles, plus a smooth function
of the recipe whose correlation falls with the cycles between, plus luck of the training. Lengths,
noise and correlation are drawn, weighed by their likelihood and sharpened around the likeliest: no
optimizer whose path could hang on a last digit, and what they leave open stays in the answer.

Reference: C. E. Rasmussen, C. K. I. Williams, "Gaussian Processes for Machine Learning" (2006), 2.2,
2.7 and 5.4; K. Swersky, J. Snoek, R. P. Adams, "Freeze-Thaw Bayesian Optimization" (2014).
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Whole = NDArray[np.int64]

DRAWN, SHARPENED = 96, 32  #: settings from the prior; and in each of three rounds around the best
KEPT = 6  #: settings that an answer is an average of
ENOUGH = 128  #: values that are enough to weigh settings by
CONSTANT, LEVEL = 25.0, 1.0  #: prior variances of what all share, and of a cycle, in signals
LUCK = 0.5  #: correlation of the luck of a training from one cycle to the next
LENGTH = (np.log(0.8), 0.7)  #: prior of a logarithm: mean and deviation
NOISE = (np.log(0.2), 0.8)  #: of the noise's deviation as a share of the signal's
BETWEEN = (np.log(0.15), 0.7)  #: of what a cycle between two takes from the correlation
SIGNAL = 2.0  #: observations that the prior of the signal's variance, 1, counts as


@dataclass(frozen=True)
class Seen:
    """What is known: a row for each value of a recipe."""

    x: Array  #: places of the recipes, (n, dimensions)
    togo: Whole  #: cycles to go, (n,)
    training: Whole  #: which training had it, (n,)
    y: Array  #: values, (n,)

    def only(self, rows: Whole) -> "Seen":
        """Return some of the rows."""
        return Seen(self.x[rows], self.togo[rows], self.training[rows], self.y[rows])


def matern(a: Array, b: Array, lengths: Array) -> Array:
    """Return the Matern 5/2 correlations of places, (len(a), len(b))."""
    a, b = a / lengths, b / lengths
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    r = np.sqrt(5 * np.maximum(squares, 0))
    return np.asarray((1 + r + r**2 / 3) * np.exp(-r))


@dataclass
class Process:
    """One setting of the process, conditioned on what was seen."""

    seen: Seen
    setting: Array  #: logarithms: lengths (dimensions), noise, what a cycle takes
    plausible: float = field(init=False)  #: logarithm of likelihood times prior

    def __post_init__(self) -> None:
        from scipy.linalg import solve_triangular

        seen, n = self.seen, len(self.seen.y)
        apart = np.abs(seen.togo[:, None] - seen.togo)
        same = seen.training[:, None] == seen.training
        noise = np.exp(2 * self.setting[-2])
        covariance = self._prior(seen.x, seen.togo) + noise * same * LUCK**apart
        covariance[np.diag_indices(n)] += 1e-8
        self._root = np.linalg.cholesky(covariance)
        self._white = solve_triangular(self._root, seen.y, lower=True)
        squares = SIGNAL + self._white @ self._white
        self._scale = squares / (SIGNAL + n)  # variance of the signal
        wide = (self.setting - _means(len(self.setting))) / _deviations(len(self.setting))
        self.plausible = float(
            -0.5 * (n + SIGNAL) * np.log(squares)
            - np.log(np.diag(self._root)).sum()
            - 0.5 * (wide**2).sum()
        )

    def _prior(self, x: Array, togo: Whole) -> Array:
        """Return the covariances of places with what was seen, without luck, (len(x), n)."""
        seen = self.seen
        lengths, between = np.exp(self.setting[:-2]), np.exp(self.setting[-1])
        apart = np.abs(togo[:, None] - seen.togo)
        smooth = matern(x, seen.x, lengths) * np.exp(-between * apart)
        return np.asarray(smooth + CONSTANT + LEVEL * (apart == 0))

    def at(self, x: Array) -> "Belief":
        """Return what recipes at places (m, dimensions) are expected to come to."""
        from scipy.linalg import solve_triangular

        half = solve_triangular(
            self._root, self._prior(x, np.zeros(len(x), np.int64)).T, lower=True
        )
        return Belief(self, x, half, half.T @ self._white)

    def among(self, a: Array, b: Array) -> Array:
        """Return the prior covariances of the ends of recipes, (len(a), len(b))."""
        return matern(a, b, np.exp(self.setting[:-2])) + CONSTANT + LEVEL

    @property
    def noise(self) -> float:
        """Variance of the luck of a training, in signals."""
        return float(np.exp(2 * self.setting[-2]))

    @property
    def scale(self) -> float:
        """Variance of the signal."""
        return float(self._scale)


@dataclass
class Belief:
    """What recipes are expected to come to, while some of them are believed to come to just that."""

    process: Process
    x: Array  #: places, (m, dimensions)
    half: Array  #: (seen, m)
    mean: Array  #: (m,); believing what is expected changes none
    taken: Array = field(init=False)  #: variance that is known, in signals, (m,)

    def __post_init__(self) -> None:
        self.taken = (self.half**2).sum(axis=0)

    @property
    def deviation(self) -> Array:
        """Standard deviation of what each comes to, without its luck, (m,)."""
        return np.sqrt(self._left * self.process.scale)

    @property
    def learnt(self) -> Array:
        """Standard deviation of what will be expected of each once it was trained, (m,)."""
        left = self._left
        return np.sqrt(left**2 / (left + self.process.noise) * self.process.scale)

    @property
    def _left(self) -> Array:
        return np.asarray(np.maximum(1 + CONSTANT + LEVEL - self.taken, 1e-9))

    def believe(self, place: int) -> None:
        """Take it that a recipe comes to what is expected of it."""
        own = self.half[:, place]
        with_all = self.process.among(self.x[place : place + 1], self.x)[0] - own @ self.half
        row = with_all / np.sqrt(with_all[place] + self.process.noise)
        self.half = np.vstack([self.half, row])
        self.taken = self.taken + row**2


def _means(n: int) -> Array:
    return np.array([LENGTH[0]] * (n - 2) + [NOISE[0], BETWEEN[0]])


def _deviations(n: int) -> Array:
    return np.array([LENGTH[1]] * (n - 2) + [NOISE[1], BETWEEN[1]])


def settings(seen: Seen, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return the likeliest settings, (k, parameters), and their weights."""
    if len(seen.y) > ENOUGH:  # some of all ranks
        ranks = np.linspace(0, len(seen.y) - 1, ENOUGH).astype(int)
        seen = seen.only(np.argsort(-seen.y, kind="stable")[ranks])
    n = seen.x.shape[1] + 2
    tried = _means(n) + _deviations(n) * np.vstack(
        [np.zeros(n), rng.standard_normal((DRAWN - 1, n))]
    )
    plausible = np.array([Process(seen, one).plausible for one in tried])
    for step in (0.4, 0.2, 0.1):
        best = tried[np.argsort(-plausible, kind="stable")[:4]]
        near = np.repeat(best, SHARPENED // 4, axis=0)
        near = near + step * _deviations(n) * rng.standard_normal(near.shape)
        tried = np.vstack([tried, near])
        plausible = np.append(plausible, [Process(seen, one).plausible for one in near])
    kept = np.argsort(-plausible, kind="stable")[:KEPT]
    weights = np.exp(plausible[kept] - plausible[kept[0]])
    return tried[kept], weights / weights.sum()
