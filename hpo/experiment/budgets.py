"""A budget that grows: a search goes on when what it had before is used, and never otherwise.

So its result is that of the same budgets one after the other, whenever they were asked for.
"""

from dataclasses import replace

from hpo.definition.spaces import Space
from hpo.experiment.experiment import Experiment
from hpo.experiment.search_state import SearchState


def largest(experiment: Experiment) -> int:
    """Return the largest budget that a search was given."""
    space, search = _of(experiment)
    return search.later[-1] if search.later else space.budget


def given(experiment: Experiment) -> tuple[int, ...]:
    """Return all budgets that a search was given, one after the other."""
    space, search = _of(experiment)
    return (*search.budgets, space.budget, *search.later)


def in_words(experiment: Experiment) -> str:
    """Return what the budget of a search was and is; nothing where it never grew."""
    if experiment.search is None or len(given(experiment)) < 2:
        return ""
    *before, now = [f"{budget:,}" for budget in given(experiment)]
    return f"budget {now} updates, after {' and '.join(before)}"


def enlarged(experiment: Experiment, budget: int, minutes: float = 0) -> Experiment:
    """Return a search with a larger budget, which is begun when the one before is used.

    Args:
        minutes: That it was reckoned from, if it was.
    """
    _, search = _of(experiment)
    if budget <= largest(experiment):
        return experiment
    later = (*search.later, budget)
    return begun(replace(experiment, search=replace(search, later=later, minutes=minutes)))


def begun(experiment: Experiment) -> Experiment:
    """Return a search with the next of its budgets, if it is over within the one that it has.

    Its end is settled anew. What its finalists were given more is theirs for good.
    """
    space, search = _of(experiment)
    if not search.is_over or not search.later:
        return experiment
    race = ((search.finalists, search.replicates),) if search.finalists else ()
    return replace(
        experiment,
        definition=replace(experiment.definition, space=replace(space, budget=search.later[0])),
        search=replace(
            search,
            is_full=False,
            is_over=False,
            finalists=(),
            replicates=0,
            raced=(*search.raced, *race),
            budgets=(*search.budgets, space.budget),
            later=search.later[1:],
            sizes=tuple(map(len, experiment.generations)),
        ),
    )


def first(experiment: Experiment) -> Experiment:
    """Return the experiment as it was before its budget grew, which changes no result."""
    space, search = experiment.definition.space, experiment.search
    if space is None or search is None or not search.budgets:
        return experiment
    began = replace(space, budget=search.budgets[0])
    return replace(experiment, definition=replace(experiment.definition, space=began))


def _of(experiment: Experiment) -> tuple[Space, SearchState]:
    space, search = experiment.definition.space, experiment.search
    if space is None or search is None:
        raise ValueError(f"{experiment.definition.name} searches no space")
    return space, search
