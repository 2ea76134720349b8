"""Which pictures a training or a study gets, and from what; `hpo.plots` draws them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row

from hpo import held_out, plots, rows, tables
from hpo.errors import NoResult
from hpo.report import read
from hpo.single import Trained
from hpo.tables import StoredStudy
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
    """Draw a study: accuracy against lambda, all cells, and the best one in full.

    Raises:
        NoResult: No cell has a result yet.
    """
    report = read(connection, study)
    if not report.results:
        raise NoResult(f"{study.name!r} has no results to draw yet. Run it first.")
    experiment = study.experiment
    name, lambdas = study.name, experiment.lambdas
    first = {r.slot.cell: r for r in report.results if r.slot.replicate == 0}
    best = report.best
    written = []
    if len(lambdas) > 1:
        written.append(folder / "accuracy-against-lambda.png")
        plots.save_accuracy_against_lambda(
            written[-1],
            lambdas,
            [first[c].value if c in first else None for c in range(len(lambdas))],
            title=f"{name}: validation accuracy of every cell",
            best=best.slot.cell if best else None,
            logarithmic=min(lambdas) > 0 and max(lambdas) >= 100 * min(lambdas),
            diverged=[c in first and first[c].value is None for c in range(len(lambdas))],
        )
    schedule = Cyclic(
        eta_min=experiment.definition.eta_min,
        eta_max=experiment.definition.eta_max,
        n_s=experiment.n_s,
    )
    ends = _cycle_ends(schedule, experiment.n_updates)
    curves = {
        slot.cell: _curve(rows)
        for slot, rows in rows.curves_of(connection, study.uuid).items()
        if slot.replicate == 0
    }
    if len(curves) > 1:
        written.append(folder / "cells.png")
        labels = [f"lambda {lambdas[cell]:.4g}" for cell in curves]
        plots.save_study_curves(
            written[-1], list(curves.values()), labels, title=name, cycle_ends=ends
        )
    written += _learning_rate(folder, schedule, experiment.n_updates, ends)
    if best is not None:
        cell = best.slot.cell
        title = f"{name}, cell {cell}: lambda {lambdas[cell]:.6g}"
        written.append(folder / "best-curves.png")
        plots.save_curves(
            written[-1],
            curves[cell],
            title=title,
            cycle_ends=ends,
            test_accuracy=report.test_accuracy,
            training_label=f"training ({experiment.definition.train_metrics})",
        )
        weights = held_out.final_network(connection, study, best.slot).w1
        path = folder / "best-first-layer.png"
        if plots.save_first_layer(path, weights, experiment.data.image_shape, title=title):
            written.append(path)
    return written


def _curve(rows: Sequence[Row[Any]]) -> plots.Curve:
    def part(name: str) -> dict[str, list[float | None]]:
        return {m: [getattr(row, f"{name}_{m}") for row in rows] for m in tables.MEASURES}

    return plots.Curve([row.n_updates for row in rows], part("training"), part("validation"))


def _cycle_ends(schedule: Schedule, n_updates: int) -> list[int]:
    if not isinstance(schedule, Cyclic):
        return []
    return [u for u in range(1, n_updates + 1) if schedule.cycle_end(u) is not None]


def _learning_rate(
    folder: Path, schedule: Schedule, n_updates: int, ends: Sequence[int]
) -> list[Path]:
    if not isinstance(schedule, Cyclic):
        return []
    path = folder / "learning-rate.png"
    plots.save_learning_rate(
        path,
        [schedule.rate(u) for u in range(n_updates)],
        eta_min=schedule.eta_min,
        eta_max=schedule.eta_max,
        title="Learning rate",
        cycle_ends=ends,
    )
    return [path]
