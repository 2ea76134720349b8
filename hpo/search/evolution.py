"""CMA-ES, told everything once more for each generation.

Reference: N. Hansen, "The CMA Evolution Strategy: A Tutorial" (2016), https://arxiv.org/abs/1604.00772.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hpo.definition.ranges import Value
from hpo.search import candidates
from hpo.search.candidates import Dimensions, Parameters

History = Sequence[tuple[Parameters, float]]
FIRST_STEP = 0.25  #: of CMA-ES, as a share of every range


def cmaes_generation(
    dimensions: Dimensions, width: int, seed: int, results: History, warm: History
) -> list[Parameters]:
    """Return the next generation of CMA-ES, which asks for all before and is told it once more.

    It begins at the best cell of earlier studies, if there is one, else in the middle.
    """
    start = [0.5] * len(dimensions)
    if warm:
        best, _ = max(warm, key=lambda known: known[1])
        start = candidates.places(dimensions, best)
    evolution = _Evolution(dimensions, width, start)
    cells = [cell for cell, _ in results]
    for first in range(0, len(results) - width + 1, width):
        rng = candidates.source(seed, first // width)
        evolution.generation(cells[:first], rng)
        evolution.tell(results[first : first + width], rng)
    return evolution.generation(cells, candidates.source(seed, len(results) // width))


class _Evolution:
    """CMA-ES between the places 0 and 1 of every dimension; once it stands still, it begins anew."""

    def __init__(self, dimensions: Dimensions, width: int, start: Sequence[float]) -> None:
        self._dimensions = dimensions
        self._width = width
        self._begin(start)

    def _begin(self, start: Sequence[float]) -> None:
        from cmaes import CMA

        self._optimizer = CMA(
            mean=np.array(start),
            sigma=FIRST_STEP,
            bounds=np.array([[0.0, 1.0]] * len(start)),
            population_size=self._width,
        )

    def generation(self, known: Sequence[Parameters], rng: np.random.Generator) -> list[Parameters]:
        """Return the cells that come after those that are known."""
        self._optimizer.reseed_rng(int(rng.integers(2**32)))
        self._points: dict[tuple[Value, ...], NDArray[np.float64]] = {}
        return candidates.new(self._ask, self._dimensions, known, self._width, rng)

    def _ask(self) -> Parameters:
        point = self._optimizer.ask()
        cell = candidates.at(self._dimensions, point.tolist())
        self._points.setdefault(candidates.key(cell), point)
        return cell

    def tell(self, results: History, rng: np.random.Generator) -> None:
        """Learn what the cells of the generation are worth, by the points that they stand for."""
        told = [
            (
                self._points.get(
                    candidates.key(cell), np.array(candidates.places(self._dimensions, cell))
                ),
                -value,
            )
            for cell, value in results
        ]
        with np.errstate(all="ignore"):  # of a distribution that has shrunk to nothing
            self._optimizer.tell(told)
            stands_still = self._optimizer.should_stop()
        if stands_still:
            self._begin(rng.random(len(self._dimensions)).tolist())
