"""What each kind of picture shows, in words and numbers, for people who do not see it."""

import math
from collections.abc import Callable, Mapping

import numpy as np

from hpo.experiment.records import Slot, parameters, short
from hpo.search import cut
from hpo.views import answer_plots, search_figures
from hpo.views.figures import Values
from hpo.views.report import in_short
from hpo.views.subject import Subject

MOST = 12  #: cells that are told one by one


def of_picture(kind: str, subject: Subject) -> str:
    """Return what a picture of a study shows."""
    told = TOLD[kind](subject) if kind in TOLD else ""
    return told or f"Picture of {subject.study.name}: {kind}."


def _of_cells(subject: Subject) -> str:
    """Return the accuracy of every cell, or of the best of many, and those that were cut."""
    experiment, means = subject.study.experiment, subject.report.means
    best = subject.report.best
    order = sorted(means, key=lambda cell: (-means[cell], cell))
    named = [f"{in_short(experiment, cell)}: {means[cell]:.4f}" for cell in order[:MOST]]
    more = f" and {len(order) - MOST} more" if len(order) > MOST else ""
    told = f"Validation accuracy, best first: {'; '.join(named)}{more}."
    if best is not None:
        told += f" The best is {in_short(experiment, best.slot.cell)}."
    losers = cut.cells(experiment, subject.report.results)
    lost = [
        f"{in_short(experiment, cell)} after cycle {loser.cycle} at {loser.value:.4f}"
        for cell, loser in losers.items()
        if loser.value is not None
    ]
    if lost:
        more = f" and {len(lost) - MOST} more" if len(lost) > MOST else ""
        told += f" Cut: {'; '.join(lost[:MOST])}{more}."
    return told


def _of_lambda(subject: Subject) -> str:
    return f"Accuracy against lambda on a logarithmic axis, with intervals. {_of_cells(subject)}"


def _of_parameters(subject: Subject) -> str:
    names = ", ".join(subject.study.experiment.parameters)
    return f"Accuracy against each of {names}, a dot a cell. {_of_cells(subject)}"


def _of_updates(subject: Subject) -> str:
    made = sum(curve.update[-1] for curve in subject.curves.values() if len(curve.update))
    best = subject.report.best
    end = ""
    if best is not None:
        mean = subject.report.means[best.slot.cell]
        end = f" It ends at {mean:.4f} with {in_short(subject.study.experiment, best.slot.cell)}."
    return (
        f"Accuracy of the cell in the lead against the updates of all cells, {made:,} in all.{end}"
    )


def _of_curves(subject: Subject) -> str:
    experiment = subject.study.experiment
    n_updates = max((c.update[-1] for c in subject.curves.values() if len(c.update)), default=0)
    return (
        f"Validation accuracy and cost of {len(experiment.cells):,} cells over {n_updates:,} updates, "
        f"with the ends of cycles marked. {_of_cells(subject)}"
    )


def _of_rate(subject: Subject) -> str:
    if subject.cell is None:
        return ""
    recipe = subject.study.experiment.recipe(subject.cell)
    return (
        f"The learning rate of cell {subject.cell} rises from {short(recipe.eta_min)} to "
        f"{short(recipe.eta_max)} over {recipe.n_s:,} updates and falls back over as many, "
        f"{recipe.n_cycles} times."
    )


def _of_network(subject: Subject) -> str:
    curve = subject.curves.get(subject.slot or Slot(-1, -1))
    if curve is None or not len(curve.update):
        return ""
    ends = [
        f"{part} {name} {_first(values)} to {_last(values)}"
        for part, measured in (("training", curve.training), ("validation", curve.validation))
        for name, values in measured.items()
    ]
    tested = subject.test_accuracy
    end = "" if tested is None else f" Its test accuracy is {tested:.4f}."
    return (
        f"Curves of {_named(subject)} from update {curve.update[0]:,} to {curve.update[-1]:,}: "
        f"{', '.join(ends)}.{end}"
    )


def _of_first_layer(subject: Subject) -> str:
    if subject.network is None:
        return ""
    names = subject.class_names
    spoken = np.bincount(np.argmax(subject.network.w2, axis=1), minlength=len(names))
    units = ", ".join(f"{names[k]} {n}" for k, n in enumerate(spoken) if n)
    return (
        f"Weights of the {len(subject.network.w2)} hidden units of {_named(subject)} as images. Units by "
        f"the class that each speaks for: {units}."
    )


def _of_importances(subject: Subject) -> str:
    shares, what, n = search_figures.importances_of(subject)
    told = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    return f"Share of the differences in {what} that each parameter explains, {n} cells: {told}."


def _of_contour(subject: Subject) -> str:
    best = subject.report.best
    if best is None:
        return ""
    told = parameters(subject.study.experiment, best.slot.cell)
    return (
        "Map of the accuracy over the two numbers that explain most of it, with a dot for each cell "
        f"and a star for the best: {told}."
    )


def _answers(subject: Subject) -> answer_plots.Answers | None:
    found = subject.answers
    if found is None:
        return None
    dataset, probabilities = found
    return answer_plots.Answers(dataset.labels, probabilities, subject.class_names)


def _of_confusion(subject: Subject) -> str:
    answers = _answers(subject)
    if answers is None:
        return ""
    k = len(answers.names)
    counts = np.zeros((k, k), dtype=int)
    np.add.at(counts, (answers.labels, answers.chosen), 1)
    right = int(np.trace(counts))
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:5]
    pairs = [
        f"{answers.names[i // k]} taken for {answers.names[i % k]} ({counts.flat[i]} times)"
        for i in map(int, order)
        if counts.flat[i]
    ]
    told = f" Most confused: {', '.join(pairs)}." if pairs else ""
    return (
        f"How {_named(subject)} classifies {len(answers.labels):,} validation images by their class: "
        f"{right:,} rightly.{told}"
    )


def _of_classes(subject: Subject) -> str:
    answers = _answers(subject)
    if answers is None:
        return ""
    shares = {
        name: float(answers.hits[answers.labels == place].mean())
        for place, name in enumerate(answers.names)
        if (answers.labels == place).any()
    }
    order = sorted(shares, key=lambda name: -shares[name])
    told = ", ".join(f"{name} {shares[name]:.2f}" for name in order)
    return f"Validation accuracy of {_named(subject)} by class, with intervals: {told}."


def _of_mistakes(subject: Subject) -> str:
    answers = _answers(subject)
    if answers is None:
        return ""
    wrong, sure = np.flatnonzero(~answers.hits), answers.probabilities.max(axis=1)
    shown = wrong[np.argsort(-sure[wrong], kind="stable")][: answer_plots.MISTAKES]
    told = [
        f"{answers.names[answers.labels[i]]} taken for {answers.names[answers.chosen[i]]} "
        f"({sure[i]:.2f})"
        for i in shown[:5]
    ]
    return (
        f"The {len(shown)} validation images that {_named(subject)} was surest of and wrong about; first "
        f"{', '.join(told)}."
    )


def _of_calibration(subject: Subject) -> str:
    answers = _answers(subject)
    if answers is None:
        return ""
    sure = float(answers.probabilities.max(axis=1).mean())
    return (
        f"How often {_named(subject)} is right against how sure it is: {sure:.2f} sure and "
        f"{float(answers.hits.mean()):.2f} right on average over {len(answers.labels):,} validation images."
    )


def _named(subject: Subject) -> str:
    if subject.slot is None:
        return "the network"
    return f"the network of cell {subject.slot.cell}, seed {subject.slot.replicate}"


def _first(values: Values) -> str:
    return _number(values[0] if len(values) else None)


def _last(values: Values) -> str:
    return _number(values[-1] if len(values) else None)


def _number(value: float | None) -> str:
    return "none" if value is None or not math.isfinite(value) else short(value)


TOLD: Mapping[str, Callable[[Subject], str]] = {
    "lambda": _of_lambda,
    "parameters": _of_parameters,
    "updates": _of_updates,
    "importances": _of_importances,
    "contour": _of_contour,
    "curves": _of_curves,
    "learning-rate": _of_rate,
    "network": _of_network,
    "first-layer": _of_first_layer,
    "confusion": _of_confusion,
    "classes": _of_classes,
    "mistakes": _of_mistakes,
    "calibration": _of_calibration,
}
