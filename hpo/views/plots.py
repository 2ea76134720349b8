"""Pictures of training curves, rates, weights and studies, as PNG files.

``figure_of_...`` builds a matplotlib Figure; ``save_...`` takes the same arguments after a path
and writes it, equal input to equal bytes. Matplotlib is imported for the first picture only, as
it is slow to load, and through its object interface: no pyplot, no global state.

A value is drawn at the number of updates made before it was measured, so the first log point
of n_s = 500 stands at 50. Values that are missing or not finite are left out.
"""

import io
import math
import os
import secrets
import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hpo.errors import OutputError
from hpo.machine.printable import printable
from hpo.views.canvas import own_settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats: TypeAlias = NDArray[np.floating[Any]]
#: Numbers to draw; None, NaN and infinity stand for a missing value.
Values: TypeAlias = Sequence[float | None] | Floats
P = ParamSpec("P")

TITLE_SIZE, LABEL_SIZE, TEXT_SIZE = 15, 13, 11  # points
BLUE, VERMILION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#8A8A8A"  # for colour-blind eyes
ORDINARY_COST = 10.0  # always on the scale: ten classes untrained cost 2.3, or 6.9 (binary losses)
STAR: dict[str, Any] = {"marker": "*", "ls": "", "color": VERMILION, "ms": 18, "mec": "white"}
LONGEST_LEGEND = 10  # cells; a study of more has a colour bar


@dataclass(frozen=True)
class Curve:
    """What was measured at the log points of one training run."""

    #: Updates made before each log point.
    update: Sequence[int]
    #: "cost", "loss" and "accuracy" on the training images; empty where they were not measured.
    training: Mapping[str, Values]
    #: The same on the validation images.
    validation: Mapping[str, Values]


def figure_of_curves(
    curve: Curve,
    *,
    title: str,
    cycle_ends: Sequence[int] = (),
    test_accuracy: float | None = None,
    training_label: str = "training",
) -> "Figure":
    """Draw cost, loss and accuracy over the updates of one run, side by side."""
    figure = new_figure(14, 4.5, title)
    panels = figure.subplots(1, 3)
    for axes, quantity in zip(panels, ("cost", "loss", "accuracy"), strict=True):
        _prepare(axes, quantity, curve.update, cycle_ends)
        training, validation = curve.training.get(quantity, ()), curve.validation.get(quantity, ())
        drawn = [
            _draw(axes, curve.update, training, color=BLUE, label=training_label),
            _draw(axes, curve.update, validation, color=VERMILION, label="validation"),
        ]
        if quantity == "accuracy" and test_accuracy is not None and math.isfinite(test_accuracy):
            label = f"test accuracy {test_accuracy:.4f}"
            axes.axhline(test_accuracy, color=GREEN, linestyle="--", label=label)
            drawn.append(np.array([test_accuracy]))
        limit(axes, drawn, quantity)
    legend_below(figure, panels)
    return figure


def figure_of_learning_rate(
    rates: Values, *, eta_min: float, eta_max: float, title: str, cycle_ends: Sequence[int] = ()
) -> "Figure":
    """Draw the rate that each update is made with, between its two bounds."""
    figure = new_figure(12, 5, title)
    axes = figure.subplots()
    updates = range(len(rates))  # they count from 0
    _prepare(axes, "learning rate", updates, cycle_ends)
    axes.axhline(eta_max, color=VERMILION, linestyle="--", label=f"eta_max = {eta_max:g}")
    axes.axhline(eta_min, color=GREEN, linestyle="--", label=f"eta_min = {eta_min:g}")
    drawn = _draw(axes, updates, rates, color=BLUE, label="learning rate")
    top = max(eta_min, eta_max, *drawn[np.isfinite(drawn)]) or 1.0
    axes.set_ylim(-0.03 * top, 1.08 * top)
    legend_below(figure, [axes])
    return figure


def figure_of_first_layer(w1: Floats, image_shape: Sequence[int], *, title: str) -> "Figure | None":
    """Draw the weights (d, m) of the first layer as m images; None if they are no images."""
    images = weight_images(w1, image_shape)
    if images is None:
        return None
    m, height, width, n_channels = images.shape
    n_columns = math.ceil(math.sqrt(2 * m)) if m > 5 else m
    n_rows, gap = math.ceil(m / n_columns), math.ceil(width / 16)
    padding = ((0, n_rows * n_columns - m), (0, gap), (0, gap), (0, 0))
    cells = np.pad(images, padding, constant_values=255)
    rows = cells.reshape(n_rows, n_columns, *cells.shape[1:]).swapaxes(1, 2)
    mosaic = rows.reshape(n_rows * (height + gap), -1, n_channels)[:-gap, :-gap]
    high, wide = mosaic.shape[:2]
    inches = min(13.8 / wide, 9 / high, 0.24)  # for each weight
    figure = new_figure(max(inches * wide + 0.2, 7), inches * high + 0.8, title)
    axes = figure.subplots()
    axes.set_title("each image on its own scale; mid-grey is a weight of 0", fontsize=TEXT_SIZE)
    axes.imshow(mosaic, "gray", interpolation="nearest", vmin=0, vmax=255)
    axes.set_axis_off()
    return figure


def weight_images(w1: Floats, image_shape: Sequence[int]) -> NDArray[np.uint8] | None:
    """Return w1 (d, m) as images (m, height, width, 1 or 3), 128 standing for 0, or else None."""
    if w1.size == 0 or len(image_shape) not in (2, 3) or math.prod(image_shape) != len(w1):
        return None
    images = np.where(np.isfinite(w1), w1, 0).astype(np.float64).T.reshape(-1, *image_shape)
    if len(image_shape) == 2 or image_shape[0] in (1, 3):  # grey, or channels first
        images = np.moveaxis(images.reshape(len(images), -1, *image_shape[-2:]), 1, -1)
    if images.shape[-1] not in (1, 3):
        return None
    largest = np.abs(images).max(axis=(1, 2, 3), keepdims=True)
    scaled = images / np.where(largest > 0, largest, 1)  # -1 to 1
    return np.round(128 + 127 * scaled).astype(np.uint8)


def figure_of_accuracy_against_lambda(
    lambdas: Sequence[float],
    accuracies: Values,
    *,
    title: str,
    best: int | None,
    logarithmic: bool,
    diverged: Sequence[bool] = (),
) -> "Figure":
    """Draw each cell's accuracy, with a star on cell ``best``; lambda = 0 makes the axis linear."""
    figure = new_figure(9, 5.5, title)
    axes = figure.subplots()
    axes.set_xscale("log" if logarithmic and min(lambdas, default=0) > 0 else "linear")
    label_axes(axes, "λ (L2 penalty)", "validation accuracy")
    x, y = np.asarray(lambdas, dtype=float), finite_or_nan(accuracies)
    lost = np.pad(np.array(diverged, dtype=bool), (0, len(x) - len(diverged)))
    y[lost] = np.nan
    known = [cell for cell in np.argsort(x, kind="stable") if np.isfinite(y[cell])]
    axes.plot(x[known], y[known], "o-", color=BLUE, markersize=6, label="validation accuracy")
    if best is not None and np.isfinite(y[best]):
        label = f"best: λ = {x[best]:.4g}, accuracy {y[best]:.4f}"
        axes.plot(x[best], y[best], label=label, **STAR)
    mark_bottom(axes, x[lost], "x", "diverged", color="black", ms=9, mew=2)
    limit(axes, [y], "accuracy")
    legend_below(figure, [axes])
    return figure


def figure_of_study_curves(
    curves: Sequence[Curve], labels: Sequence[str], *, title: str, cycle_ends: Sequence[int] = ()
) -> "Figure":
    """Draw validation accuracy and cost of all cells of a study, coloured in cell order."""
    from matplotlib import cm, colormaps, colors

    figure = new_figure(14, 5.5, title)
    panels = figure.subplots(1, 2)
    n = len(curves)
    colours = colors.ListedColormap(colormaps["viridis"](np.linspace(0, 0.92, max(n, 1))))
    updates = sorted({update for curve in curves for update in curve.update})
    for axes, quantity in zip(panels, ("accuracy", "cost"), strict=True):
        _prepare(axes, f"validation {quantity}", updates, cycle_ends)
        drawn = [
            _draw(axes, c.update, c.validation.get(quantity, ()), color=colours(i), label=labels[i])
            for i, c in enumerate(curves)
        ]
        limit(axes, drawn, quantity)
    if 0 < n <= LONGEST_LEGEND:
        names = panels[0].get_legend_handles_labels()
        figure.legend(*names, loc="outside right center", fontsize=TEXT_SIZE)
    elif n:
        legend_below(figure, panels, hidden=labels)
        mappable = cm.ScalarMappable(colors.BoundaryNorm(np.arange(n + 1) - 0.5, n), colours)
        shown = np.linspace(0, n - 1, LONGEST_LEGEND).round().astype(int)
        bar = figure.colorbar(mappable, ax=panels, ticks=list(shown), pad=0.01, aspect=30)
        bar.ax.set_yticklabels([labels[i] for i in shown], fontsize=TEXT_SIZE)
        bar.minorticks_off()
        bar.ax.invert_yaxis()  # the first cell on top
    return figure


def saver(draw: Callable[P, "Figure | None"]) -> Callable[Concatenate[Path, P], bool]:
    """Return the function that draws a figure and writes it; False if there is nothing to draw."""

    def save(path: Path, /, *args: P.args, **kwargs: P.kwargs) -> bool:
        with own_settings():
            figure = draw(*args, **kwargs)
            if figure is not None:
                _write(path, figure)
        return figure is not None

    return save


save_curves = saver(figure_of_curves)
save_learning_rate = saver(figure_of_learning_rate)
save_first_layer = saver(figure_of_first_layer)
save_accuracy_against_lambda = saver(figure_of_accuracy_against_lambda)
save_study_curves = saver(figure_of_study_curves)


def new_figure(width: float, height: float, title: str) -> "Figure":
    """Return an empty page with a title, which is written as it is, dollar signs and all."""
    from matplotlib.figure import Figure

    figure = Figure((width, height), dpi=100, facecolor="white", layout="constrained")
    title = textwrap.fill(title, int(8 * width), max_lines=2, placeholder=" …")
    figure.suptitle(printable(title), fontsize=TITLE_SIZE, parse_math=False)
    return figure


def _prepare(axes: "Axes", quantity: str, updates: Sequence[int], ends: Sequence[int]) -> None:
    """Label the axes, let x reach over all updates and ends of cycles, and mark the latter."""
    label_axes(axes, "update", quantity)
    axes.locator_params(axis="x", integer=True, nbins=6)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlim(0, 1.01 * max(0, 1, *updates[-1:], *ends))
    for i, end in enumerate(ends):
        axes.axvline(end, color=GREY, lw=0.9, ls=":", label=None if i else "end of a cycle")


def label_axes(axes: "Axes", x: str, y: str) -> None:
    """Name both axes, in the looks of all pictures."""
    axes.set_xlabel(x, fontsize=LABEL_SIZE)
    axes.set_ylabel(y, fontsize=LABEL_SIZE)
    axes.tick_params(labelsize=TEXT_SIZE)
    axes.grid(color="#E4E4E4", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)


def _draw(axes: "Axes", updates: Sequence[int], values: Values, **style: Any) -> Floats:
    """Draw each value at its own update; a few get markers, as one alone makes no line."""
    drawn = finite_or_nan(values)
    if len(drawn):
        axes.plot(updates, drawn, marker="o" if len(drawn) < 10 else "", ms=3, lw=1.8, **style)
    return drawn


def mark_bottom(axes: "Axes", x: Floats, marker: str, label: str, **style: Any) -> None:
    """Mark places, if there are any, at the bottom of the axes, whatever their scale."""
    style |= {"transform": axes.get_xaxis_transform(), "ls": "", "marker": marker}
    if len(x):
        axes.plot(x, np.full(len(x), 0.03), label=label, **style)


def finite_or_nan(values: Values) -> Floats:
    """Return ``values`` with NaN for what cannot be drawn."""
    numbers = np.asarray(values, dtype=np.float64)
    return np.where(np.abs(numbers) < 1e300, numbers, np.nan)  # more would overflow on the page


def limit(axes: "Axes", curves: Sequence[Floats], quantity: str) -> None:
    """Scale accuracies to their range, costs from 0 to the highest one not far beyond the rest."""
    values = np.sort([value for curve in curves for value in curve if np.isfinite(value)])
    if not len(values):
        return
    low, typical, high = values[0], values[(len(values) - 1) // 2], values[-1]
    if quantity == "accuracy":
        margin = max(0.08 * (high - low), 0.02)
        bottom = max(0.0, low - margin) if low >= 0 else low - margin  # of somebody's own objective
        axes.set_ylim(bottom, min(1.01, high + margin) if high <= 1 else high + margin)
        return
    top = values[values <= max(ORDINARY_COST, 4 * typical)][-1]
    axes.set_ylim(0, 1.08 * top or 1)
    if top < high:
        axes.set_title(f"off the scale: up to {high:.3g}", loc="right", fontsize=TEXT_SIZE)


def legend_below(
    figure: "Figure", panels: Sequence["Axes"], hidden: Sequence[str] = (), n_columns: int = 6
) -> None:
    """Name every line of the panels once, below them, where it hides nothing."""
    named = [zip(*axes.get_legend_handles_labels(), strict=True) for axes in reversed(panels)]
    entries = {name: line for pairs in named for line, name in pairs if name not in hidden}
    if entries:
        style: Any = {"loc": "outside lower center", "ncols": n_columns, "fontsize": TEXT_SIZE}
        figure.legend(entries.values(), entries.keys(), **style)


def _write(path: Path, figure: "Figure") -> None:
    """Write a PNG file whole or not at all."""
    picture = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # letters that the font lacks become boxes
        figure.savefig(picture, format="png", dpi="figure", metadata={"Software": None})
    temporary = path.parent / f".{secrets.token_hex(8)}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(picture.getvalue())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(path, error) from error
