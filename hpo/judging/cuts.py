"""What a cut at the end of a cycle may have cost, from which images were right there.

All networks are compared after the same cycle, by the same validation images. What a cell might have
gained later, nobody knows who did not train it on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpo.experiment.records import Outcome, Result, Slot
from hpo.judging import comparisons, many, statistics

#: Which validation images were right after a cycle, by cycle and slot.
AtRungs = Mapping[int, Mapping[Slot, NDArray[np.bool_]]]


@dataclass(frozen=True)
class Cut:
    """What was cut after one cycle."""

    cycle: int
    n_compared: int  #: cells that got there, the cut ones among them
    cells: tuple[int, ...]  #: those that were cut
    #: Those of them that cannot be told from the best there at 95 %; None where no bits tell it.
    unsure: tuple[int, ...] | None


def cuts(results: Sequence[Result], at_rungs: AtRungs, n_replicates: int) -> tuple[Cut, ...]:
    """Return what was cut after each cycle.

    Args:
        n_replicates: How many of each cell were compared there.
    """
    lost: dict[int, set[int]] = {}
    for result in results:
        if result.outcome == Outcome.PRUNED and result.cycles and result.value is not None:
            lost.setdefault(result.cycles, set()).add(result.slot.cell)
    found = []
    for cycle, cells in sorted(lost.items()):
        bits = at_rungs.get(cycle, {})
        there = whole(bits, n_replicates)
        unsure = None
        if cells <= set(there):
            close = comparisons.contenders(many.of_hits(np.array(list(there.values()))))
            unsure = tuple(sorted({list(there)[place] for place in close} & cells))
        n_compared = len({slot.cell for slot in bits} | cells)
        found.append(Cut(cycle, n_compared, tuple(sorted(cells)), unsure))
    return tuple(found)


def whole(
    bits: Mapping[Slot, NDArray[np.bool_]], n_replicates: int
) -> dict[int, list[NDArray[np.bool_]]]:
    """Return the bits of the cells that have them in every replicate, by cell in their order."""
    cells = sorted({slot.cell for slot in bits})
    slots = {cell: [Slot(cell, r) for r in range(n_replicates)] for cell in cells}
    return {
        cell: [bits[slot] for slot in mine]
        for cell, mine in slots.items()
        if all(slot in bits for slot in mine)
    }


def surely_behind(
    bits: Mapping[int, list[NDArray[np.bool_]]], least: int, confidence: float
) -> set[int]:
    """Return the cells that ``least`` is ahead of with that confidence, each for itself.

    Args:
        bits: Which images each replicate of a cell got right; all that are compared.
        least: The last of those that go on.
    """
    if least not in bits:
        return set()
    cells = list(bits)
    layout = statistics.layout_of(np.array([bits[cell] for cell in cells]))
    first = cells.index(least)
    allowed = comparisons.allowances(layout, first, np.arange(len(cells)), 1 - confidence)
    behind = layout.means[first] - layout.means
    return {cells[place] for place in np.flatnonzero(behind > allowed)}
