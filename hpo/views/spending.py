"""The picture of what a grid has spent: the accuracy of who led against the updates of all cells."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpo.views.figures import BLUE, GREEN, STAR, Floats, label_axes, legend_below, limit, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Spending:
    """What all cells together had spent at each log point, if they are trained in step."""

    spent: Sequence[int]  #: updates of all cells and seeds until then
    uncut: Sequence[int]  #: the same if no cell had been cut
    accuracies: Floats  #: of the cell that led there, a mean over the seeds


def figure_of_spending(spending: Spending, *, title: str) -> "Figure":
    """Draw the leading accuracy against updates spent, and what they were without cuts."""
    import numpy as np

    figure = new_figure(11, 5.5, title)
    axes = figure.subplots()
    label_axes(
        axes, "updates of all cells together", "validation accuracy of the cell that led then"
    )
    axes.xaxis.set_major_formatter("{x:,.0f}")
    heights = spending.accuracies
    if list(spending.uncut) != list(spending.spent):
        told = f"if no cell were cut: {spending.uncut[-1]:,} updates"
        axes.plot(spending.uncut, heights, color=GREEN, ls="--", lw=1.6, label=told)
    label = f"as it was: {spending.spent[-1]:,} updates"
    axes.plot(spending.spent, heights, color=BLUE, lw=2.2, label=label)
    known = np.flatnonzero(np.isfinite(heights))
    if len(known):
        last = int(known[-1])
        axes.plot(spending.spent[last], heights[last], label=f"last: {heights[last]:.4f}", **STAR)
    axes.set_xlim(0, 1.02 * max(1, spending.uncut[-1]))
    limit(axes, [heights], "accuracy")
    legend_below(figure, [axes], n_columns=3)
    return figure
