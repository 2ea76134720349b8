"""Pictures of training curves, rates and weights.

``figure_of_...`` builds a matplotlib Figure; `hpo.views.figures` draws and writes it in our looks.

A value is drawn at the number of updates made before it was measured, so the first log point
of n_s = 500 stands at 50. Values that are missing or not finite are left out.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpo.experiment.records import short
from hpo.machine.printable import printable
from hpo.views.figures import (
    BLUE,
    GREEN,
    GREY,
    LONGEST_LEGEND,
    TEXT_SIZE,
    VERMILION,
    Floats,
    Values,
    finite_or_nan,
    label_axes,
    legend_below,
    limit,
    new_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


FOREMOST: dict[str, Any] = {"lw": 3.2, "zorder": 5}
FADED: dict[str, Any] = {"lw": 1.2, "ls": "--", "alpha": 0.55, "zorder": 1.5}


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
    axes.axhline(eta_max, color=VERMILION, linestyle="--", label=f"eta_max = {short(eta_max)}")
    axes.axhline(eta_min, color=GREEN, linestyle="--", label=f"eta_min = {short(eta_min)}")
    drawn = _draw(axes, updates, rates, color=BLUE, label="learning rate")
    top = max(eta_min, eta_max, *drawn[np.isfinite(drawn)]) or 1.0
    axes.set_ylim(-0.03 * top, 1.08 * top)
    legend_below(figure, [axes])
    return figure


def figure_of_rate_range(rates: Values, curve: Curve, *, title: str) -> "Figure":
    """Draw validation accuracy and cost against the rate while it first rises.

    Args:
        rates: At the first log points of the curve.
    """
    figure = new_figure(12, 5, title)
    panels = figure.subplots(1, 2)
    for axes, quantity in zip(panels, ("accuracy", "cost"), strict=True):
        label_axes(axes, "learning rate", f"validation {quantity}")
        values = finite_or_nan(curve.validation.get(quantity, ())[: len(rates)])
        axes.plot(rates[: len(values)], values, "o-", color=VERMILION, label="validation")
        limit(axes, [values], quantity)
    return figure


def figure_of_first_layer(
    w1: Floats, image_shape: Sequence[int], *, title: str, classes: Sequence[str] = ()
) -> "Figure | None":
    """Draw the weights (d, m) of the first layer as m images; None if they are no images.

    Args:
        classes: For each unit, the class that it speaks for, which is written below it.
    """
    images = weight_images(w1, image_shape)
    if images is None:
        return None
    m, height, width, n_channels = images.shape
    n_columns = math.ceil(math.sqrt(2 * m)) if m > 5 else m
    n_rows, gap = math.ceil(m / n_columns), math.ceil(width / 16)
    below = math.ceil(0.3 * height) if classes else gap
    padding = ((0, n_rows * n_columns - m), (0, below), (0, gap), (0, 0))
    cells = np.pad(images, padding, constant_values=255)
    rows = cells.reshape(n_rows, n_columns, *cells.shape[1:]).swapaxes(1, 2)
    mosaic = rows.reshape(n_rows * (height + below), -1, n_channels)[
        : None if classes else -gap, :-gap
    ]
    high, wide = mosaic.shape[:2]
    inches = min(13.8 / wide, 9 / high, 0.24)  # for each weight
    figure = new_figure(max(inches * wide + 0.2, 7), inches * high + 0.8, title)
    axes = figure.subplots()
    told = "each image on its own scale; mid-grey is a weight of 0"
    told += "; below, the class with the largest weight of the unit" if classes else ""
    axes.set_title(told, fontsize=TEXT_SIZE)
    for unit, name in enumerate(classes):
        row, column = divmod(unit, n_columns)
        place = (column * (width + gap) + width / 2, row * (height + below) + height + 0.4)
        axes.text(*place, printable(name)[:12], ha="center", va="top", fontsize=8, parse_math=False)
    axes.imshow(mosaic, "gray", interpolation="nearest", vmin=0, vmax=255)
    axes.set_axis_off()
    return figure


def weight_images(w1: Floats, image_shape: Sequence[int]) -> NDArray[np.uint8] | None:
    """Return w1 (d, m) as images (m, height, width, 1 or 3), 128 standing for 0, or else None."""
    rows = np.where(np.isfinite(w1), w1, 0).astype(np.float64).T
    images = _folded(rows, image_shape) if len(rows) else None
    if images is None:
        return None
    largest = np.abs(images).max(axis=(1, 2, 3), keepdims=True)
    scaled = images / np.where(largest > 0, largest, 1)  # -1 to 1
    return np.round(128 + 127 * scaled).astype(np.uint8)


def as_images(rows: NDArray[Any], image_shape: Sequence[int]) -> NDArray[np.uint8] | None:
    """Return rows (n, d) as pictures (n, height, width, 1 or 3), or None.

    Other values than bytes are scaled from their least to their greatest.
    """
    images = _folded(rows, image_shape)
    if images is None or images.dtype == np.uint8:
        return images
    low, high = float(images.min(initial=0)), float(images.max(initial=1))
    return np.asarray(255 * ((images - low) / (high - low)), dtype=np.uint8)


def _folded(rows: NDArray[Any], image_shape: Sequence[int]) -> NDArray[Any] | None:
    """Return rows (n, d) as images (n, height, width, 1 or 3); None if they are none."""
    if len(image_shape) not in (2, 3) or math.prod(image_shape) != rows.shape[1]:
        return None
    images = rows.reshape(-1, *image_shape)
    if len(image_shape) == 2 or image_shape[0] in (1, 3):  # grey, or channels first
        images = np.moveaxis(images.reshape(len(images), -1, *image_shape[-2:]), 1, -1)
    return images if images.shape[-1] in (1, 3) else None


def figure_of_study_curves(
    curves: Sequence[Curve],
    labels: Sequence[str],
    *,
    title: str,
    cycle_ends: Sequence[int] = (),
    best: int | None = None,
    cut: Collection[int] = (),
) -> "Figure":
    """Draw validation accuracy and cost of all cells of a study, coloured in cell order.

    Args:
        best: Which curve is drawn wide, above all others.
        cut: Those that are drawn faintly.
    """
    from matplotlib import cm, colormaps, colors

    figure = new_figure(14, 5.5, title)
    panels = figure.subplots(1, 2)
    n = len(curves)
    colours = colors.ListedColormap(colormaps["viridis"](np.linspace(0, 0.92, max(n, 1))))
    updates = sorted({update for curve in curves for update in curve.update})
    for axes, quantity in zip(panels, ("accuracy", "cost"), strict=True):
        _prepare(axes, f"validation {quantity}", updates, cycle_ends)
        drawn = [
            _draw(
                axes,
                c.update,
                c.validation.get(quantity, ()),
                color=colours(i),
                label=labels[i],
                **(FOREMOST if i == best else FADED if i in cut else {}),
            )
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
        if best is not None:
            shown[np.abs(shown - best).argmin()] = best
        bar = figure.colorbar(mappable, ax=panels, ticks=list(shown), pad=0.01, aspect=30)
        bar.ax.set_yticklabels([labels[i] for i in shown], fontsize=TEXT_SIZE)
        bar.minorticks_off()
        bar.ax.invert_yaxis()  # the first cell on top
    return figure


def _prepare(axes: "Axes", quantity: str, updates: Sequence[int], ends: Sequence[int]) -> None:
    """Label the axes, let x reach over all updates and ends of cycles, and mark the latter."""
    label_axes(axes, "update", quantity)
    axes.locator_params(axis="x", integer=True, nbins=6)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlim(0, 1.01 * max(0, 1, *updates[-1:], *ends))
    for i, end in enumerate(ends):
        axes.axvline(end, color=GREY, lw=0.9, ls=":", label=None if i else "end of a cycle")


def _draw(axes: "Axes", updates: Sequence[int], values: Values, **style: Any) -> Floats:
    """Draw each value at its own update; a few get markers, as one alone makes no line."""
    drawn = finite_or_nan(values)
    if len(drawn):
        axes.plot(
            updates, drawn, marker="o" if len(drawn) < 10 else "", ms=3, **({"lw": 1.8} | style)
        )
    return drawn
