"""Pictures of a whole study: every cell is shown and named, and none hides the others."""

import io
from pathlib import Path

import numpy as np
import pytest

from hpo.views import plots
from hpo.views.plots import Curve
from tests.hpo.views.pictures import (
    NAN,
    UPDATES,
    curve_of,
    empty,
    falling,
    legend_of,
    line,
    lines,
    png_size,
)


def test_accuracies_are_joined_in_the_order_of_lambda_without_the_missing() -> None:
    figure = plots.figure_of_accuracy_against_lambda(
        [1e-1, 1e-5, 1e-3, 1e-4, 1e-2],
        [0.2, 0.5, 0.6, None, NAN],
        title="joint",
        best=2,
        logarithmic=True,
    )
    (axes,) = figure.axes

    assert axes.get_xscale() == "log"
    assert list(line(axes, "validation accuracy").get_xdata()) == [1e-5, 1e-3, 1e-1]
    assert list(line(axes, "validation accuracy").get_ydata()) == [0.5, 0.6, 0.2]
    star = line(axes, "best: λ = 0.001, accuracy 0.6000")
    assert (list(star.get_xdata()), list(star.get_ydata())) == ([1e-3], [0.6])
    assert "best: λ = 0.001, accuracy 0.6000" in legend_of(figure)


def test_diverged_cells_are_crosses_at_the_bottom() -> None:
    (axes,) = plots.figure_of_accuracy_against_lambda(
        [0.1, 0.2, 0.3],
        [0.5, 0.4, None],
        title="fine",
        best=0,
        logarithmic=False,
        diverged=[False, True, True],
    ).axes

    crosses = line(axes, "diverged")
    assert (axes.get_xscale(), crosses.get_marker()) == ("linear", "x")
    assert list(crosses.get_xdata()) == [0.2, 0.3]
    heights = axes.transAxes.inverted().transform(
        crosses.get_transform().transform(np.column_stack(crosses.get_data()))
    )[:, 1]
    assert heights == pytest.approx(0.03)
    assert list(line(axes, "validation accuracy").get_xdata()) == [0.1]


@pytest.mark.parametrize(
    ("lambdas", "accuracies", "best", "diverged"),
    [
        ([], [], None, []),
        ([1e-3], [0.5], 0, []),
        ([1e-3, 1e-2], [None, NAN], None, [True, True]),  # nothing but diverged cells
        ([1e-3, 1e-2], [None, 0.5], 0, [True]),  # a best cell without a value, a short list
        ([0.0, 1e-2], [0.5, 0.5], 0, []),  # no place for 0 on a logarithmic axis
        ([1e-3, 1e-2], [1.0, 1.0], 0, []),
    ],
)
def test_incomplete_studies_are_drawn_without_a_warning(
    lambdas: list[float],
    accuracies: list[float | None],
    best: int | None,
    diverged: list[bool],
    tmp_path: Path,
) -> None:
    plots.save_accuracy_against_lambda(
        tmp_path / "a.png",
        lambdas,
        accuracies,
        title="coarse",
        best=best,
        logarithmic=True,
        diverged=diverged,
    )

    assert png_size(tmp_path / "a.png") == (900, 550)


@pytest.mark.parametrize("n", [1, 10, 11, 24, 100])
def test_a_study_shows_every_cell_and_names_them(n: int) -> None:
    curves = [Curve(UPDATES, empty(), falling(start=2 + k / n)) for k in range(n)]
    labels = [f"cell {k}" for k in range(n)]
    figure = plots.figure_of_study_curves(curves, labels, title="study", cycle_ends=[1000])
    accuracy, cost = figure.axes[:2]

    assert (accuracy.get_ylabel(), cost.get_ylabel()) == ("validation accuracy", "validation cost")
    cells = lines(cost)[1:]  # after the end of the cycle
    assert [list(cell.get_ydata()) for cell in cells] == [c.validation["cost"] for c in curves]
    assert len({cell.get_color() for cell in cells}) == n
    bars = figure.axes[2:]
    names = [text.get_text() for text in bars[0].get_yticklabels()] if bars else legend_of(figure)
    assert set(names) <= {*labels, "end of a cycle"}
    assert {labels[0], labels[-1]} <= set(names)
    assert n > 10 or set(labels) <= set(names)


@pytest.mark.parametrize("n", [10, 11])
def test_long_cell_names_stay_on_the_page(n: int) -> None:
    curves = [Curve(UPDATES, empty(), falling())] * n
    labels = [f"λ = 0.00{k}123, eta_max = 0.1, n_s = 900" for k in range(n)]
    figure = plots.figure_of_study_curves(curves, labels, title="study", cycle_ends=[1000])
    figure.savefig(io.BytesIO())

    written = [text for legend in figure.legends for text in legend.get_texts()]
    written += [text for axes in figure.axes[2:] for text in axes.get_yticklabels()]
    assert len(written) == 11
    for text in written:
        assert 0 < text.get_window_extent().x0 < text.get_window_extent().x1 <= 1400
    assert figure.axes[0].get_position().width > 0.25  # and leave room for the curves


def test_a_study_without_cells_can_be_drawn(tmp_path: Path) -> None:
    plots.save_study_curves(tmp_path / "a.png", [], [], title="study")

    assert png_size(tmp_path / "a.png") == (1400, 550)


def test_a_diverged_cell_does_not_flatten_the_other_cells() -> None:
    costs = [[2.0, 1.5, 1.2], [2.1, 1.6, 1.3], [2.2, 1e9, NAN]]
    figure = plots.figure_of_study_curves([curve_of(c) for c in costs], list("abc"), title="study")

    assert figure.axes[1].get_ylim()[1] == pytest.approx(1.08 * 2.2)
