"""What all pictures have in common: page, axes, scales, legend, and how a file is written.

Matplotlib is imported for the first picture only, as it is slow to load, and through its object
interface: no pyplot, no global state.
"""

import io
import textwrap
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hpo.machine import files
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


def saver(draw: Callable[P, "Figure | None"]) -> Callable[Concatenate[Path, P], bool]:
    """Return the function that draws a figure and writes it; False if there is nothing to draw."""

    def save(path: Path, /, *args: P.args, **kwargs: P.kwargs) -> bool:
        with own_settings():
            figure = draw(*args, **kwargs)
            if figure is not None:
                _write(path, figure)
        return figure is not None

    return save


def new_figure(width: float, height: float, title: str) -> "Figure":
    """Return an empty page with a title, which is written as it is, dollar signs and all."""
    from matplotlib.figure import Figure

    figure = Figure((width, height), dpi=100, facecolor="white", layout="constrained")
    title = textwrap.fill(title, int(8 * width), max_lines=2, placeholder=" …")
    figure.suptitle(printable(title), fontsize=TITLE_SIZE, parse_math=False)
    return figure


def label_axes(axes: "Axes", x: str, y: str) -> None:
    """Name both axes, in the looks of all pictures."""
    axes.set_xlabel(x, fontsize=LABEL_SIZE)
    axes.set_ylabel(y, fontsize=LABEL_SIZE)
    axes.tick_params(labelsize=TEXT_SIZE)
    axes.grid(color="#E4E4E4", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)


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
    files.write(path.parent, {path.name: picture.getvalue()})
