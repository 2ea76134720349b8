"""Which cell is the best: a pure function of the counted results, whatever their order."""

import math
from dataclasses import replace

from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Outcome, Result


def best_result(results: list[Result]) -> Result | None:
    """Return the counted result with the highest value; of equal ones the first cell's.

    A diverged cell is never the best.
    """
    complete = [r for r in results if r.outcome == Outcome.COMPLETE and r.value is not None]
    return max(complete, key=lambda r: (r.value, -r.slot.cell), default=None)


def compared(results: list[Result], experiment: Experiment) -> tuple[list[int], int]:
    """Return the cells that are compared, and over how many replicates.

    A cell that diverged or was pruned in any replicate takes no part. Where finalists have more
    replicates than the rest, they alone are compared, over as many as all of them have.
    """
    done: dict[int, set[int]] = {}
    lost = set()
    for result in results:
        if result.outcome == Outcome.COMPLETE and result.value is not None:
            done.setdefault(result.slot.cell, set()).add(result.slot.replicate)
        else:
            lost.add(result.slot.cell)
    search, base = experiment.search, experiment.definition.replicates
    racing = [cell for cell in search.finalists if cell not in lost] if search else []
    if search is not None and racing:
        for n in range(search.replicates, base, -1):
            if all(done.get(cell, set()) >= set(range(n)) for cell in racing):
                return racing, n
    whole = set(range(base))
    return [cell for cell in sorted(done) if cell not in lost and done[cell] >= whole], base


def cell_means(results: list[Result], experiment: Experiment) -> dict[int, float]:
    """Return the mean value of every cell that is compared, over the replicates that count."""
    return _means(results, *compared(results, experiment))


def base_means(results: list[Result], experiment: Experiment) -> dict[int, float]:
    """Return the means over the replicates that every cell has, whatever came of later ones."""
    base = experiment.definition.replicates
    early = [result for result in results if result.slot.replicate < base]
    return _means(early, *compared(early, replace(experiment, search=None)))


def _means(results: list[Result], cells: list[int], n_replicates: int) -> dict[int, float]:
    values: dict[int, list[float]] = {cell: [] for cell in cells}
    for result in results:
        counts = result.slot.cell in values and result.slot.replicate < n_replicates
        if counts and result.value is not None:
            values[result.slot.cell].append(result.value)
    # Accuracies are whole shares: what differs in the 13th digit is equal and was rounded.
    return {cell: round(math.fsum(found) / n_replicates, 12) for cell, found in values.items()}


def best_cell(results: list[Result], experiment: Experiment) -> int | None:
    """Return the cell with the highest mean over its replicates; of equal ones the first."""
    means = cell_means(results, experiment)
    return max(means, key=lambda cell: (means[cell], -cell), default=None)


def winner(results: list[Result], experiment: Experiment) -> Result | None:
    """Return the best result of the best cell, for those who need one network of it."""
    cell = best_cell(results, experiment)
    return best_result([r for r in results if r.slot.cell == cell])
