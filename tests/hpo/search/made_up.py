"""Searches whose results are made up."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

from hpo.definition.spaces import Space
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Result, Slot
from hpo.experiment.resolution import resolve
from hpo.search import generations
from tests.hpo.small_search import DATA, JOINT


def results(experiment: Experiment, value: Callable[[Slot], float | None]) -> list[Result]:
    """Return a result for every slot; None is a divergence."""
    found = []
    for cell in range(len(experiment.cells)):
        for replicate in range(experiment.replicates_of(cell)):
            accuracy = value(Slot(cell, replicate))
            outcome = "diverged" if accuracy is None else "complete"
            found.append(Result(Slot(cell, replicate), 0, outcome, accuracy, 2, 100))
    return found


def searched(
    space: Space,
    value: Callable[[Slot], float | None],
    arrange: Callable[[list[Result]], list[Result]] = lambda found: found,
    replicates: int = 1,
) -> list[Experiment]:
    """Return the experiment after each step of a search whose results are made up."""
    definition = replace(JOINT, space=space, replicates=replicates)
    steps = [resolve(definition, DATA)]
    while steps[-1].search is not None and not steps[-1].search.is_over:
        steps.append(generations.grown(steps[-1], arrange(results(steps[-1], value))))
    return steps


@cache
def accuracy(slot: Slot) -> float | None:
    """Return some accuracy of a slot, the same every time."""
    return None if slot.cell % 7 == 3 else ((slot.cell * 37 + slot.replicate * 11) % 50) / 50
