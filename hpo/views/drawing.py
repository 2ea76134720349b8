"""Which pictures a training or a study gets, and from what.

`hpo.views.plots` and `hpo.views.search_plots` draw them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hpo.database import checkpoints, outcomes, tables
from hpo.database.connections import Connection, Row
from hpo.definition.spaces import Space
from hpo.errors import NoResult
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Outcome, Result, Slot, StoredStudy, parameters
from hpo.held_out import looking
from hpo.judging.ranking import base_means, compared
from hpo.search import cut
from hpo.training.single import Trained
from hpo.views import plots, search_plots
from hpo.views.report import StudyReport, read
from model.data import Dataset
from model.schedule import Cyclic, Schedule


def of_training(trained: Trained, training: Dataset, folder: Path) -> list[Path]:
    """Draw a single training: curves, learning rate, first layer."""
    evaluations = trained.evaluations
    measured = {
        part: {
            m: [float(getattr(getattr(e, part), m)[0]) for e in evaluations]
            for m in tables.MEASURES
        }
        for part in ("training", "validation")
    }
    curve = plots.Curve(
        [e.update for e in evaluations], measured["training"], measured["validation"]
    )
    config = trained.config
    ends = _cycle_ends(config.schedule, config.n_updates)
    title = f"lambda {config.lambda_:g}, {config.n_updates} updates"
    written = [folder / "curves.png"]
    plots.save_curves(written[0], curve, title=title, cycle_ends=ends)
    written += _learning_rate(folder, config.schedule, config.n_updates, ends)
    if trained.network is not None:
        path = folder / "first-layer.png"
        if plots.save_first_layer(path, trained.network.w1, training.image_shape, title=title):
            written.append(path)
    return written


def of_study(connection: Connection, study: StoredStudy, folder: Path) -> list[Path]:
    """Draw a study: accuracy against what is searched, all cells, and the best one in full.

    Of cells that an objective of the user's own evaluated there are values, and no curves.

    Raises:
        NoResult: There is nothing to draw.
    """
    report = read(connection, study)
    if not report.results:
        raise NoResult(f"{study.name!r} has no results to draw yet. Run it first.")
    experiment, best = study.experiment, report.best
    space = experiment.definition.space
    written = _of_space(report, space, folder) if space else _of_grid(report, folder)
    recipe = experiment.recipe(best.slot.cell if best else 0)
    schedule = Cyclic(eta_min=recipe.eta_min, eta_max=recipe.eta_max, n_s=recipe.n_s)
    ends = _cycle_ends(schedule, recipe.n_updates)
    curves = {slot: _curve(r) for slot, r in outcomes.curves_of(connection, study.uuid).items()}
    first = {slot.cell: curve for slot, curve in curves.items() if slot.replicate == 0}
    if space is None and len(first) > 1:
        written.append(folder / "cells.png")
        labels = [f"lambda {experiment.lambdas[cell]:.4g}" for cell in first]
        plots.save_study_curves(
            written[-1], list(first.values()), labels, title=study.name, cycle_ends=ends
        )
    if curves and space is None:
        written += _learning_rate(folder, schedule, recipe.n_updates, ends)
    elif curves and best is not None:
        title = f"Learning rate of cell {best.slot.cell}"
        written += _learning_rate(folder, schedule, recipe.n_updates, ends, title)
    shown = None if best is None else best.slot if space else Slot(best.slot.cell, 0)
    if best is not None and shown in curves:
        written.append(folder / "best-curves.png")
        plots.save_curves(
            written[-1],
            curves[shown],
            title=_title(study, shown),
            cycle_ends=ends,
            test_accuracy=report.test_accuracy,
            training_label=f"training ({experiment.definition.train_metrics})",
        )
        written += _first_layer(connection, report, best, folder)
    if not written:
        raise NoResult(
            f"{study.name!r} has nothing to draw: a single cell, without a curve, because an objective "
            "of somebody's own evaluated it."
        )
    return written


def _of_grid(report: StudyReport, folder: Path) -> list[Path]:
    """Draw accuracy against lambda, if there are several."""
    lambdas, best = report.study.experiment.lambdas, report.best
    if len(lambdas) < 2:
        return []
    first = {r.slot.cell: r for r in report.results if r.slot.replicate == 0}
    path = folder / "accuracy-against-lambda.png"
    plots.save_accuracy_against_lambda(
        path,
        lambdas,
        [first[c].value if c in first else None for c in range(len(lambdas))],
        title=f"{report.study.name}: validation accuracy of every cell",
        best=best.slot.cell if best else None,
        logarithmic=min(lambdas) > 0 and max(lambdas) >= 100 * min(lambdas),
        diverged=[c in first and first[c].outcome == Outcome.DIVERGED for c in range(len(lambdas))],
    )
    return [path]


def _of_space(report: StudyReport, space: Space, folder: Path) -> list[Path]:
    """Draw accuracy against every parameter, and how the search went on."""
    experiment, results = report.study.experiment, list(report.results)
    n_base, (_, n_seeds) = experiment.definition.replicates, compared(results, experiment)
    means, cells = base_means(results, experiment), range(len(experiment.cells))
    first = [r for r in results if r.slot.replicate < n_base]
    losers = cut.cells(experiment, first)
    search = search_plots.Search(
        dimensions=space.dimensions(experiment.per_epoch),
        cells=experiment.cells,
        n_seeds=n_base,
        n_updates=[_made(experiment, cell, first) for cell in cells],
        accuracies=[means.get(cell) for cell in cells],
        cut={c: loser.value for c, loser in losers.items() if loser.value is not None},
        diverged={r.slot.cell for r in first if r.outcome == Outcome.DIVERGED},
        n_final_seeds=n_seeds,
        finals=report.means if n_seeds > n_base else {},
        best=report.best.slot.cell if report.best else None,
        sizes=[len(generation) for generation in experiment.generations],
    )
    written = [folder / "parameters.png", folder / "progress.png"]
    name = report.study.name
    search_plots.save_parameters(
        written[0], search, title=f"{name}: validation accuracy of every cell"
    )
    search_plots.save_progress(written[1], search, title=f"{name}: the course of the search")
    return written


def _made(experiment: Experiment, cell: int, results: list[Result]) -> int:
    """Return the updates of a cell: those of its whole length unless it was cut."""
    whole = experiment.definition.replicates * experiment.recipe(cell).n_updates
    mine = [r for r in results if r.slot.cell == cell]
    is_cut = any(r.outcome == Outcome.PRUNED for r in mine)
    return sum(r.n_updates for r in mine) if is_cut else whole


def _first_layer(
    connection: Connection, report: StudyReport, best: Result, folder: Path
) -> list[Path]:
    """Draw the weights of the best cell: those of its best seed, or of the first that has some."""
    study, path = report.study, folder / "best-first-layer.png"
    others = [r for r in report.results if r.slot.cell == best.slot.cell and r != best]
    for result in (best, *others):
        try:
            weights = looking.final_network(connection, study, result.slot).w1
        except checkpoints.Damaged:  # which is no reason to look elsewhere
            raise
        except NoResult:  # only those of the best few are kept
            continue
        image_shape, title = study.experiment.data.image_shape, _title(study, result.slot)
        return [path] if plots.save_first_layer(path, weights, image_shape, title=title) else []
    return []


def _title(study: StoredStudy, slot: Slot) -> str:
    """Name a network: its study, cell and parameters, and its replicate where that is a choice."""
    experiment = study.experiment
    several = experiment.search is not None and experiment.replicates > 1
    seed = f", replicate {slot.replicate}" if several else ""
    return f"{study.name}, cell {slot.cell}{seed}: {parameters(experiment, slot.cell)}"


def _curve(rows: Sequence[Row[Any]]) -> plots.Curve:
    def part(name: str) -> dict[str, list[float | None]]:
        return {m: [getattr(row, f"{name}_{m}") for row in rows] for m in tables.MEASURES}

    return plots.Curve([row.n_updates for row in rows], part("training"), part("validation"))


def _cycle_ends(schedule: Schedule, n_updates: int) -> list[int]:
    if not isinstance(schedule, Cyclic):
        return []
    return [u for u in range(1, n_updates + 1) if schedule.cycle_end(u) is not None]


def _learning_rate(
    folder: Path,
    schedule: Schedule,
    n_updates: int,
    ends: Sequence[int],
    title: str = "Learning rate",
) -> list[Path]:
    if not isinstance(schedule, Cyclic):
        return []
    path = folder / "learning-rate.png"
    plots.save_learning_rate(
        path,
        [schedule.rate(u) for u in range(n_updates)],
        eta_min=schedule.eta_min,
        eta_max=schedule.eta_max,
        title=title,
        cycle_ends=ends,
    )
    return [path]
