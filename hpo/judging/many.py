"""Comparisons among thousands of cells, without a matrix of all their pairs.

What is compared with the best cell has the very numbers of `hpo.judging.statistics`. Two things are done
otherwise: luck is drawn from the right answers themselves and not from their covariance, and how far a
cell is behind at most is exact for the nearest ones only; of the others it is a bound that is never too
small, by the triangle inequality over the best cell.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hpo.judging import winner
from hpo.judging.comparisons import Behind, allowed_by, tail
from hpo.judging.statistics import LEAST, Floats, Layout, Parts, layout_of, quantile

MOST = 1000  #: cells that are compared by a matrix of all pairs
NEAREST = 10  #: cells of which it is known exactly how far they are behind
PART = 500  #: cells that are multiplied together


@dataclass(frozen=True)
class ManyCells:
    """Right answers of cells, and sums of squares of their differences from one of them."""

    hits: NDArray[np.bool_]  #: shape (cells, replicates, images)

    @property
    def n_replicates(self) -> int:
        """Seeds of each cell."""
        return int(self.hits.shape[1])

    @property
    def n_images(self) -> int:
        """Images that all were shown."""
        return int(self.hits.shape[2])

    @cached_property
    def means(self) -> Floats:
        """The mean accuracy of each cell, shape (cells,)."""
        total = np.count_nonzero(self.hits, axis=(1, 2))
        return np.asarray(total / float(self.n_replicates * self.n_images), np.float64)

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
        """As `Layout.seeds_to_residual`, from the interactions themselves."""
        left = self._interactions(range(len(self.hits)))
        left -= left.mean(axis=0)
        trace = float(np.einsum("ci,ci->", left, left, dtype=np.float64))
        if trace <= 0:
            return 1.0, float(self.freedoms[0])
        by_seed = np.count_nonzero(self.hits, axis=2).astype(np.float64)
        by_seed -= by_seed.mean(axis=1, keepdims=True)
        by_seed -= by_seed.mean(axis=0)
        of_seeds = float((by_seed**2).sum()) / self.n_images
        ratio = of_seeds * self.freedoms[1] / trace
        narrow = left.T if left.shape[1] > left.shape[0] else left
        squares = sum(
            float((np.dot(narrow.T[start : start + PART], narrow).astype(np.float64) ** 2).sum())
            for start in range(0, narrow.shape[1], PART)
        )
        return max(ratio, LEAST), self.freedoms[0] * trace**2 / squares

    def of_differences(self, first: int, second: NDArray[np.intp]) -> Parts:
        """As `Layout.of_differences`, of one cell with others."""
        ours = self.hits[first]
        parts = [self._squares(ours, self.hits[second[i : i + PART]]) for i in _starts(second)]
        seeds, images, residual = (np.concatenate(sums) for sums in zip(*parts, strict=True))
        n = self.n_replicates * self.n_images
        of_seeds, of_images, left = (max(1, freedom) for freedom in self.freedoms)
        images, residual = images / of_images / n**2, residual / left / n**2
        if self.n_replicates == 1:
            return Parts(seeds / of_seeds / n**2, images, residual, (of_seeds, of_images, left))
        ratio, freedom = self.seeds_to_residual
        return Parts(ratio * residual, images, residual, (freedom, of_images, left))

    def _squares(
        self, ours: NDArray[np.bool_], theirs: NDArray[np.bool_]
    ) -> tuple[Floats, Floats, Floats]:
        """Return sums of squares times R n: whole numbers, as in `statistics.layout_of`."""
        apart = theirs.astype(np.int16) - ours
        total = apart.sum(axis=(1, 2), dtype=np.int64)
        by_image = apart.sum(axis=1, dtype=np.int64)
        by_seed = apart.sum(axis=2, dtype=np.int64)
        images = self.n_images * (by_image**2).sum(axis=1) - total**2
        seeds = self.n_replicates * (by_seed**2).sum(axis=1) - total**2
        differ = np.count_nonzero(apart, axis=(1, 2))
        residual = self.n_replicates * self.n_images * differ - total**2 - images - seeds
        return seeds.astype(np.float64), images.astype(np.float64), residual.astype(np.float64)

    def by_image(self, cells: Sequence[int]) -> NDArray[np.float32]:
        """Return by how much more often than usual each image was right, shape (cells, images)."""
        right = self.hits[list(cells)].sum(axis=1, dtype=np.float32)
        return np.asarray(right - right.mean(axis=1, keepdims=True), np.float32)

    def _interactions(self, cells: Sequence[int]) -> NDArray[np.float32]:
        """Return what seeds and images alone do not explain, shape (cells, replicates x images)."""
        right = self.hits[list(cells)].astype(np.float32)
        left = right - right.mean(axis=1, keepdims=True) - right.mean(axis=2, keepdims=True)
        left += right.mean(axis=(1, 2), keepdims=True)
        return np.asarray(left.reshape(len(left), -1), np.float32)

    def drawn(self, cells: Sequence[int], rng: np.random.Generator, n: int) -> Floats:
        """Draw by how much luck moves the mean of each cell, shape (n, cells)."""
        _, of_images, left = (max(1, freedom) for freedom in self.freedoms)
        ratio = self.seeds_to_residual[0] if self.n_replicates > 1 else 1.0
        of_image = rng.standard_normal((n, self.n_images), dtype=np.float32)
        scale = 1 / np.sqrt(of_images * self.n_images) / self.n_replicates
        excess = max(ratio - 1, 0) / left / (self.n_replicates * self.n_images)
        of_both = None
        if excess:
            both = self.n_replicates * self.n_images
            of_both = rng.standard_normal((n, both), dtype=np.float32) * np.float32(np.sqrt(excess))
        found = np.empty((n, len(cells)), np.float32)
        for start in range(0, len(cells), PART):
            part = cells[start : start + PART]
            drawn = of_image @ self.by_image(part).T * np.float32(scale)
            if of_both is not None:
                drawn += of_both @ self._interactions(part).T
            found[:, start : start + PART] = drawn
        return np.asarray(found - found.mean(axis=1, keepdims=True))

    def variances(self, cells: Sequence[int]) -> tuple[float, float]:
        """Return the sum of the variances of means, and that of all their covariances."""
        _, of_images, left = (max(1, freedom) for freedom in self.freedoms)
        ratio = self.seeds_to_residual[0] if self.n_replicates > 1 else 1.0
        scale = 1 / of_images / self.n_images / self.n_replicates**2
        excess = max(ratio - 1, 0) / left / (self.n_replicates * self.n_images)
        own = common = 0.0
        for weight, rows in ((scale, self.by_image), (excess, self._interactions)):
            if weight:
                together = np.zeros(1)
                for start in range(0, len(cells), PART):
                    part = rows(cells[start : start + PART]).astype(np.float64)
                    own += weight * float((part**2).sum())
                    together = together + part.sum(axis=0)
                common += weight * float((together**2).sum())
        return own, common


def _starts(cells: NDArray[np.intp]) -> range:
    return range(0, max(1, len(cells)), PART)


def of_hits(hits: NDArray[np.bool_]) -> Layout | ManyCells:
    """Return what cells are compared by, shape (cells, replicates, images)."""
    return layout_of(hits) if len(hits) <= MOST else ManyCells(hits)


def luck(
    layout: ManyCells, cells: Sequence[int], *, rng: np.random.Generator, n_draws: int
) -> float:
    """As `hpo.judging.winner.luck`."""
    if len(cells) == 1:
        return 0.0
    means = layout.means[np.asarray(cells)]
    apart = means - means.mean()
    kept, weights = winner.shares_of_truth(apart, *layout.variances(cells))
    truth = np.sqrt(rng.choice(kept, (n_draws, 1), p=weights)) * apart
    drawn = layout.drawn(cells, rng, n_draws)
    chosen = (truth + drawn).argmax(axis=1)
    return max(0.0, float(drawn[np.arange(n_draws), chosen].sum(dtype=np.float64)) / n_draws)


def behind_best(layout: ManyCells, cells: Sequence[int]) -> list[Behind]:
    """As `hpo.judging.comparisons.behind_best`, with bounds for all but the `NEAREST`."""
    wanted = np.asarray(cells, np.intp)
    behind = layout.means[layout.best] - layout.means[wanted]
    errs, n = tail(len(layout.means)), layout.n_replicates * layout.n_images
    parts = layout.of_differences(layout.best, wanted)
    spread = np.sqrt(parts.seeds + np.maximum(parts.images, parts.residual))
    longest = spread.max() + spread
    least = parts.freedoms[0] if layout.n_replicates > 1 else parts.freedoms[1]
    t = float(quantile(np.asarray(least), errs))
    most = behind + t * np.sqrt(longest**2 + t**2 / 2 / n**2)
    for place in np.argsort(behind, kind="stable")[:NEAREST]:
        cell = int(wanted[place])
        ahead = layout.means[wanted] - layout.means[cell]
        allowed = allowed_by(layout, layout.of_differences(cell, wanted), errs)
        most[place] = (ahead + allowed).max()
    return [Behind(*pair) for pair in np.column_stack((behind, np.maximum(most, 0))).tolist()]
