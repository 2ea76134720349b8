"""What is known of cells that were cut: their last value, and what they would have come to."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Outcome, Result
from hpo.search.curves import Value


@dataclass(frozen=True)
class Loser:
    """A cell that was cut."""

    cycle: int  #: after which it was
    value: float | None  #: mean over its replicates there; None if it has none


def cells(experiment: Experiment, results: Sequence[Result]) -> dict[int, Loser]:
    """Return the cells that were cut; one that diverged in a replicate is none of them."""
    mine: dict[int, list[Result]] = {}
    for result in results:
        mine.setdefault(result.slot.cell, []).append(result)
    found = {}
    for cell in sorted(mine):
        pruned = [r for r in mine[cell] if r.outcome == Outcome.PRUNED]
        if not pruned or any(r.outcome == Outcome.DIVERGED for r in mine[cell]):
            continue
        values = [r.value for r in pruned if r.value is not None]
        mean = round(math.fsum(values) / len(values), 12) if values else None
        found[cell] = Loser(max(r.cycles for r in pruned), mean)
    return found


def seen(
    experiment: Experiment,
    losers: Mapping[int, Loser],
    values: Sequence[float | None],
    at_rungs: Mapping[int, Mapping[int, float | None]],
) -> list[Value]:
    """Return every value that a cell had at a rung or at its end, where it came to it."""
    chance, n_rungs = 1 / experiment.data.n_classes, experiment.most_cycles
    n_cycles = [experiment.recipe(cell).n_cycles for cell in range(len(experiment.cells))]
    found: dict[tuple[int, int], float] = {}
    for number, table in at_rungs.items():
        for cell, value in table.items():
            if value is not None:
                found[cell, max(n_cycles[cell] - number % n_rungs, 0)] = value
    for cell, loser in losers.items():
        if loser.value is not None:
            found[cell, max(n_cycles[cell] - loser.cycle, 0)] = loser.value
    for cell, value in enumerate(values):
        if cell not in losers:
            found[cell, 0] = chance if value is None else value
    return [Value(cell, togo, value) for (cell, togo), value in sorted(found.items())]


def worths(
    experiment: Experiment,
    losers: Mapping[int, Loser],
    means: Mapping[int, float],
    at_rungs: Mapping[int, Mapping[int, float | None]],
) -> dict[int, float | None]:
    """Return the last value of each, and what those gained afterwards that went on to the end.

    Args:
        means: Of the cells that went on to the end.
        at_rungs: Accuracies of the cells at each decided rung, by its number.
    """
    n_rungs = experiment.most_cycles
    gains: dict[int, list[float]] = {}
    for number, table in sorted(at_rungs.items()):
        for cell, value in sorted(table.items()):
            if cell in means and value is not None:
                gains.setdefault(number % n_rungs, []).append(means[cell] - value)
    found: dict[int, float | None] = {}
    for cell, loser in losers.items():
        later = gains.get(loser.cycle, [])
        gain = math.fsum(later) / len(later) if later else 0.0
        found[cell] = None if loser.value is None else round(loser.value + gain, 12)
    return found
