"""Which pictures a training or a study gets, by kind.

What they show comes from `hpo.views.subject` and its neighbours; how they look is in the modules
whose names end in ``plots``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hpo.database import checkpoints, tables
from hpo.database.connections import Connection
from hpo.errors import DamagedRow, HpoError, NoResult
from hpo.experiment.records import StoredStudy, short
from hpo.training.single import Trained
from hpo.views import (
    answer_plots,
    figures,
    grid_figures,
    network_figures,
    plots,
    search_figures,
)
from hpo.views.report import read
from hpo.views.subject import Subject
from model.data import Dataset
from model.errors import ModelError
from model.schedule import Cyclic, Schedule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Notify = Callable[[str], None]
Images = Callable[[], Dataset]


def of_training(trained: Trained, training: Dataset, folder: Path) -> list[Path]:
    """Draw a single training: curves, learning rate, accuracy against the rate, first layer."""
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
    config, network = trained.config, trained.network
    ends = network_figures.cycle_ends(config.schedule, config.n_updates)
    title = f"lambda {short(config.lambda_)}, {config.n_updates:,} updates, {training.name}"
    told: dict[str, figures.Draw] = {
        "curves": lambda: plots.figure_of_curves(curve, title=title, cycle_ends=ends),
        "learning-rate": lambda: network_figures.of_rate(
            config.schedule, config.n_updates, f"learning rate\n{title}"
        ),
        "rate-range": lambda: _range(
            config.schedule, curve, f"accuracy as the rate rises\n{title}"
        ),
    }
    if network is not None:
        told["first-layer"] = lambda: plots.figure_of_first_layer(
            network.w1, training.image_shape, title=title
        )
    paths = {folder / f"{name}.png": draw for name, draw in told.items()}
    return [path for path, draw in paths.items() if figures.save(path, draw)]


@dataclass(frozen=True)
class Kind:
    """A kind of picture."""

    shows: str
    draw: Callable[[Subject], "Figure | None"]
    #: Whether a study gets it without asking.
    is_for: Callable[[StoredStudy], bool]
    #: Whether the images of the study are needed.
    needs_images: bool = False
    #: Whether there must be two cells or more.
    several: bool = False


def of_study(
    connection: Connection,
    study: StoredStudy,
    folder: Path,
    *,
    kind: str | None = None,
    cell: int | None = None,
    form: str = "png",
    images: Images | None = None,
    notify: Notify = lambda _: None,
) -> list[Path]:
    """Draw a study into a folder: all that suits it, or one kind of picture; return the files.

    Args:
        cell: Whose network is shown, instead of the best one's.
        form: One of `hpo.views.figures.FORMATS`.
        images: Finds the training images, for the pictures that need them.
        notify: Is told why a picture is left out.

    Raises:
        NoResult: There is nothing to draw.
        HpoError: There is no such kind, cell or format.
    """
    if form not in figures.FORMATS:
        known = ", ".join(figures.FORMATS)
        raise HpoError(f"There is no picture format {form!r}; choose one of {known}.")
    subject = _subject(connection, study, cell, images)
    written = []
    for name, draw in _chosen(subject, kind, notify):
        path = folder / f"{name}.{form}"
        if figures.save(path, draw):
            written.append(path)
    if not written:
        raise _nothing(study, kind)
    return written


def pictures_of(subject: Subject, notify: Notify) -> Iterator[tuple[str, bytes]]:
    """Yield kind and PNG of all that suits a study.

    Args:
        notify: Is told why a picture is left out.
    """
    for name, draw in _chosen(subject, None, notify):
        content = figures.picture(draw, "png")
        if content is not None:
            yield name, content


def picture_of_study(
    connection: Connection, study: StoredStudy, kind: str, images: Images | None = None
) -> bytes:
    """Return one picture of a study as a PNG; arguments and errors as in `figure_of_study`."""
    content = figures.picture(lambda: figure_of_study(connection, study, kind, None, images), "png")
    return content or b""


def figure_of_study(
    connection: Connection,
    study: StoredStudy,
    kind: str,
    cell: int | None = None,
    images: Images | None = None,
) -> "Figure":
    """Return one picture of a study as a matplotlib Figure.

    Raises:
        NoResult: There is nothing to draw.
        HpoError: There is no such kind or cell.
    """
    subject = _subject(connection, study, cell, images)
    for _, draw in _chosen(subject, kind, lambda _: None):
        figure = figures.drawn(draw)
        if figure is not None:
            return figure
    raise _nothing(study, kind)


def _subject(
    connection: Connection, study: StoredStudy, cell: int | None, images: Images | None
) -> Subject:
    n = len(study.experiment.cells)
    if cell is not None and not 0 <= cell < n:
        there = "0 alone" if n == 1 else f"0 to {n - 1}"
        raise HpoError(f"{study.name!r} has no cell {cell}; it has {there}.")
    report = read(connection, study)
    if not report.results:
        raise NoResult(f"{study.name!r} has no results to draw yet. Run it first.")
    return Subject(connection, report, cell, images)


def _chosen(
    subject: Subject, kind: str | None, notify: Notify
) -> Iterator[tuple[str, figures.Draw]]:
    """Yield the pictures that are asked for; what they lack is told, or raised for a single one."""
    if kind is not None and kind not in KINDS:
        raise HpoError(f"There is no picture {kind!r}; choose one of {', '.join(KINDS)}.")
    names = [kind] if kind else [n for n, one in KINDS.items() if one.is_for(subject.study)]
    told: set[str] = set()
    for name in names:
        yield name, partial(_drawn, subject, KINDS[name], kind is None, told, notify)


def _drawn(
    subject: Subject, kind: Kind, is_optional: bool, told: set[str], notify: Notify
) -> "Figure | None":
    if kind.needs_images and subject.images is None:
        return None
    try:
        return kind.draw(subject)
    except (checkpoints.Damaged, DamagedRow):
        raise
    except (HpoError, ModelError) as error:
        if not is_optional:
            raise
        if str(error) not in told:
            told.add(str(error))
            notify(f"A picture is left out. {error}")
        return None


def _nothing(study: StoredStudy, kind: str | None) -> NoResult:
    if kind is not None:
        return NoResult(f"{study.name!r} has nothing to draw as {kind!r}: {KINDS[kind].shows}.")
    return NoResult(
        f"{study.name!r} has nothing to draw: a single cell, without a curve, because an objective "
        "of somebody's own evaluated it."
    )


def _range(schedule: Schedule, curve: plots.Curve, title: str) -> "Figure | None":
    """Draw the first half cycle of a training against its rate: a learning-rate range test."""
    if not isinstance(schedule, Cyclic):
        return None
    rising = [i for i, update in enumerate(curve.update) if update <= schedule.n_s]
    rates = [schedule.rate(curve.update[i]) for i in rising]
    if len(rates) < 3:
        return None
    return plots.figure_of_rate_range(rates, curve, title=title)


def _is_grid(study: StoredStudy) -> bool:
    return study.experiment.definition.space is None


def _is_space(study: StoredStudy) -> bool:
    return study.experiment.definition.space is not None


def _is_final(study: StoredStudy) -> bool:
    return study.experiment.definition.evaluates_test


def _every(_: StoredStudy) -> bool:
    return True


def _spending(subject: Subject) -> "Figure | None":
    if _is_space(subject.study):
        return search_figures.of_spending(subject)
    return grid_figures.of_spending(subject)


def _answering(
    shows: str, what: str, draw: Callable[..., "Figure | None"], *, with_images: bool = False
) -> Kind:
    """Return a kind that shows what a final network answers to the validation images."""
    drawn = partial(network_figures.of_answers, what, draw, with_images=with_images)
    return Kind(shows, drawn, _is_final, needs_images=True)


KINDS = {
    "lambda": Kind(
        "accuracy against lambda, of several cells", grid_figures.of_lambda, _is_grid, several=True
    ),
    "parameters": Kind(
        "accuracy against every parameter of a space", search_figures.of_parameters, _is_space
    ),
    "updates": Kind("accuracy against updates spent", _spending, _every, several=True),
    "importances": Kind(
        "what each parameter of a space explains", search_figures.of_importances, _is_space
    ),
    "contour": Kind("accuracy over two numbers of a space", search_figures.of_contour, _is_space),
    "curves": Kind("the curves of several cells", network_figures.of_cells, _every, several=True),
    "learning-rate": Kind("the learning rate of a cell", network_figures.of_learning_rate, _every),
    "network": Kind("the curves of one network", network_figures.of_network, _every),
    "first-layer": Kind(
        "first-layer weights that are images", network_figures.of_first_layer, _every
    ),
    "confusion": _answering(
        "which classes a network confuses", "classes confused", answer_plots.figure_of_confusion
    ),
    "classes": _answering(
        "accuracy in every class", "accuracy by class", answer_plots.figure_of_classes
    ),
    "mistakes": _answering(
        "the surest mistakes of a network",
        "surest mistakes",
        answer_plots.figure_of_mistakes,
        with_images=True,
    ),
    "calibration": _answering(
        "whether a network is as sure as it is right",
        "calibration",
        answer_plots.figure_of_calibration,
    ),
}
