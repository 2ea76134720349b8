"""Which cells may be the best, and how far each is behind at most: comparisons with the best.

All of it rests on the k - 1 comparisons of the truly best cell with the others, on the sums of squares
of `hpo.judging.statistics`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpo.judging.statistics import CONFIDENCE, Cells, Comparable, Floats, Layout, Parts, quantile

AT_ONCE = 2**20  #: pairs of cells that are compared together


@dataclass(frozen=True)
class Behind:
    """How far a cell is behind the best, as shares of images."""

    value: float  #: behind the cell with the highest mean, as measured
    #: Behind the truly best cell at most, with at least 95 % for all cells of a study at once.
    most: float


def contenders(layout: Comparable) -> list[int]:
    """Return the cells that cannot be told from the best, which is one of them.

    The truly best cell is among them with a probability of 95 % or more: it is missing only if
    the observed best is ahead of it by more than chance allows in any of its k - 1 comparisons.

    Reference: J. C. Hsu, "Constrained Simultaneous Confidence Intervals for Multiple Comparisons
    with the Best" (1984), Annals of Statistics 12; the critical value here is Bonferroni's.
    """
    behind = layout.means[layout.best] - layout.means
    parts = layout.of_differences(layout.best, np.arange(len(layout.means)))
    allowed = allowed_by(layout, parts, tail(len(layout.means)))
    return [int(cell) for cell in np.flatnonzero(behind <= allowed)]


def behind_best(layout: Layout, cells: Sequence[int]) -> list[Behind]:
    """Return how far each of the contenders ``cells`` is behind.

    The bounds hold for all of them at once whenever the truly best cell is a contender, because
    they rest on the same k - 1 comparisons of it with the others: so with 95 % or more.
    """
    wanted = np.asarray(cells, np.intp)
    most = np.empty(len(wanted))
    a_part = max(1, AT_ONCE // len(wanted))
    for start in range(0, len(wanted), a_part):
        part = wanted[start : start + a_part]
        first, second = np.tile(wanted, len(part)), np.repeat(part, len(wanted))
        bounds = layout.means[first] - layout.means[second] + allowances(layout, first, second)
        most[start : start + a_part] = bounds.reshape(len(part), -1).max(axis=1)
    behind = layout.means[layout.best] - layout.means[wanted]
    return [Behind(*pair) for pair in np.column_stack((behind, np.maximum(most, 0))).tolist()]


def allowances(layout: Layout, first: Cells, second: Cells, errs: float | None = None) -> Floats:
    """Return how far two cells that are equally good may be apart by chance, for each pair.

    Where they differ on a few images only, the variance is itself a matter of chance; so some images
    more are taken to differ than did (after A. Agresti and Y. Min, "Simple Improved Confidence
    Intervals for Comparing Matched Proportions" (2005), Statistics in Medicine 24).

    Args:
        errs: How often chance may go further; if not given, so seldom that 95 % hold for all
            comparisons of one cell with the others at once.
    """
    parts = layout.of_differences(first, second)
    return allowed_by(layout, parts, tail(len(layout.means)) if errs is None else errs)


def allowed_by(layout: Comparable, parts: Parts, errs: float) -> Floats:
    """Return the same, of pairs whose parts of the variance are known."""
    t = quantile(parts.freedom(), errs)
    n = layout.n_replicates * layout.n_images
    return np.asarray(t * np.sqrt(parts.variance() + t**2 / 2 / n**2))


def tail(n_cells: int) -> float:
    """Return what may go wrong in one comparison, so that with all others of a cell 5 % may."""
    return (1 - CONFIDENCE) / max(1, n_cells - 1)


def parsimonious(layout: Comparable, lambdas: Sequence[float]) -> int:
    """Return the cell of the largest lambda that is within one standard error of the best.

    The standard error is that of the paired difference, not the best cell's own: what all cells
    have in common, easy images and lucky seeds, says nothing about which is better.

    Reference: L. Breiman, J. Friedman, R. Olshen and C. Stone, "Classification and Regression
    Trees" (1984), section 3.4.3, the rule of one standard error.
    """
    parts = layout.of_differences(layout.best, np.arange(len(layout.means)))
    behind = layout.means[layout.best] - layout.means
    near = np.flatnonzero(behind <= np.sqrt(parts.variance())).tolist()
    return int(max(near, key=lambda cell: lambdas[cell]))
