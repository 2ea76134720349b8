"""Pictures of training curves, rates, weights and studies, as PNG files.

``figure_of_...`` builds a matplotlib Figure; ``save_...`` takes the same arguments after a path
and writes it, equal input to equal bytes. Matplotlib is imported for the first picture only, as
it is slow to load, and through its object interface: no pyplot, no global state.

A value is drawn at the number of updates made before it was measured, so the first log point
of n_s = 500 stands at 50. Values that are missing or not finite are left out.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpo.views.figures import (
    BLUE,
    GREEN,
    GREY,
    LONGEST_LEGEND,
    STAR,
    TEXT_SIZE,
    VERMILION,
    Floats,
    Values,
    finite_or_nan,
    label_axes,
    legend_below,
    limit,
    mark_bottom,
    new_figure,
    saver,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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


save_curves = saver(figure_of_curves)
save_learning_rate = saver(figure_of_learning_rate)
save_first_layer = saver(figure_of_first_layer)
save_accuracy_against_lambda = saver(figure_of_accuracy_against_lambda)
save_study_curves = saver(figure_of_study_curves)


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
        axes.plot(updates, drawn, marker="o" if len(drawn) < 10 else "", ms=3, lw=1.8, **style)
    return drawn
