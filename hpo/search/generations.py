"""The search of a space: generation after generation within a budget, then a race of the best.

What comes next is a pure function of the definition and of the results of everything before it,
and is settled only when all of those are there. It is stored whole (`hpo.planning.growth`). Where
cells are cut at the ends of cycles, what that frees pays for more generations, the last of which
shrink and shorten until no cell fits.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace

from hpo.definition.pruning import NONE, parse
from hpo.definition.ranges import Value
from hpo.definition.spaces import MOST_FINAL, Space
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Outcome, Result
from hpo.experiment.search_state import SearchState
from hpo.judging.ranking import cell_means
from hpo.search import cut

Cell = dict[str, Value]
SPENDS_THE_REST = 1  #: edition of the first searches that end with shorter cells


def grown(
    experiment: Experiment,
    results: Sequence[Result],
    at_rungs: Mapping[int, Mapping[int, float | None]] | None = None,
) -> Experiment:
    """Return the experiment with its next generation, or with its finalists.

    Args:
        results: Of every cell, in every replicate.
        at_rungs: Accuracies of the cells at each decided rung, for samplers that have no other way
            to learn what those are worth that were cut.
    """
    space, search = experiment.definition.space, experiment.search
    if space is None or search is None:
        raise ValueError(f"{experiment.definition.name} searches no space")
    if parse(experiment.definition.pruner).name != NONE:
        return _grown_by_what_is_left(experiment, space, search, results, at_rungs or {})
    means = cell_means(list(results), experiment)
    if not search.is_full:
        larger = experiment
        for proposal in _proposals(experiment, space, results, {}):
            tried = replace(larger, cells=(*larger.cells, proposal))
            if _searched(tried) <= space.for_search and spent(tried) <= space.budget:
                larger = tried
        n_new = len(larger.cells) - len(experiment.cells)
        search = replace(search, is_full=n_new < space.width)
        if n_new:
            sizes = (*search.sizes, n_new) if search.sizes else ()
            return replace(larger, search=replace(search, sizes=sizes))
    over = replace(search, is_over=True)
    left = space.budget - spent(experiment)
    return replace(experiment, search=_raced(experiment, over, means, space.n_finalists, left))


def _grown_by_what_is_left(
    experiment: Experiment,
    space: Space,
    search: SearchState,
    results: Sequence[Result],
    at_rungs: Mapping[int, Mapping[int, float | None]],
) -> Experiment:
    """Grow a search whose cells are cut: until no cell fits, then the finalists that can be paid."""
    means = cell_means(list(results), experiment)
    used = spent(experiment, results)
    proposals = _proposals(experiment, space, results, at_rungs)
    over = replace(search, is_full=True, is_over=True)
    for n in range(space.n_finalists, 1, -1):  # fewer, where a round of all costs too much
        raced = _raced(experiment, over, means, n, space.budget - used)
        if raced.finalists:
            over = raced
            break
    of_race = spent(replace(experiment, search=over)) - spent(replace(experiment, search=search))
    whole = space.budget - used
    left = whole - of_race  # whole rounds leave something over
    for new in (
        _affordable(
            experiment, proposals, min(space.for_search - _searched(experiment, results), whole)
        ),
        _affordable(experiment, proposals, left),
        _affordable(experiment, _shortened(experiment, proposals, left), left),
    ):
        if new:
            sizes = (*search.sizes, len(new))
            larger = replace(experiment, cells=(*experiment.cells, *new))
            return replace(larger, search=replace(search, sizes=sizes))
    return replace(experiment, search=over)


def _proposals(
    experiment: Experiment,
    space: Space,
    results: Sequence[Result],
    at_rungs: Mapping[int, Mapping[int, float | None]],
) -> list[Cell]:
    from hpo.search.proposals import propose

    means = cell_means(list(results), experiment)
    values = [means.get(cell) for cell in range(len(experiment.cells))]
    losers = cut.cells(experiment, results)
    if space.sampler == "curves":
        return propose(experiment, values, seen=cut.seen(experiment, losers, values, at_rungs))
    if space.sampler == "tpe":  # which knows what to make of a trial that was pruned
        for cell, loser in losers.items():
            values[cell] = loser.value
        return propose(experiment, values, {cell: loser.cycle for cell, loser in losers.items()})
    for cell, worth in cut.worths(experiment, losers, means, at_rungs).items():
        values[cell] = worth
    return propose(experiment, values)


def _affordable(experiment: Experiment, proposals: Sequence[Cell], left: float) -> list[Cell]:
    """Return the proposals that can be paid for, whoever of them is cut."""
    chosen: list[Cell] = []
    for proposal in proposals:
        if most_updates(experiment, [*chosen, proposal]) <= left:
            chosen.append(proposal)
    return chosen


def _shortened(experiment: Experiment, proposals: Sequence[Cell], left: float) -> list[Cell]:
    """Return the proposals with as large an n_s as can be paid for, so that the budget is used up.

    Searches of before ended here.
    """
    space, search = experiment.definition.space, experiment.search
    dimensions = space.dimensions(experiment.per_epoch) if space else {}
    name = "n_s" if "n_s" in dimensions else "n_s_epochs"
    if name not in dimensions or search is None or search.edition < SPENDS_THE_REST:
        return []
    known = [*experiment.cells]
    found = []
    for proposal in proposals:
        fitting = [
            shorter
            for value in dimensions[name].values()
            for shorter in [proposal | {name: value}]
            if most_updates(experiment, [shorter]) <= left and shorter not in known
        ]
        if fitting:
            found.append(fitting[-1])
            known.append(fitting[-1])
    return found


def most_updates(experiment: Experiment, cells: Sequence[Cell]) -> int:
    """Return the updates that a generation makes at most: after each cycle some of it are cut."""
    definition = experiment.definition
    tried = replace(experiment, cells=(*experiment.cells, *cells))
    recipes = [tried.recipe(cell) for cell in range(len(experiment.cells), len(tried.cells))]
    pruning = parse(definition.pruner)
    if not pruning.is_synchronous:
        return sum(recipe.n_updates for recipe in recipes) * definition.replicates
    recipes.sort(key=lambda recipe: recipe.n_s, reverse=True)
    total, n = 0, len(recipes)
    for cycle in range(1, experiment.most_cycles + 1):
        lengths = [2 * recipe.n_s for recipe in recipes if recipe.n_cycles >= cycle]
        total += sum(lengths[:n])
        if not pruning.parameters["confidence"]:  # else it may be that none is surely behind
            n = n_kept(n, pruning.parameters["eta"])
    return total * definition.replicates


def n_kept(n: int, eta: float) -> int:
    """Return how many of ``n`` cells go on: 8 of which half go on leave 4, and 5 leave 3."""
    return max(1, math.ceil(n / eta))


def spent(experiment: Experiment, results: Sequence[Result] = ()) -> int:
    """Return the updates that all cells need in all their replicates.

    Args:
        results: Where cells are cut, those that did not come to their end cost what they did.
    """
    cuts = parse(experiment.definition.pruner).name != NONE
    saved = sum(
        experiment.recipe(result.slot.cell).n_updates - result.n_updates
        for result in results
        if cuts and result.outcome != Outcome.COMPLETE
    )
    return (
        sum(
            experiment.recipe(cell).n_updates * experiment.replicates_of(cell)
            for cell in range(len(experiment.cells))
        )
        - saved
    )


def _searched(experiment: Experiment, results: Sequence[Result] = ()) -> int:
    """Return what of `spent` is for proposals, and not for the finalists of any budget."""
    if experiment.search is None or not experiment.search.raced:
        return spent(experiment, results)
    base = experiment.definition.replicates
    early = [result for result in results if result.slot.replicate < base]
    return spent(replace(experiment, search=replace(experiment.search, raced=())), early)


def _raced(
    experiment: Experiment, over: SearchState, means: dict[int, float], n: int, left: float
) -> SearchState:
    """Choose the ``n`` best cells, of equal ones the first, and give them what is left."""
    best = sorted(sorted(means, key=lambda cell: (-means[cell], cell))[:n])
    if len(best) < 2:
        return over
    base = experiment.definition.replicates

    def raced(n_rounds: int) -> SearchState:
        return replace(over, finalists=tuple(best), replicates=base + n_rounds)

    def costs(n_rounds: int) -> int:
        with_race = replace(experiment, search=raced(n_rounds))
        return sum(
            experiment.recipe(cell).n_updates
            * (with_race.replicates_of(cell) - experiment.replicates_of(cell))
            for cell in best
        )

    n_rounds = bisect_right(range(1, MOST_FINAL + 1), left, key=costs)
    return raced(n_rounds) if n_rounds else over
