"""Pictures of what matters in a space: importances, and the two foremost parameters as a map."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hpo.definition.ranges import Choice, Dimension, Real, Value
from hpo.views.figures import BLUE, TEXT_SIZE, label_axes, legend_below, new_figure
from hpo.views.search_plots import NAMES, positions, prepare_axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEWEST = 4  #: cells, below which a map has no heights
LEVELS = 8


def figure_of_importances(shares: Mapping[str, float], *, title: str) -> "Figure | None":
    """Draw which part of the differences each parameter explains; None if nothing is known."""
    if not shares:
        return None
    figure = new_figure(10, 1.9 + 0.6 * len(shares), title)
    axes = figure.subplots()
    label_axes(axes, "part of the variance of the accuracy that it explains (fANOVA)", "")
    names, parts = list(shares)[::-1], list(shares.values())[::-1]
    bars = axes.barh([NAMES.get(name, name) for name in names], parts, color=BLUE)
    axes.bar_label(bars, [f"{part:.2f}" for part in parts], padding=4, fontsize=TEXT_SIZE)
    axes.set_xlim(0, 1.12 * max(*parts, 1e-9))
    axes.grid(visible=False, axis="y")
    return figure


def figure_of_contour(
    dimensions: Mapping[str, Dimension],
    cells: Sequence[Mapping[str, Value]],
    values: Sequence[float],
    *,
    title: str,
    what: str,
    best: Mapping[str, Value] | None = None,
) -> "Figure | None":
    """Draw accuracy over two parameters, with every cell a dot; None where there are no two numbers.

    Args:
        dimensions: Two or more numbers, the foremost ones first.
        what: What was measured, in words.
    """
    numbers = [name for name, kind in dimensions.items() if not isinstance(kind, Choice)][:2]
    if len(numbers) < 2 or len(values) < FEWEST or min(values) == max(values):
        return None
    first, second = numbers
    figure = new_figure(9.5, 6.5, title)
    axes = figure.subplots()
    label_axes(axes, NAMES.get(first, first), NAMES.get(second, second))
    x, y = (positions(cells, name, dimensions[name], aside=False) for name in numbers)
    prepare_axis(axes, dimensions[first], "x")
    prepare_axis(axes, dimensions[second], "y")
    heights = np.asarray(values, dtype=float)
    u, v = (_on_paper(p, dimensions[n]) for p, n in ((x, first), (y, second)))
    from matplotlib.tri import Triangulation

    triangles = _triangles(u, v)
    low = float(np.quantile(heights, 0.05))
    if triangles is not None and low < heights.max():
        levels = np.linspace(low, float(heights.max()), LEVELS + 1)
        style: Any = {"levels": levels, "cmap": "cividis", "extend": "min"}
        axes.tricontourf(Triangulation(x, y, triangles), heights, **style)
    dots = axes.scatter(
        x, y, c=heights, cmap="cividis", vmin=low, vmax=heights.max(), s=60, edgecolors="white"
    )
    dots.set_label("cell")
    if best is not None:
        bx, by = (positions([best], name, dimensions[name], aside=False) for name in numbers)
        axes.plot(bx, by, "*", color="#D55E00", ms=18, mec="white", label="best", ls="")
    bar = figure.colorbar(dots, ax=axes, extend="min")
    bar.set_label(what, fontsize=TEXT_SIZE)
    legend_below(figure, [axes])
    return figure


def _on_paper(values: np.ndarray, dimension: Dimension) -> np.ndarray:
    is_logarithmic = isinstance(dimension, Real) and dimension.logarithmic
    found = np.log(values) if is_logarithmic else values
    spread = np.ptp(found)
    return np.asarray((found - found.min()) / spread if spread else found * 0)


def _triangles(u: np.ndarray, v: np.ndarray) -> np.ndarray | None:
    """Return triangles between the cells as they lie on the page; None if they lie in a line."""
    from matplotlib.tri import Triangulation

    try:
        return np.asarray(Triangulation(u, v).triangles)
    except (RuntimeError, ValueError):
        return None
