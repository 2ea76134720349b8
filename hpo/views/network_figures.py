"""What the pictures of networks show: curves, learning rate, first layer, answers."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from hpo.experiment.records import Outcome, short
from hpo.views import answer_plots, plots
from hpo.views.grid_figures import few
from hpo.views.subject import Subject
from model.schedule import Cyclic, Schedule

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def of_cells(subject: Subject) -> "Figure | None":
    """Draw the curves of every cell, means over its seeds; None for a single one."""
    experiment, is_grid = subject.study.experiment, subject.study.experiment.search is None
    begun = sorted({slot.cell for slot in subject.curves})
    best, shown = subject.report.best, {begun[place] for place in few(len(begun))}
    if best is not None:
        shown |= {best.slot.cell} & set(begun)
    found = {cell: subject.mean_curve(cell) for cell in sorted(shown)}
    drawn = {cell: curve for cell, curve in found.items() if curve is not None}
    if len(drawn) < 2:
        return None
    cells = list(drawn)
    which = "every cell" if len(cells) == len(begun) else f"{len(cells)} of {len(begun):,} cells"
    ends = {tuple(_ends_of(subject, cell)) for cell in cells}
    lost = {r.slot.cell for r in subject.report.results if r.outcome == Outcome.PRUNED}
    labels = [
        (f"λ = {short(experiment.lambdas[c])}" if is_grid else f"cell {c}")
        + (", cut" if c in lost else ", best" if best and c == best.slot.cell else "")
        for c in cells
    ]
    return plots.figure_of_study_curves(
        list(drawn.values()),
        labels,
        title=subject.title(f"{which}, in validation accuracy and cost"),
        cycle_ends=ends.pop() if len(ends) == 1 else (),
        best=cells.index(best.slot.cell) if best and best.slot.cell in drawn else None,
        cut={cells.index(cell) for cell in lost if cell in drawn},
    )


def of_learning_rate(subject: Subject) -> "Figure | None":
    """Draw the learning rate of the cell; None where there is no curve to go with it."""
    if subject.slot is None or not subject.curves:
        return None
    schedule, n_updates = _schedule(subject, subject.slot.cell)
    return of_rate(schedule, n_updates, subject.title_of_network("learning rate"))


def of_network(subject: Subject) -> "Figure | None":
    """Draw the curves of the one network, with its own test accuracy."""
    if subject.slot is None or subject.slot not in subject.curves:
        return None
    return plots.figure_of_curves(
        subject.curves[subject.slot],
        title=subject.title_of_network("curves"),
        cycle_ends=_ends_of(subject, subject.slot.cell),
        test_accuracy=subject.test_accuracy,
        training_label=f"training ({subject.study.experiment.definition.train_metrics})",
    )


def of_first_layer(subject: Subject) -> "Figure | None":
    """Draw the weights of the one network, with the class that each unit speaks for."""
    network = subject.network
    if network is None:
        return None
    names = subject.class_names
    return plots.figure_of_first_layer(
        network.w1,
        subject.study.experiment.data.image_shape,
        title=subject.title_of_network("first layer"),
        classes=[names[k] for k in np.argmax(network.w2, axis=1)],
    )


def of_answers(
    what: str, draw: Callable[..., "Figure | None"], subject: Subject, *, with_images: bool = False
) -> "Figure | None":
    """Draw what the one network answers on validation images; None where they are not at hand.

    Args:
        with_images: Whether the picture shows the images themselves.
    """
    found = subject.answers
    if found is None:
        return None
    dataset, probabilities = found
    answers = answer_plots.Answers(dataset.labels, probabilities, subject.class_names)
    title = subject.title_of_network(what)
    if not with_images:
        return draw(answers, title=title)
    pictures = plots.as_images(dataset.images, dataset.image_shape)
    return None if pictures is None else draw(answers, pictures, title=title)


def _schedule(subject: Subject, cell: int) -> tuple[Cyclic, int]:
    experiment = subject.study.experiment
    recipe = experiment.recipe(cell)
    return Cyclic(eta_min=recipe.eta_min, eta_max=recipe.eta_max, n_s=recipe.n_s), recipe.n_updates


def _ends_of(subject: Subject, cell: int) -> list[int]:
    return cycle_ends(*_schedule(subject, cell))


def cycle_ends(schedule: Schedule, n_updates: int) -> list[int]:
    """Return after how many updates cycles end; none of a static schedule."""
    if not isinstance(schedule, Cyclic):
        return []
    return list(range(2 * schedule.n_s, n_updates + 1, 2 * schedule.n_s))


def of_rate(schedule: Schedule, n_updates: int, title: str) -> "Figure | None":
    """Draw a learning rate; None for a static one."""
    if not isinstance(schedule, Cyclic):
        return None
    return plots.figure_of_learning_rate(
        [schedule.rate(u) for u in range(n_updates)],
        eta_min=schedule.eta_min,
        eta_max=schedule.eta_max,
        title=title,
        cycle_ends=cycle_ends(schedule, n_updates),
    )
