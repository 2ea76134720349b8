"""Pictures of a searched space: which values were good, and how the search came to them.

They are drawn and written as in `hpo.views.plots`. A cell stands at the mean accuracy over the seeds
that every cell has, a finalist also at the mean over all of its own, which is the one to believe:
the best of many single results is in part the luckiest.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from hpo.definition.ranges import Choice, Dimension, Real, Value, Whole
from hpo.experiment.records import short
from hpo.views.figures import (
    BLUE,
    GREEN,
    GREY,
    STAR,
    Floats,
    Values,
    finite_or_nan,
    label_axes,
    legend_below,
    limit,
    mark_bottom,
    new_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DARK = "#444444"
NAMES = {
    "lambda": "λ (L2 penalty)",
    "n_s": "n_s (updates)",
    "n_s_epochs": "n_s (epochs)",
    "flip_probability": "flip probability",
    "hidden": "hidden units",
    "batch_size": "batch size (images)",
    "n_cycles": "cycles",
    "eta_min_share": "eta_min as a share of eta_max",
}
#: Cells this many times as far below the best as the lower quartile is are off the scale.
REACH = 3
FEW = 8  # values that all get a tick
#: Cells of equal value stand side by side, over this part of the way to the next value.
SPREAD = 0.5
GOLDEN = (math.sqrt(5) - 1) / 2  # its multiples fill 0 to 1 evenly, however many there are


@dataclass(frozen=True, kw_only=True)
class Search:
    """What a search has tried, cell by cell in the order of its proposals."""

    dimensions: Mapping[str, Dimension]
    cells: Sequence[Mapping[str, Value]]
    #: Seeds that every cell has.
    n_seeds: int = 1
    #: Updates of each cell over these seeds.
    n_updates: Sequence[int]
    #: Mean over these seeds; None where it is not known.
    accuracies: Values
    #: Cells that were cut, with what they had at the end of their last cycle.
    cut: Mapping[int, float] = field(default_factory=dict)
    diverged: Collection[int] = ()
    #: Seeds of a finalist.
    n_final_seeds: int = 1
    #: Mean over all its seeds of every finalist that is done.
    finals: Mapping[int, float]
    #: Accuracy of each seed of the cells that have several.
    seeds: Mapping[int, Sequence[float]] = field(default_factory=dict)
    best: int | None = None
    #: Proposals in each generation.
    sizes: Sequence[int]


def figure_of_parameters(search: Search, *, title: str) -> "Figure":
    """Draw the accuracy of every cell against each of its parameters."""
    n = len(search.dimensions)
    n_columns = n if n < 4 else 2 if n == 4 else 3
    n_rows = math.ceil(n / n_columns)
    figure = new_figure(max(4.7 * n_columns, 9), 4 * n_rows + 1, title)
    grid = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False)
    panels = list(grid.flat)
    for unused in panels[n:]:
        unused.remove()
    for i, (name, dimension) in enumerate(search.dimensions.items()):
        is_left = i % n_columns == 0
        label_axes(panels[i], NAMES.get(name, name), "validation accuracy" if is_left else "")
        prepare_axis(panels[i], dimension)
        _draw_cells(panels[i], search, positions(search.cells, name, dimension))
    legend_below(figure, panels[:n], n_columns=5 if n_columns > 2 else 3)
    return figure


def figure_of_progress(search: Search, *, title: str) -> "Figure":
    """Draw the accuracy of every cell after the updates of all cells up to it, and the best."""
    figure = new_figure(14, 5.5, title)
    axes = figure.subplots()
    label_axes(axes, "updates of all cells so far together", "validation accuracy")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    planned = np.cumsum(np.asarray(search.n_updates, dtype=float))
    axes.set_xlim(0, 1.02 * max([1, *planned[-1:]]))
    is_worth_it = max(search.sizes, default=1) > 1
    last: NDArray[np.intp] = np.cumsum(search.sizes[: -1 if is_worth_it else 0], dtype=np.intp) - 1
    for i, end in enumerate(planned[last]):
        axes.axvline(end, color=GREY, lw=0.9, ls=":", label=None if i else "end of a generation")
    so_far = np.fmax.accumulate(_means(search))
    axes.step(planned, so_far, where="post", color=DARK, lw=1.4, label="best so far")
    _draw_cells(axes, search, planned)
    legend_below(figure, [axes], n_columns=4)
    return figure


def _means(search: Search) -> Floats:
    """Return the mean of every cell, NaN for those that have none."""
    means = finite_or_nan(search.accuracies)
    means[list(search.diverged)] = np.nan
    return means


def _draw_cells(axes: "Axes", search: Search, x: Floats) -> None:
    """Draw every cell at its place, the finalists twice, with a star on the best."""
    y = _means(search)
    finals = {cell: final for cell, final in search.finals.items() if math.isfinite(final)}
    below = _limit_to_the_good(axes, y, list(finals.values()))
    _draw_cut(axes, search, x)
    dots = [(x[cell], v) for cell, found in sorted(search.seeds.items()) for v in found]
    if dots:
        axes.plot(*zip(*dots, strict=True), ".", color=BLUE, alpha=0.5, ms=5, label="one seed")
    label = f"cell, {_over(search.n_seeds)}"
    axes.plot(x[~below], y[~below], "o", color=BLUE, ms=6.5, mec="white", mew=0.6, label=label)
    mark_bottom(axes, x[sorted(search.diverged)], "x", "diverged", color="black", ms=8, mew=1.8)
    label = f"off the scale: down to {min(y[below], default=0):.4f}"
    mark_bottom(axes, x[below], "v", label, color=BLUE, ms=8, mec="white")
    others = [cell for cell in sorted(finals) if cell != search.best]
    if others:
        label, heights = f"finalist, {_over(search.n_final_seeds)}", [finals[c] for c in others]
        axes.plot(x[others], heights, "D", mfc="none", mec=GREEN, ms=9, mew=2, label=label)
    best = search.best
    height = math.nan if best is None else finals.get(best, y[best])
    if best is not None and math.isfinite(height):
        seeds = _over(search.n_final_seeds if best in finals else search.n_seeds)
        label = f"best: cell {best}, accuracy {height:.4f}, {seeds}"
        axes.plot(x[best], height, label=label, **STAR)


def _draw_cut(axes: "Axes", search: Search, x: Floats) -> None:
    """Draw where cells were cut, as far as that is on the scale; longer ones have more behind them."""
    low, _ = axes.get_ylim()
    shown = [cell for cell, value in search.cut.items() if value >= low]
    n_below = len(search.cut) - len(shown)
    label = "cut, at the end of a cycle" + (f"; {n_below} more below" if n_below else "")
    if search.cut:
        heights = [search.cut[cell] for cell in shown]
        axes.plot(x[shown], heights, "o", mfc="none", mec=GREY, ms=5, mew=1.1, label=label)


def _over(n_seeds: int) -> str:
    return "1 seed" if n_seeds == 1 else f"mean of {n_seeds} seeds"


def _limit_to_the_good(axes: "Axes", y: Floats, more: Sequence[float]) -> NDArray[np.bool_]:
    """Scale the axis without the few cells far below the rest, and return which these are."""
    known = y[np.isfinite(y)]
    if not len(known):
        axes.set_ylim(0, 1)
        return np.zeros(len(y), dtype=bool)
    below: NDArray[np.bool_] = y < known.max() - REACH * (known.max() - np.quantile(known, 0.25))
    limit(axes, [y[~below], np.array(more)], "accuracy")
    return below


def positions(
    cells: Sequence[Mapping[str, Value]], name: str, dimension: Dimension, *, aside: bool = True
) -> Floats:
    """Return where each cell stands on the axis of a parameter.

    Equal values stand side by side, unless ``aside`` is false.
    """
    values, step = [cell[name] for cell in cells], 0
    if isinstance(dimension, Choice):
        values, step = [dimension.options.index(value) for value in values], 1
    elif (
        isinstance(dimension, Whole) and len(dimension.options) <= FEW and not dimension.logarithmic
    ):
        step = dimension.step
    step = step if aside else 0
    sideways = SPREAD * (np.arange(len(cells)) * GOLDEN % 1 - 0.5)
    places: Floats = np.array(values, dtype=float) + step * sideways
    return places


def prepare_axis(axes: "Axes", dimension: Dimension, which: Literal["x", "y"] = "x") -> None:
    """Let an axis reach over everything that is searched."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    reach = axes.set_xlim if which == "x" else axes.set_ylim
    if isinstance(dimension, Real) or (isinstance(dimension, Whole) and dimension.logarithmic):
        _prepare_real(axes, dimension, which)
        return
    values = list(dimension.options)
    if isinstance(dimension, Choice):
        names = [short(value) if isinstance(value, float) else str(value) for value in values]
        axis.set_ticks(range(len(values)), names)
        reach(-0.6, len(values) - 0.4)
        return
    reach(dimension.low - 0.6 * dimension.step, dimension.high + 0.6 * dimension.step)
    axis.set_major_formatter("{x:,.0f}")
    if len(values) <= FEW:
        axis.set_ticks([float(value) for value in values])


def _prepare_real(axes: "Axes", dimension: Real | Whole, which: Literal["x", "y"]) -> None:
    low, high = dimension.low, dimension.high
    axis = axes.xaxis if which == "x" else axes.yaxis
    reach = axes.set_xlim if which == "x" else axes.set_ylim
    if not dimension.logarithmic:
        margin = 0.04 * (high - low) or 0.1 * abs(high) or 1
        reach(low - margin, high + margin)
        axes.locator_params(axis=which, nbins=5)
        return
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    margin = (high / low) ** 0.04 if high > low else 1.1
    reach(low / margin, high * margin)
    is_short = high < 100 * low
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if is_short else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axis.set_minor_formatter(NullFormatter())
