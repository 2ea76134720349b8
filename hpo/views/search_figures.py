"""What the pictures of a searched space show, from its rows."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from hpo.definition.ranges import Dimension, Value
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Outcome, Result
from hpo.judging.ranking import base_means, compared
from hpo.search import cut
from hpo.search.importances import importances
from hpo.views import landscape, search_plots
from hpo.views.subject import Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def of_parameters(subject: Subject) -> "Figure":
    """Draw accuracy against every parameter, with every seed."""
    title = subject.title("accuracy against every parameter")
    return search_plots.figure_of_parameters(_search(subject), title=title)


def of_spending(subject: Subject) -> "Figure":
    """Draw accuracy against updates spent, cell by cell as they were proposed."""
    title = subject.title("accuracy against updates spent")
    return search_plots.figure_of_progress(_search(subject), title=title)


def of_importances(subject: Subject) -> "Figure | None":
    """Draw what each parameter explains of the accuracy; None for too few cells."""
    shares, what, n = importances_of(subject)
    title = subject.title(f"importances for the {what}, {n} cells")
    return landscape.figure_of_importances(shares, title=title)


def of_contour(subject: Subject) -> "Figure | None":
    """Draw accuracy over the two numbers that explain most; None for too few cells or numbers."""
    experiment = subject.study.experiment
    known, what = _comparable(subject)
    shares, _, n = importances_of(subject)
    dimensions = _dimensions(experiment)
    order = sorted(dimensions, key=lambda name: -shares.get(name, 0))
    best = subject.report.best
    return landscape.figure_of_contour(
        {name: dimensions[name] for name in order},
        [experiment.cells[cell] for cell in known],
        list(known.values()),
        title=subject.title(f"{what} over two parameters, {n} cells"),
        what=what,
        best=experiment.cells[best.slot.cell] if best else None,
    )


def importances_of(subject: Subject) -> tuple[Mapping[str, float], str, int]:
    """Return the share of each parameter, of what it is one, and over how many cells."""
    known, what = _comparable(subject)
    experiment = subject.study.experiment
    cells: list[Mapping[str, Value]] = [experiment.cells[cell] for cell in known]
    return importances(_dimensions(experiment), cells, list(known.values())), what, len(known)


def _dimensions(experiment: Experiment) -> dict[str, Dimension]:
    space = experiment.definition.space
    found = space.dimensions(experiment.per_epoch) if space else {}
    return {name: kind for name, kind in found.items() if name in experiment.parameters}


def _comparable(subject: Subject) -> tuple[dict[int, float], str]:
    """Return the accuracy of every cell at one moment that all had, and which moment that is.

    Cells that were cut have no value at the end, and those that went on were chosen: where some were
    cut, all are compared at the end of their first cycle.
    """
    experiment = subject.study.experiment
    base = experiment.definition.replicates
    first = [r for r in subject.report.results if r.slot.replicate < base]
    if not any(r.outcome == Outcome.PRUNED for r in first):
        return base_means(first, experiment), "accuracy at the end"
    found = {}
    for cell in range(len(experiment.cells)):
        curve, end = subject.mean_curve(cell), 2 * experiment.recipe(cell).n_s
        if curve is None or end not in curve.update:
            continue
        value = curve.validation["accuracy"][list(curve.update).index(end)]
        if value is not None and math.isfinite(value):
            found[cell] = float(value)
    return found, "accuracy after the first cycle"


def _search(subject: Subject) -> search_plots.Search:
    """Return what the search has tried."""
    report = subject.report
    experiment, results = report.study.experiment, list(report.results)
    n_base, (_, n_seeds) = experiment.definition.replicates, compared(results, experiment)
    means, cells = base_means(results, experiment), range(len(experiment.cells))
    first = [r for r in results if r.slot.replicate < n_base]
    losers = cut.cells(experiment, first)
    seeds: dict[int, list[float]] = {}
    for result in results:
        if result.outcome == Outcome.COMPLETE and result.value is not None:
            seeds.setdefault(result.slot.cell, []).append(result.value)
    return search_plots.Search(
        dimensions=_dimensions(experiment),
        cells=experiment.cells,
        n_seeds=n_base,
        n_updates=[_made(experiment, cell, first) for cell in cells],
        accuracies=[means.get(cell) for cell in cells],
        cut={c: loser.value for c, loser in losers.items() if loser.value is not None},
        diverged={r.slot.cell for r in first if r.outcome == Outcome.DIVERGED},
        n_final_seeds=n_seeds,
        finals=report.means if n_seeds > n_base else {},
        seeds={cell: found for cell, found in seeds.items() if len(found) > 1},
        best=report.best.slot.cell if report.best else None,
        sizes=[len(generation) for generation in experiment.generations],
    )


def _made(experiment: Experiment, cell: int, results: list[Result]) -> int:
    """Return the updates of a cell: those of its whole length unless it was cut."""
    whole = experiment.definition.replicates * experiment.recipe(cell).n_updates
    mine = [r for r in results if r.slot.cell == cell]
    is_cut = any(r.outcome == Outcome.PRUNED for r in mine)
    return sum(r.n_updates for r in mine) if is_cut else whole
