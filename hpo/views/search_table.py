"""The table of a search: its best cells, best first, with everything that was searched."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hpo.experiment.records import Outcome, Result, StoredStudy, parameters, short
from hpo.search.generations import spent

TOP = 10  #: cells that are shown
NEARLY_ALL = 0.97  #: of a budget: whatever else is left has a reason that is told


@dataclass(frozen=True)
class Search:
    """A search and what came of it."""

    study: StoredStudy
    results: Sequence[Result]
    means: Mapping[int, float]  #: of the cells that are compared
    best: int | None


def lines(search: Search) -> list[str]:
    """Return a line for each of the best cells, best first; of finalists the mean over more seeds."""
    experiment, best = search.study.experiment, search.best
    header = ["cell", *experiment.parameters, "updates", "seeds", "validation accuracy"]
    rows = [header]
    for cell in best_first(search)[:TOP]:
        own, n = experiment.cells[cell], experiment.replicates_of(cell)
        value = of_all_seeds([r for r in search.results if r.slot.cell == cell], n)
        mark = "  best" if best == cell else ""
        shown = [short(v) if isinstance(v, float) else str(v) for v in own.values()]
        mine = [r for r in search.results if r.slot.cell == cell and r.slot.replicate == 0]
        is_cut = any(r.outcome == Outcome.PRUNED for r in mine)
        n_updates = mine[0].n_updates if is_cut else experiment.recipe(cell).n_updates
        rows.append([str(cell), *shown, str(n_updates), str(n), value + mark])
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    told = []
    for row in rows:
        start = "  ".join(text.rjust(width) for text, width in zip(row[:-1], widths, strict=False))
        told.append(f"{start}  {row[-1]}")
    n_more = len(experiment.cells) - TOP
    if n_more > 0:
        told.append(f"and {n_more} more: `hpo export {search.study.name} --format csv-trials`")
    if best is not None:
        told.append(f"Best: {parameters(experiment, best)}")
    return [*told, *tie(search.means, best), *_rest(search)]


def tie(means: Mapping[int, float], best: int | None) -> list[str]:
    """Return that the best cell is so by its number alone, if it is.

    >>> tie({0: 0.5, 1: 0.9, 2: 0.9, 3: 0.9}, 1)
    ['cells 1, 2 and 3 tie; the first, cell 1, was taken']
    """
    top = means.get(-1 if best is None else best)
    equal = [str(cell) for cell in sorted(means) if means[cell] == top]
    if len(equal) < 2:
        return []
    first = equal[:-1] if len(equal) <= TOP else equal[: TOP - 1]
    last = equal[-1] if len(equal) <= TOP else f"{len(equal) - len(first)} more"
    return [f"cells {', '.join(first)} and {last} tie; the first, cell {equal[0]}, was taken"]


def best_first(search: Search) -> list[int]:
    """Return the cells of a search: the best, those compared with it, and the others as far as they got."""
    best, means = search.best, search.means
    first = {r.slot.cell: r for r in reversed(search.results) if r.slot.replicate == 0}

    def rank(cell: int) -> tuple[bool, bool, float, int, float, int]:
        own = first.get(cell)
        n_updates, value = (own.n_updates, own.value or 0.0) if own else (0, 0.0)
        is_best = best == cell
        got = n_updates // (2 * search.study.experiment.recipe(cell).n_s)
        return not is_best, cell not in means, -means.get(cell, 0.0), -got, -value, cell

    return sorted(range(len(search.study.experiment.cells)), key=rank)


def _rest(search: Search) -> list[str]:
    """Return why a search that is over has spent less than nearly all of its budget."""
    space, state = search.study.experiment.definition.space, search.study.experiment.search
    if space is None or state is None or not state.is_over:
        return []
    left = space.budget - spent(search.study.experiment, search.results)
    if left <= (1 - NEARLY_ALL) * space.budget:
        return []
    more = "round of the finalists" if state.finalists else "cell that was proposed"
    return [f"{left:,} updates are left: each further {more} would cost more."]


def of_all_seeds(results: list[Result], n_replicates: int) -> str:
    """Return the mean over the seeds that are done, or that one of them diverged."""
    values = [r.value for r in results if r.outcome == Outcome.COMPLETE and r.value is not None]
    if len(results) == 1 and results[0].outcome == Outcome.PRUNED:
        return value_of(results[0])
    if len(values) < len(results):
        return next(r.outcome for r in results if r.outcome != Outcome.COMPLETE)
    if not values:
        return "-"
    mean = f"{math.fsum(values) / len(values):.4f}"
    return (
        mean if len(values) == n_replicates else f"{mean}  ({len(values)} of {n_replicates} seeds)"
    )


def value_of(result: Result | None) -> str:
    """Return what a training came to in words, or - where it has not ended."""
    if result is None:
        return "-"
    if result.outcome == Outcome.PRUNED and result.value is None:
        return "pruned with its cell" if result.slot.replicate else "pruned without a value"
    shown = result.outcome if result.value is None else f"{result.value:.4f}"
    after = f" after cycle {result.cycles}" if result.cycles else ""
    return f"{shown}  pruned{after}" if result.outcome == Outcome.PRUNED else shown
