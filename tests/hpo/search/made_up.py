"""Searches whose results are made up."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

from hpo.definition.spaces import Space
from hpo.definition.study import StudyDefinition
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
            recipe, n = experiment.recipe(cell), experiment.definition.n_cycles
            n_updates = recipe.n_updates if accuracy is not None else 2 * recipe.n_s
            found.append(Result(Slot(cell, replicate), 0, outcome, accuracy, n, n_updates))
    return found


def cut_results(experiment: Experiment, value: Callable[[Slot], float | None]) -> list[Result]:
    """Return the results where of each generation one in two goes on after each cycle."""
    found = results(experiment, value)
    n_cycles = experiment.definition.n_cycles
    for cells in experiment.generations:
        live = list(cells)
        for cycle in range(1, n_cycles):
            ranked = sorted(live, key=lambda cell: (-(value(Slot(cell, 0)) or -1), cell))
            live = ranked[: generations.n_kept(len(live), 2)]
            for place, result in enumerate(found):
                cell = result.slot.cell
                if cell in ranked and cell not in live and result.outcome == "complete":
                    length = 2 * experiment.recipe(cell).n_s
                    found[place] = replace(
                        result, outcome="pruned", cycles=cycle, n_updates=cycle * length
                    )
    return found


def searched(
    space: Space,
    value: Callable[[Slot], float | None],
    arrange: Callable[[list[Result]], list[Result]] = lambda found: found,
    replicates: int = 1,
    definition: StudyDefinition = JOINT,
) -> list[Experiment]:
    """Return the experiment after each step of a search whose results are made up."""
    definition = replace(definition, space=space, replicates=replicates)
    make = results if definition.pruner == "none" else cut_results
    steps = [resolve(definition, DATA)]
    while steps[-1].search is not None and not steps[-1].search.is_over:
        steps.append(generations.grown(steps[-1], arrange(make(steps[-1], value))))
    return steps


@cache
def accuracy(slot: Slot) -> float | None:
    """Return some accuracy of a slot, the same every time."""
    return None if slot.cell % 7 == 3 else ((slot.cell * 37 + slot.replicate * 11) % 50) / 50
