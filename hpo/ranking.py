"""Which cell is the best: a pure function of the counted results, whatever their order."""

import math

from sqlalchemy import Connection

from hpo import rows
from hpo.errors import ParentUnfinished
from hpo.experiment import Experiment
from hpo.tables import Result, StoredStudy


def best_result(results: list[Result]) -> Result | None:
    """Return the counted result with the highest value; of equal ones the first cell's.

    A diverged cell is never the best.
    """
    complete = [r for r in results if r.outcome == "complete" and r.value is not None]
    return max(complete, key=lambda r: (r.value, -r.slot.cell), default=None)


def cell_means(results: list[Result], experiment: Experiment) -> dict[int, float]:
    """Return the mean value of every cell that is compared: those complete in all replicates.

    A cell that diverged or was pruned in one of them has none. Where finalists have more
    replicates than the rest, they alone are compared, as soon as one of them is complete.
    """
    return _means(results, compared_replicates(results, experiment))


def compared_replicates(results: list[Result], experiment: Experiment) -> int:
    """Return over how many replicates cells are compared."""
    several = experiment.replicates
    return several if _means(results, several) else experiment.definition.replicates


def base_means(results: list[Result], experiment: Experiment) -> dict[int, float]:
    """Return the mean value over the replicates that every cell has."""
    return _means(results, experiment.definition.replicates)


def _means(results: list[Result], n_replicates: int) -> dict[int, float]:
    values: dict[int, list[float]] = {}
    for result in results:
        counts = result.outcome == "complete" and result.slot.replicate < n_replicates
        if counts and result.value is not None:
            values.setdefault(result.slot.cell, []).append(result.value)
    return {
        # Accuracies are whole shares: what differs in the 13th digit is equal and was rounded.
        cell: round(math.fsum(found) / n_replicates, 12)
        for cell, found in sorted(values.items())
        if len(found) == n_replicates
    }


def best_cell(results: list[Result], experiment: Experiment) -> int | None:
    """Return the cell with the highest mean over its replicates; of equal ones the first."""
    means = cell_means(results, experiment)
    return max(means, key=lambda cell: (means[cell], -cell), default=None)


def winner(results: list[Result], experiment: Experiment) -> Result | None:
    """Return the best result of the best cell, for those who need one network of it."""
    cell = best_cell(results, experiment)
    return best_result([r for r in results if r.slot.cell == cell])


def finished_best(connection: Connection, study: StoredStudy) -> Result:
    """Return the best result of the best cell of a finished study.

    Raises:
        ParentUnfinished: Cells are missing, or every one diverged.
    """
    results = rows.results_of(connection, study.uuid)
    experiment = study.experiment
    n_slots = experiment.n_slots
    missing = n_slots - len(results)
    what = "cells" if n_slots == len(experiment.cells) else "results"
    command = f"`hpo run {experiment.definition.name}`"
    if experiment.search is not None and not experiment.search.is_over:
        raise ParentUnfinished(
            f"{study.name!r} is not finished: its budget is not spent yet. Run {command} with the same "
            "--storage and --data first."
        )
    if missing:
        raise ParentUnfinished(
            f"{study.name!r} is not finished: {missing} of its {n_slots} {what} are "
            f"missing. Run {command} with the same --storage, --data and --protocol first."
        )
    best = winner(results, experiment)
    if best is None:
        raise ParentUnfinished(
            f"Every cell of {study.name!r} diverged, so it has no best one. Lower eta_max."
        )
    return best
