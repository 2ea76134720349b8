"""Who goes on after a cycle beside the best half: whoever ties with the last of it.

In a grid all of them do. In a search, whose budget was shared out before anybody knew of ties, they
do in the order of their numbers as long as the budget pays for them, whoever is cut later.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from hpo.definition.pruning import parse
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Result
from hpo.search.generations import n_kept, spent

SAME = 12  #: digits to which means of several seeds are equal


def tied(table: Mapping[int, float | None], chosen: Sequence[int]) -> tuple[int, ...]:
    """Return the cells that are not chosen and tie with the last one that is.

    >>> tied({0: 0.5, 1: 0.4, 2: 0.4, 3: None}, (0, 1))
    (2,)
    """
    values = {c: round(value, SAME) for c, value in table.items() if value is not None}
    if not chosen:
        return ()
    least = min(values[cell] for cell in chosen)
    return tuple(sorted(c for c in values if values[c] == least and c not in chosen))


def paid_for(
    experiment: Experiment,
    results: Sequence[Result],
    lived: Sequence[Sequence[int]],
    chosen: tuple[int, ...],
    more: Sequence[int],
) -> tuple[int, ...]:
    """Return the cells of ``more`` that go on with those that are chosen.

    Args:
        results: Of the generations before.
        lived: The cells of this generation that trained each cycle up to now.
    """
    space = experiment.definition.space
    if experiment.search is None or space is None:
        return tuple(more)
    first = min(lived[0])
    before = replace(experiment, cells=experiment.cells[:first])
    early = [result for result in results if result.slot.cell < first]
    left = space.budget - spent(before, early)
    found: tuple[int, ...] = ()
    for cell in more:
        cells = [*chosen, *found, cell]
        if _most(experiment, lived, cells) <= left:
            found = (*found, cell)
    return found


def _most(experiment: Experiment, lived: Sequence[Sequence[int]], cells: Sequence[int]) -> int:
    """Return what a generation costs at most, when these cells go on after the cycles up to now."""
    recipes = {cell: experiment.recipe(cell) for cell in lived[0]}
    total = sum(2 * recipes[cell].n_s for cycle in lived for cell in cycle)
    eta = parse(experiment.definition.pruner).parameters["eta"]
    n = len(cells)
    for cycle in range(len(lived) + 1, experiment.most_cycles + 1):
        lengths = [2 * recipes[cell].n_s for cell in cells if recipes[cell].n_cycles >= cycle]
        total += sum(sorted(lengths, reverse=True)[:n])
        n = n_kept(n, eta)
    return total * experiment.definition.replicates
