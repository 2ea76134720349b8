"""Pictures of a whole study: every cell is shown and named, and none hides the others."""

import io
from pathlib import Path

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
    lines,
    png_size,
    save,
)


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


@pytest.mark.parametrize("best", [0, 1, 50, 98, 99])
def test_the_best_of_many_cells_is_among_those_that_are_named(best: int) -> None:
    curves = [Curve(UPDATES, empty(), falling())] * 100
    labels = [f"cell {k}" for k in range(100)]
    figure = plots.figure_of_study_curves(curves, labels, title="study", best=best)

    names = [text.get_text() for text in figure.axes[2].get_yticklabels()]
    assert labels[best] in names
    assert len(set(names)) == 10


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
    save(tmp_path / "a.png", plots.figure_of_study_curves, [], [], title="study")

    assert png_size(tmp_path / "a.png") == (1400, 550)


def test_a_diverged_cell_does_not_flatten_the_other_cells() -> None:
    costs = [[2.0, 1.5, 1.2], [2.1, 1.6, 1.3], [2.2, 1e9, NAN]]
    figure = plots.figure_of_study_curves([curve_of(c) for c in costs], list("abc"), title="study")

    assert figure.axes[1].get_ylim()[1] == pytest.approx(1.08 * 2.2)
