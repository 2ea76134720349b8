"""What the pictures of a grid show, from its rows: accuracy against lambda, and what was spent."""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hpo.database import outcomes, rows
from hpo.errors import HpoError
from hpo.experiment.records import Outcome, Slot, StoredStudy
from hpo.judging import comparisons, many, statistics
from hpo.judging.ranking import compared
from hpo.search import cut
from hpo.views import lambda_plots, report, spending
from hpo.views.subject import Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def of_lambda(subject: Subject) -> "Figure | None":
    """Draw accuracy against lambda, with the coarser or finer study on the same images beside it."""
    experiment = subject.study.experiment
    if len(experiment.lambdas) < 2:
        return None
    mine = grid_of(subject)
    grids = [mine]
    what, (coarser, finer) = "accuracy against λ", _beside(subject)
    if coarser is not None:
        grids, what = [coarser, mine], f"{what}, with {coarser.name}"
    elif finer is not None:
        grids, what = [mine, finer], f"{what}, with {finer.name}"
    how = experiment.definition.train_metrics
    told = "" if how == "full" else f"({how} mean)"
    return lambda_plots.figure_of_lambda(
        grids, title=subject.title(what), training=told, asked=grids.index(mine)
    )


def grid_of(subject: Subject) -> lambda_plots.Grid:
    """Return what a study knows of its lambdas."""
    study, results = subject.study, list(subject.report.results)
    experiment = study.experiment
    seeds: dict[int, list[float]] = {}
    for result in results:
        if result.outcome == Outcome.COMPLETE and result.value is not None:
            seeds.setdefault(result.slot.cell, []).append(result.value)
    losers = cut.cells(experiment, results)
    means, best = subject.report.means, subject.report.best
    diverged = sorted({r.slot.cell for r in results if r.outcome == Outcome.DIVERGED})
    cells, n_replicates = compared(results, experiment)
    judged = [c for c in cells if all(Slot(c, r) in subject.hits for r in range(n_replicates))]
    hits = np.array([[subject.hits[Slot(c, r)] for r in range(n_replicates)] for c in judged])
    intervals, contenders = {}, []
    if judged and experiment.data.n_validation > 1:
        found = {place: statistics.mean_accuracy(hits[place]) for place in few(len(judged))}
        intervals = {judged[place]: (one.low, one.high) for place, one in found.items()}
        contenders = [judged[c] for c in comparisons.contenders(many.of_hits(hits))]
    return lambda_plots.Grid(
        name=study.name,
        lambdas=experiment.lambdas,
        seeds={cell: found for cell, found in seeds.items() if cell not in {*losers, *diverged}},
        means=means,
        intervals=intervals,
        training=_training(subject, list(means)),
        cut={c: (one.cycle, one.value) for c, one in losers.items() if one.value is not None},
        diverged=diverged,
        best=best.slot.cell if best else None,
        contenders=contenders,
        length=f"{experiment.n_updates:,} updates",
    )


def few(n: int) -> list[int]:
    """Return the places of things that are drawn one by one: of many some, evenly chosen."""
    chosen = np.linspace(0, n - 1, min(n, lambda_plots.MANY)).round().astype(int)
    return [int(place) for place in chosen]


def _training(subject: Subject, cells: list[int]) -> dict[int, float]:
    """Return the last accuracy on training images of each cell, a mean over its seeds."""
    found, n = {}, subject.study.experiment.definition.replicates
    ends = outcomes.last_points(subject.connection, subject.study.uuid)
    for cell in cells:
        last = [ends[slot].training_accuracy for r in range(n) if (slot := Slot(cell, r)) in ends]
        if last and None not in last:
            found[cell] = math.fsum(last) / len(last)
    return found


def _beside(subject: Subject) -> tuple[lambda_plots.Grid | None, lambda_plots.Grid | None]:
    """Return the study that this one refines, and the last one that refines it, with results."""
    mine = subject.study
    parent, coarser, finer = mine.experiment.parent, None, None
    for other in rows.all_studies(subject.connection):
        theirs = other.experiment.parent
        is_parent = parent is not None and other.uuid == parent.uuid
        is_child = theirs is not None and theirs.uuid == mine.uuid
        if not (is_parent or is_child) or not _may_stand_beside(mine, other):
            continue
        try:
            told = report.read(subject.connection, other)
            found = grid_of(replace(subject, report=told, asked=None)) if told.results else None
        except HpoError:  # its rows are damaged, which is no fault of this one
            continue
        coarser, finer = (found, finer) if is_parent else (coarser, found or finer)
    return coarser, finer


def _may_stand_beside(mine: StoredStudy, other: StoredStudy) -> bool:
    a, b = mine.experiment, other.experiment
    both_grids = a.search is None and b.search is None and min(len(a.cells), len(b.cells)) > 1
    images = [(x.data.fingerprint, x.data.n_training, x.data.n_validation) for x in (a, b)]
    return both_grids and images[0] == images[1]


def of_spending(subject: Subject) -> "Figure | None":
    """Draw the leading accuracy against updates spent; None where cells are not in step."""
    experiment = subject.study.experiment
    recipes = {(r.n_s, r.n_updates) for r in map(experiment.recipe, range(len(experiment.cells)))}
    if len(experiment.cells) < 2 or len(recipes) > 1 or not subject.curves:
        return None
    curves = {cell: subject.mean_curve(cell) for cell in range(len(experiment.cells))}
    longest = max(subject.curves.values(), key=lambda curve: len(curve.update))
    points, n_slots = list(longest.update), len(experiment.cells) * experiment.definition.replicates
    ends = [curve.update[-1] for curve in subject.curves.values() if len(curve.update)]
    heights = []
    for update in points:
        there = [
            curve.validation["accuracy"][list(curve.update).index(update)]
            for curve in curves.values()
            if curve is not None and update in curve.update
        ]
        known = [value for value in there if value is not None]
        heights.append(max(known, default=math.nan))
    found = spending.Spending(
        spent=[sum(min(end, update) for end in ends) for update in points],
        uncut=[n_slots * update for update in points],
        accuracies=np.array(heights),
    )
    title = subject.title("the cell in the lead, against updates spent")
    return spending.figure_of_spending(found, title=title)
