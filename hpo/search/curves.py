"""The sampler ``curves``: a Gaussian process that learns from every value at the end of a cycle.

A generation is chosen one cell after the other, where the improvement that is expected is greatest;
cells that are chosen are believed to come to what is expected of them (the "kriging believer").

Reference: D. Ginsbourger, R. Le Riche, L. Carraro, "Kriging Is Well-Suited to Parallelize
Optimization" (2010).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hpo.definition.ranges import Choice, Real
from hpo.search import candidates
from hpo.search.candidates import Asks, Dimensions, Parameters
from hpo.search.process import Array, Process, Seen, settings

ANYWHERE, NEAR = 2048, 1024  #: cells among which a generation is chosen
BEST = 8  #: cells that those are near
MOST = 400  #: values that are learnt from


@dataclass(frozen=True)
class Value:
    """What a cell had with so many cycles to go."""

    cell: int
    togo: int
    value: float


def asks(
    dimensions: Dimensions,
    cells: Sequence[Parameters],
    values: Sequence[Value],
    rng: np.random.Generator,
) -> Asks:
    """Return what asks for one cell after the other, knowing the values of all before.

    Args:
        cells: Those that values are known of.
    """
    chosen = _chosen(dimensions, cells, values, rng)
    return lambda: next(chosen)


def _chosen(
    dimensions: Dimensions,
    cells: Sequence[Parameters],
    values: Sequence[Value],
    rng: np.random.Generator,
) -> Iterator[Parameters]:
    places = np.array([candidates.places(dimensions, cell) for cell in cells])
    found = seen(encoded(dimensions, places), values)
    proposals = _proposals(dimensions, places, values, rng)
    x = encoded(dimensions, proposals)
    tried, weights = settings(found, rng)
    processes = [Process(found, one) for one in tried]
    ends = found.x[found.togo == found.togo.min()]
    best = [process.at(ends).mean.max() for process in processes]
    beliefs = [process.at(x) for process in processes]
    while True:
        wanted = sum(
            weight * improvement(belief.mean, belief.learnt, least)
            for weight, belief, least in zip(weights, beliefs, best, strict=True)
        )
        place = int(np.argmax(wanted))
        for n, belief in enumerate(beliefs):
            belief.believe(place)
            best[n] = max(best[n], belief.mean[place])
        yield candidates.at(dimensions, proposals[place].tolist())


def _proposals(
    dimensions: Dimensions, places: Array, values: Sequence[Value], rng: np.random.Generator
) -> Array:
    """Return places anywhere and near the best cells, as their values let them be."""
    ended = sorted((-v.value, v.cell) for v in values if v.togo == 0) or [(0.0, 0)]
    best = places[[cell for _, cell in ended[:BEST]]]
    near = np.repeat(best, NEAR // len(best), axis=0)
    step = np.exp(rng.uniform(np.log(0.01), np.log(0.3), (len(near), 1)))
    moved = rng.random(near.shape) < 0.6
    near = np.clip(near + step * moved * rng.standard_normal(near.shape), 0, 1)
    found = np.vstack([rng.random((ANYWHERE, places.shape[1])), near])
    for column, dimension in zip(found.T, dimensions.values(), strict=True):
        if not isinstance(dimension, Real):
            column[:] = [dimension.place(dimension.at(place)) for place in column.tolist()]
    return found


def encoded(dimensions: Dimensions, places: Array) -> Array:
    """Return places for the process: what has no order gets a column an option."""
    columns = []
    for column, dimension in zip(places.T, dimensions.values(), strict=True):
        if isinstance(dimension, Choice) and len(dimension.options) > 2:
            of = np.minimum(
                (column * len(dimension.options)).astype(int), len(dimension.options) - 1
            )
            columns += [(of == n) / np.sqrt(2) for n in range(len(dimension.options))]
        elif isinstance(dimension, Choice):
            columns.append((column > 0.5).astype(float))
        else:
            columns.append(column)
    return np.array(columns).T


def seen(x: Array, values: Sequence[Value]) -> Seen:
    """Return values in units of their spread; what is far below the others is only said to be far."""
    if len(values) > MOST:
        values = sorted(values, key=lambda v: (v.togo, -v.value, v.cell))[:MOST]
    y = np.array([value.value for value in values])
    togo = np.array([value.togo for value in values])
    middle = np.median(y)
    spread = max(1.5 * np.median(np.abs(y - middle)), 1e-4)
    y = (y - middle) / spread
    y = np.where(y < -3, -3 - np.log1p(np.maximum(-3 - y, 0)), y)
    cells = np.array([value.cell for value in values])
    return Seen(x[cells], togo, cells, y)


def improvement(mean: Array, deviation: Array, best: float) -> Array:
    """Return by how much a normal value is expected to be above ``best``."""
    from scipy.special import ndtr

    z = (mean - best) / deviation
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return np.asarray(deviation * (z * ndtr(z) + density))
