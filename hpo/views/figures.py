"""What all pictures have in common: page, axes, scales, legend, and how a file is written.

Matplotlib is imported for the first picture only, as it is slow to load, and through its object
interface: no pyplot, no global state.
"""

import io
import textwrap
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

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
Draw: TypeAlias = Callable[[], "Figure | None"]
FORMATS = ("png", "svg", "pdf")

TITLE_SIZE, LABEL_SIZE, TEXT_SIZE = 13, 12, 11  # points
BLUE, VERMILION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#6E6E6E"  # for colour-blind eyes
ORANGE = "#E69F00"
ORDINARY_COST = 10.0  # always on the scale: ten classes untrained cost 2.3, or 6.9 (binary losses)
STAR: dict[str, Any] = {"marker": "*", "ls": "", "color": VERMILION, "ms": 18, "mec": "white"}
LONGEST_LEGEND = 10  # cells; a study of more has a colour bar


def drawn(draw: Draw) -> "Figure | None":
    """Return a figure in our own looks, whatever the user has set for theirs."""
    with own_settings():
        return draw()


def save(path: Path, draw: Draw) -> bool:
    """Draw a figure and write it, in the format of its suffix; False if there is nothing to draw."""
    suffix = path.suffix[1:]
    content = picture(draw, suffix if suffix in FORMATS else "png")
    if content is not None:
        files.write(path.parent, {path.name: content})
    return content is not None


def picture(draw: Draw, form: str) -> bytes | None:
    """Draw a figure and return it as a file of one of `FORMATS`; None if there is nothing to draw."""
    with own_settings():
        figure = draw()
        return None if figure is None else _bytes(figure, form)


def new_figure(width: float, height: float, title: str) -> "Figure":
    """Return an empty page with a title, which is written as it is, dollar signs and all.

    Each of its lines is escaped and shortened for itself.
    """
    from hpo.views.page import Page

    figure = Page((width, height), dpi=100, facecolor="white", layout="constrained")
    told = [
        textwrap.fill(printable(line), int(8.5 * width), max_lines=2, placeholder=" …")
        for line in title.split("\n")
    ]
    figure.suptitle("\n".join(told), fontsize=TITLE_SIZE, parse_math=False)
    return figure


def figure_of_words(text: str) -> "Figure":
    """Return what stands for a picture that there is not: why."""
    figure = new_figure(9, 1.2, text)
    figure.add_subplot().axis("off")
    return figure


def shorten(text: str, longest: int) -> str:
    """Return a text cut to a number of letters, with a sign that it was."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def label_axes(axes: "Axes", x: str, y: str) -> None:
    """Name both axes, in the looks of all pictures."""
    axes.set_xlabel(x, fontsize=LABEL_SIZE)
    axes.set_ylabel(y, fontsize=LABEL_SIZE)
    axes.tick_params(labelsize=TEXT_SIZE)
    axes.grid(color="#E4E4E4", linewidth=0.7)
    axes.set_axisbelow(True)
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
        legend = figure.legend(entries.values(), entries.keys(), **style)
        for text in legend.get_texts():
            text.set_parse_math(False)


def _bytes(figure: "Figure", form: str) -> bytes:
    """Return a figure as a file; equal figures are equal bytes."""
    import matplotlib

    content = io.BytesIO()
    blank: dict[str, dict[str, None]] = {
        "png": {"Software": None},
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
    with warnings.catch_warnings(), matplotlib.rc_context({"svg.hashsalt": "hpo"}):
        warnings.filterwarnings("ignore", "Glyph")  # letters that the font lacks become boxes
        layout = figure.get_layout_engine()
        if layout is not None:  # done here, as savefig would draw everything twice for it
            layout.execute(figure)
            figure.set_layout_engine("none")
        figure.savefig(content, format=form, dpi="figure", metadata=blank[form])
    return content.getvalue()
