"""Cells of a space that may be proposed: drawn at random, listed, and none of them twice."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain

import numpy as np

from hpo.definition.ranges import Dimension, Real, Value

Parameters = dict[str, Value]
Dimensions = Mapping[str, Dimension]
Asks = Callable[[], Parameters]
COUNTED = 1_000_000  #: cells that are gone through where they can be counted
TRIES = 4  #: times the width of a generation: how often a sampler is asked, if cells come twice


def source(seed: int, *generation: int) -> np.random.Generator:
    """Return the source of randomness of a generation, or without one of the whole search."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=generation))


def new(
    asks: Asks,
    dimensions: Dimensions,
    known: Sequence[Parameters],
    width: int,
    rng: np.random.Generator,
) -> list[Parameters]:
    """Return as many cells as wanted that are not known: what is asked for, then any others."""
    seen = {key(cell) for cell in known}
    found: list[Parameters] = []
    asked = (asks() for _ in range(TRIES * width))
    for cell in chain(asked, _others(dimensions, width, rng)):
        if key(cell) not in seen:
            seen.add(key(cell))
            found.append(cell)
        if len(found) == width:
            break
    return found


def key(cell: Parameters) -> tuple[Value, ...]:
    """Return what tells a cell from others."""
    return tuple(cell.values())


def _others(dimensions: Dimensions, width: int, rng: np.random.Generator) -> Iterator[Parameters]:
    """Return every cell if they can be counted, else some; at random."""
    n_cells = math.prod(len(dimension.values()) for dimension in dimensions.values())
    if n_cells > COUNTED or any(
        d.low < d.high if isinstance(d, Real) else len(d.values()) < len(d.options)
        for d in dimensions.values()
    ):
        drawn = at_random(dimensions, rng)
        return (drawn() for _ in range(TRIES * width))
    return grid(dimensions, rng)


def at(dimensions: Dimensions, where: Sequence[float]) -> Parameters:
    """Return the cell at a place, from 0 to 1, in each dimension."""
    return {name: d.at(place) for (name, d), place in zip(dimensions.items(), where, strict=True)}


def places(dimensions: Dimensions, cell: Mapping[str, Value]) -> list[float]:
    """Return where a cell is, from 0 to 1, in each dimension."""
    return [dimension.place(cell[name]) for name, dimension in dimensions.items()]


def at_random(dimensions: Dimensions, rng: np.random.Generator) -> Asks:
    """Return what draws cells, all places alike."""
    return lambda: at(dimensions, rng.random(len(dimensions)).tolist())


def grid(dimensions: Dimensions, rng: np.random.Generator) -> Iterator[Parameters]:
    """Return every combination of some values of each parameter, in an order that is all its own.

    A budget that ends early leaves a fair sample of the grid then, and not one corner of it.
    """
    values = [dimension.values() for dimension in dimensions.values()]
    shape = [len(some) for some in values]
    for number in rng.permutation(math.prod(shape)):
        where = np.unravel_index(number, shape)
        chosen = (some[place] for some, place in zip(values, where, strict=True))
        yield dict(zip(dimensions, chosen, strict=True))
