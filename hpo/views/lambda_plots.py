"""The picture of accuracy against lambda: what each seed got, what a mean is worth, what was cut.

Only cells that were trained to their end are joined. A cell that was cut stands, open, at the value of
the cycle after which it was, which cannot be compared with the end of another.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from hpo.experiment.records import short
from hpo.machine.printable import printable
from hpo.views.figures import (
    BLUE,
    GREY,
    ORANGE,
    STAR,
    VERMILION,
    label_axes,
    legend_below,
    limit,
    mark_bottom,
    new_figure,
    shorten,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colour, line and marker of each study in one picture: told apart in grey, too.
LOOKS = ((BLUE, "-", "o"), (ORANGE, "--", "s"))
APART = 100  #: times as large as the smallest lambda is the largest on a logarithmic axis
LONGEST_NAME = 28  #: letters of a study's name beside others
MANY = 200  #: cells; of more not all intervals are drawn, and no numbers of cycles
WITH_DOTS = 2  #: seeds from which each gets a dot of its own


@dataclass(frozen=True, kw_only=True)
class Grid:
    """What a study knows of its lambdas, cell by cell."""

    name: str
    lambdas: Sequence[float]
    #: Accuracy of every seed of the cells that were trained to their end.
    seeds: Mapping[int, Sequence[float]]
    #: Their means, of cells that have all seeds.
    means: Mapping[int, float]
    #: 95 % intervals of these means.
    intervals: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    #: Accuracy on training images, a mean over the seeds, of the same cells.
    training: Mapping[int, float] = field(default_factory=dict)
    #: Of cells that were cut: the cycle after which they were, and the accuracy there.
    cut: Mapping[int, tuple[int, float]] = field(default_factory=dict)
    diverged: Sequence[int] = ()
    best: int | None = None
    #: Cells that cannot be told from the best, which is one of them.
    contenders: Sequence[int] = ()
    #: What a cell is trained for, in words.
    length: str = ""


def figure_of_lambda(
    grids: Sequence[Grid], *, title: str, training: str = "", asked: int = -1
) -> "Figure":
    """Draw accuracy against lambda, on validation images and beside it on training images.

    Args:
        grids: One study, or two on the same images, the wider one first.
        asked: Whose contenders are shaded.
        training: How accuracy on training images was measured, in words.
    """
    has_training = any(grid.training for grid in grids)
    figure = new_figure(13.5 if has_training else 9.5, 5.8, title)
    grid_of_panels = figure.subplots(1, 1 + has_training, squeeze=False, sharex=True)
    panels: list[Axes] = list(grid_of_panels.flat)
    lambdas = [value for grid in grids for value in grid.lambdas]
    is_logarithmic = min(lambdas) > 0 and max(lambdas) >= APART * min(lambdas)
    measured = ("validation accuracy", f"training accuracy {training}".strip())
    for axes, what in zip(panels, measured, strict=False):
        axes.set_xscale("log" if is_logarithmic else "linear")
        label_axes(axes, "λ (L2 penalty)", what)
    for grid, looks in zip(grids, LOOKS, strict=False):
        whose = f"{_called(grid)}: " if len(grids) > 1 else ""
        _draw_validation(panels[0], grid, looks, whose)
        if has_training:
            cells = _in_order(grid, grid.training)
            x, y = [grid.lambdas[c] for c in cells], [grid.training[c] for c in cells]
            panels[1].plot(x, y, **_line(looks))  # named in the other panel
    _shade(panels[0], grids[asked])
    limit(panels[0], [np.array(_heights(grid)) for grid in grids], "accuracy")
    if has_training:
        limit(panels[1], [np.array(list(grid.training.values())) for grid in grids], "accuracy")
    legend_below(figure, panels, n_columns=3 if has_training and len(grids) < 2 else 2)
    return figure


def _draw_validation(axes: "Axes", grid: Grid, looks: tuple[str, str, str], whose: str) -> None:
    colour, _, marker = looks
    cells = _in_order(grid, grid.means)
    x, y = [grid.lambdas[c] for c in cells], [grid.means[c] for c in cells]
    n_seeds = max((len(found) for found in grid.seeds.values()), default=1)
    of = "" if n_seeds == 1 else f", mean of {n_seeds} seeds"
    axes.plot(x, y, label=f"{whose}trained to the end{_after(grid)}{of}", **_line(looks))
    known = [cell for cell in cells if cell in grid.intervals]
    if known:
        low, high = np.transpose([grid.intervals[cell] for cell in known])
        heights, places = np.array([grid.means[c] for c in known]), [grid.lambdas[c] for c in known]
        bars = [np.maximum(heights - low, 0), np.maximum(high - heights, 0)]
        of_images = ", for other images only" if n_seeds == 1 else ""
        of_images += f", of {len(known)} cells" if len(known) < len(cells) else ""
        bar: dict[str, Any] = {"fmt": "none", "ecolor": colour, "elinewidth": 1.1, "capsize": 3}
        axes.errorbar(places, heights, bars, label=f"95 % interval{of_images}", **bar)
    dots = [(grid.lambdas[c], v) for c, found in sorted(grid.seeds.items()) for v in found]
    if n_seeds >= WITH_DOTS:
        dot: dict[str, Any] = {"ls": "", "marker": ".", "color": colour, "alpha": 0.55, "ms": 7}
        axes.plot(*zip(*dots, strict=True), label="one seed", **dot)
    if grid.cut:
        there = [(grid.lambdas[c], value) for c, (_, value) in sorted(grid.cut.items())]
        hollow: dict[str, Any] = {"ls": "", "marker": marker, "mfc": "none", "mec": GREY, "ms": 8}
        which = "a cycle" if len(grid.cut) > MANY else "the cycle of that number"
        label = f"{whose}cut after {which}, at its value there"
        axes.plot(*zip(*there, strict=True), label=label, **hollow)
    for cell, (cycle, value) in sorted(grid.cut.items()) if len(grid.cut) <= MANY else ():
        place: Any = {"xytext": (0, 6), "textcoords": "offset points", "ha": "center"}
        axes.annotate(str(cycle), (grid.lambdas[cell], value), fontsize=8, color=GREY, **place)
    lost = np.array([grid.lambdas[cell] for cell in grid.diverged])
    mark_bottom(axes, lost, "x", f"{whose}diverged", color="black", ms=9, mew=2)
    if grid.best is not None and grid.best in grid.means:
        value, height = grid.lambdas[grid.best], grid.means[grid.best]
        label = f"{whose}best: λ = {short(value)}, accuracy {height:.4f}"
        axes.plot([value], [height], label=label, **STAR)


def _line(looks: tuple[str, str, str]) -> dict[str, Any]:
    colour, line, marker = looks
    return {"color": colour, "ls": line, "marker": marker, "ms": 6, "lw": 1.6}


def _called(grid: Grid) -> str:
    return shorten(printable(grid.name), LONGEST_NAME)


def _shade(axes: "Axes", grid: Grid) -> None:
    """Shade every cell that cannot be told from the best, halfway to its neighbours."""
    if len(grid.contenders) < 2:
        return
    is_logarithmic = axes.get_xscale() == "log"
    edges, order = _edges(grid.lambdas, is_logarithmic)
    among = set(grid.contenders)
    label: str | None = f"cannot be told from the best of {_called(grid)} at 95 %"
    for is_among, run in itertools.groupby(range(len(order)), lambda place: order[place] in among):
        if is_among:  # neighbours in one piece
            places = list(run)
            left, right = edges[places[0]], edges[places[-1] + 1]
            axes.axvspan(left, right, color=VERMILION, alpha=0.10, lw=0, label=label)
            label = None


def _edges(lambdas: Sequence[float], is_logarithmic: bool) -> tuple[list[float], list[int]]:
    """Return the middles between neighbours, with one as far outside at each end; and the order."""
    order = sorted(range(len(lambdas)), key=lambda cell: lambdas[cell])
    x = [lambdas[cell] for cell in order]
    middles = [
        math.sqrt(a * b) if is_logarithmic else (a + b) / 2 for a, b in itertools.pairwise(x)
    ]

    def mirrored(own: float, middle: float) -> float:
        return own * own / middle if is_logarithmic else 2 * own - middle

    return [mirrored(x[0], middles[0]), *middles, mirrored(x[-1], middles[-1])], order


def _in_order(grid: Grid, cells: Mapping[int, Any]) -> list[int]:
    return sorted(cells, key=lambda cell: (grid.lambdas[cell], cell))


def _after(grid: Grid) -> str:
    return f" ({grid.length})" if grid.length else ""


def _heights(grid: Grid) -> list[float]:
    found = [*grid.means.values(), *(value for _, value in grid.cut.values())]
    found += [value for values in grid.seeds.values() for value in values]
    return found + [end for ends in grid.intervals.values() for end in ends]
