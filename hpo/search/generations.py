"""The search of a space: generation after generation within a budget, then a race of the best.

What comes next is a pure function of the definition and of the results of everything before it,
and is settled only when all of those are there. It is stored whole (`hpo.planning.growth`).
"""

from collections.abc import Sequence
from dataclasses import replace

from hpo.definition.spaces import MOST_FINAL, SearchState
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Result
from hpo.judging.ranking import cell_means


def grown(experiment: Experiment, results: Sequence[Result]) -> Experiment:
    """Return the experiment with its next generation, or with its finalists.

    Args:
        results: Of every cell, in every replicate.
    """
    from hpo.search.proposals import propose

    space, search = experiment.definition.space, experiment.search
    if space is None or search is None:
        raise ValueError(f"{experiment.definition.name} searches no space")
    means = cell_means(list(results), experiment)
    if not search.is_full:
        values = [means.get(cell) for cell in range(len(experiment.cells))]
        proposals = propose(experiment, values)
        larger, planned = experiment, spent(experiment)
        for proposal in proposals:
            tried = replace(larger, cells=(*larger.cells, proposal))
            cost = tried.recipe(len(larger.cells)).n_updates * experiment.definition.replicates
            if planned + cost <= space.for_search:
                larger, planned = tried, planned + cost
        n_new = len(larger.cells) - len(experiment.cells)
        search = replace(search, is_full=n_new < space.width)
        if n_new:
            return replace(larger, search=search)
    return replace(experiment, search=_with_finalists(experiment, search, means))


def spent(experiment: Experiment) -> int:
    """Return the updates that all cells need in all their replicates."""
    return sum(
        experiment.recipe(cell).n_updates * experiment.replicates_of(cell)
        for cell in range(len(experiment.cells))
    )


def _with_finalists(
    experiment: Experiment, search: SearchState, means: dict[int, float]
) -> SearchState:
    """Choose the best cells, of equal ones the first, and give them what is left of the budget."""
    space = experiment.definition.space
    n = space.finalists if space else 0
    best = sorted(sorted(means, key=lambda cell: (-means[cell], cell))[:n])
    over = replace(search, is_over=True)
    if space is None or len(best) < 2:
        return over
    a_round = sum(experiment.recipe(cell).n_updates for cell in best)
    n_rounds = (space.budget - spent(experiment)) // a_round
    if n_rounds < 1:
        return over
    replicates = experiment.definition.replicates + min(n_rounds, MOST_FINAL)
    return replace(over, finalists=tuple(best), replicates=replicates)
