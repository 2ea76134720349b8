"""Pictures of what one network answers: which classes it confuses, and whether it knows that.

They are about validation images: no look at the test images is taken for a picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpo.judging.statistics import mean_accuracy
from hpo.machine.printable import printable
from hpo.views.figures import BLUE, GREY, TEXT_SIZE, VERMILION, label_axes, legend_below, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MISTAKES = 20  #: that are shown
COLUMNS = 5
BINS = 10  #: of confidence
LEGIBLE = 25  #: classes, beyond which no number is written into the confusion matrix


@dataclass(frozen=True, eq=False)
class Answers:
    """What a network says of images whose class is known."""

    labels: NDArray[np.intp]  #: (n,)
    probabilities: NDArray[np.floating]  #: (n, k)
    names: Sequence[str]  #: of the k classes

    @property
    def chosen(self) -> NDArray[np.intp]:
        """The likeliest class of each image, shape (n,)."""
        return np.asarray(self.probabilities.argmax(axis=1))

    @property
    def hits(self) -> NDArray[np.bool_]:
        """Which images were classified rightly, shape (n,)."""
        return np.asarray(self.chosen == self.labels)


def figure_of_confusion(answers: Answers, *, title: str) -> "Figure":
    """Draw how many images of each class were taken for each class, shaded within the class."""
    k = len(answers.names)
    counts = np.zeros((k, k), dtype=int)
    np.add.at(counts, (answers.labels, answers.chosen), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = new_figure(9.5, 7.5, title)
    axes = figure.subplots()
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    label_axes(axes, "class that the network says", "class that the image has")
    axes.grid(visible=False)
    names = [printable(name) for name in answers.names]
    if k <= LEGIBLE:
        axes.set_xticks(range(k), names, rotation=40, ha="right", parse_math=False)
        axes.set_yticks(range(k), names, parse_math=False)
        for row, column in np.ndindex(k, k):
            colour = "white" if shares[row, column] > 0.5 else "#333333"
            style: dict[str, Any] = {"ha": "center", "va": "center", "color": colour, "fontsize": 9}
            axes.text(column, row, str(counts[row, column]), **style)
    bar = figure.colorbar(picture, ax=axes, shrink=0.85)
    bar.set_label("part of the images of the class", fontsize=TEXT_SIZE)
    return figure


def figure_of_classes(answers: Answers, *, title: str) -> "Figure":
    """Draw the accuracy in each class with its 95 % interval over images, best class on top."""
    found = []
    for place, name in enumerate(answers.names):
        hits = answers.hits[answers.labels == place]
        if len(hits) > 1:
            interval = mean_accuracy(hits[np.newaxis])
            found.append((interval.value, interval.low, interval.high, name, len(hits)))
    found.sort(key=lambda one: one[0])
    figure = new_figure(9, 1.8 + 0.42 * max(len(found), 3), title)
    axes = figure.subplots()
    label_axes(axes, "validation accuracy", "")
    values = np.array([one[:3] for one in found]).reshape(-1, 3)
    places = np.arange(len(found))
    bars = np.abs(values[:, 1:].T - values[:, 0])
    style: dict[str, Any] = {"fmt": "o", "color": BLUE, "capsize": 3}
    axes.errorbar(values[:, 0], places, xerr=bars, label="accuracy, 95 % interval", **style)
    whole = float(answers.hits.mean())
    axes.axvline(whole, color=GREY, ls="--", label=f"all classes: {whole:.4f}")
    told = [f"{printable(name)} ({n})" for *_, name, n in found]
    axes.set_yticks(places, told, parse_math=False)
    axes.set_xlim(
        max(0, values[:, 1].min(initial=1) - 0.05), min(1.02, values[:, 2].max(initial=0) + 0.05)
    )
    legend_below(figure, [axes])
    return figure


def figure_of_mistakes(
    answers: Answers, images: NDArray[np.uint8], *, title: str
) -> "Figure | None":
    """Draw the images that the network was surest of and wrong about; None if it made no mistake.

    Args:
        images: Shape (n, height, width, 1 or 3).
    """
    wrong = np.flatnonzero(~answers.hits)
    if not len(wrong):
        return None
    sure = answers.probabilities.max(axis=1)
    shown = wrong[np.argsort(-sure[wrong], kind="stable")][:MISTAKES]
    n_rows = -(-len(shown) // COLUMNS)
    figure = new_figure(10, 2.35 * n_rows + 0.8, title)
    panels = list(figure.subplots(n_rows, COLUMNS, squeeze=False).flat)
    for axes in panels:
        axes.set_axis_off()
    for axes, place in zip(panels, shown, strict=False):
        axes.imshow(images[place].squeeze(), "gray", interpolation="nearest")
        said, true = answers.names[answers.chosen[place]], answers.names[answers.labels[place]]
        told = f"{printable(said)} {sure[place]:.2f}\nis {printable(true)} (image {place})"
        axes.set_title(told, fontsize=9, parse_math=False)
    return figure


def figure_of_calibration(answers: Answers, *, title: str) -> "Figure":
    """Draw how often the network is right against how sure it is, and how many images that is."""
    sure, hits = answers.probabilities.max(axis=1).astype(float), answers.hits
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    known = np.flatnonzero(counts)
    means = np.array([sure[bins == b].mean() for b in known])
    shares = [mean_accuracy(hits[bins == b][np.newaxis]) if counts[b] > 1 else None for b in known]
    figure = new_figure(9.5, 7, title)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    label_axes(upper, "", "share of right answers")
    label_axes(lower, "probability of the likeliest class", "images")
    upper.plot([0, 1], [0, 1], color=GREY, ls="--", label="as sure as right")
    told = [(m, s) for m, s in zip(means, shares, strict=True) if s is not None]
    if told:
        x, y = [m for m, _ in told], np.array([s.value for _, s in told])
        bars = np.abs(np.array([[s.low for _, s in told], [s.high for _, s in told]]) - y)
        style: dict[str, Any] = {"fmt": "o-", "color": BLUE, "capsize": 3}
        upper.errorbar(x, y, bars, label="network, 95 % interval", **style)
    right = np.array([hits[bins == b].mean() for b in known])
    gap = float((counts[known] * np.abs(means - right)).sum() / len(sure))
    upper.plot([], [], " ", label=f"mean distance (expected calibration error): {gap:.3f}")
    lower.bar((np.arange(BINS) + 0.5) / BINS, counts, 0.9 / BINS, color=VERMILION, alpha=0.7)
    upper.set_xlim(0, 1)
    upper.set_ylim(0, 1.02)
    legend_below(figure, [upper], n_columns=2)
    return figure
