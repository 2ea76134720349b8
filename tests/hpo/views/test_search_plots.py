"""Pictures of a searched space show every cell where it belongs, and how far to believe it."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from hpo.definition.ranges import Choice, Dimension, Real, Value, Whole
from hpo.views import search_plots
from hpo.views.search_plots import Search
from tests.hpo.views.pictures import save

NAN = float("nan")
DIMENSIONS: dict[str, Dimension] = {
    "lambda": Real(1e-4, 1e-2, logarithmic=True),
    "eta_max": Real(0.02, 0.3, logarithmic=True),
    "n_s": Whole(450, 1800, 450),
    "normalisation": Choice(("image", "feature")),
    "flip_probability": Choice((0.0, 0.5)),
}


def _sizes(n: int, width: int) -> list[int]:
    return [min(width, n - start) for start in range(0, n, width)]


def search_of(accuracies: list[float | None], **changed: Any) -> Search:
    """Return a search with so many cells, spread over the first of some dimensions."""
    dimensions: dict[str, Dimension] = changed.pop("dimensions", DIMENSIONS)
    n = len(accuracies)
    cells: list[dict[str, Value]] = [
        {name: dimension.at((i + 0.5) / n) for name, dimension in dimensions.items()}
        for i in range(n)
    ]
    given: dict[str, Any] = {
        "cells": cells,
        "n_updates": [100] * n,
        "finals": {},
        "sizes": _sizes(n, 2),
    }
    return Search(dimensions=dimensions, accuracies=accuracies, **(given | changed))


def panels_of(search: Search) -> dict[str, Any]:
    figure = search_plots.figure_of_parameters(search, title="joint")
    return dict(zip(search.dimensions, figure.axes, strict=True))


def progress_of(search: Search) -> Any:
    (axes,) = search_plots.figure_of_progress(search, title="joint").axes
    return axes


def drawn(axes: Any, label: str) -> Any:
    (found,) = (one for one in axes.get_lines() if str(one.get_label()).startswith(label))
    return found


def labels(axes: Any) -> list[str]:
    return [str(line.get_label()) for line in axes.get_lines()]


def heights(axes: Any, line: Any) -> list[float]:
    """Return how high up the axes points are, from 0 to 1."""
    inches = line.get_transform().transform(np.column_stack(line.get_data()))
    return list(axes.transAxes.inverted().transform(inches)[:, 1])


DRAWN = [search_plots.figure_of_parameters, search_plots.figure_of_progress]


@pytest.mark.parametrize("draw", DRAWN)
def test_equal_searches_give_equal_bytes_and_others_do_not(
    draw: Callable[..., Any], tmp_path: Path
) -> None:
    save(tmp_path / "one.png", draw, search_of([0.5, 0.4, 0.6]), title="joint")
    save(tmp_path / "two.png", draw, search_of([0.5, 0.4, 0.6]), title="joint")
    save(tmp_path / "other.png", draw, search_of([0.5, 0.4, 0.7]), title="joint")

    one, two, other = ((tmp_path / f"{name}.png").read_bytes() for name in ("one", "two", "other"))
    assert one == two != other


def test_every_parameter_has_a_panel_that_reaches_over_all_that_is_searched() -> None:
    panels = panels_of(search_of([0.5, 0.4]))

    assert [axes.get_xlabel() for axes in panels.values()] == [
        "λ (L2 penalty)",
        "eta_max",
        "n_s (updates)",
        "normalisation",
        "flip probability",
    ]
    scales = [axes.get_xscale() for axes in panels.values()]
    assert scales == ["log", "log", "linear", "linear", "linear"]
    for name, low, high in (("lambda", 1e-4, 1e-2), ("eta_max", 0.02, 0.3), ("n_s", 450, 1800)):
        left, right = panels[name].get_xlim()
        assert left < low < high < right
    assert len({axes.get_ylim() for axes in panels.values()}) == 1


def test_whole_numbers_and_categories_are_named() -> None:
    panels = panels_of(search_of([0.5, 0.4]))

    assert list(panels["n_s"].get_xticks()) == [450, 900, 1350, 1800]
    for name, names in (
        ("normalisation", ["image", "feature"]),
        ("flip_probability", ["0", "0.5"]),
    ):
        assert [text.get_text() for text in panels[name].get_xticklabels()] == names


def test_a_number_is_drawn_on_a_linear_axis_unless_its_scale_is_logarithmic() -> None:
    panels = panels_of(search_of([0.5, 0.4], dimensions={"lambda": Real(0.0, 0.01)}))

    assert panels["lambda"].get_xscale() == "linear"
    assert panels["lambda"].get_xlim()[0] < 0


def test_every_cell_is_a_point_at_its_value_and_no_line_joins_them() -> None:
    search = search_of([0.52, 0.50, None, NAN, 0.51])
    for name in ("lambda", "eta_max"):
        points = drawn(panels_of(search)[name], "cell")
        known = np.isfinite(points.get_ydata())
        assert list(points.get_ydata()[known]) == [0.52, 0.50, 0.51]
        assert list(points.get_xdata()[known]) == [search.cells[i][name] for i in (0, 1, 4)]
        assert points.get_linestyle() == "None"


def test_cells_of_equal_value_stand_side_by_side_within_its_part() -> None:
    search = search_of([0.5] * 40)
    panels = panels_of(search)
    categories = [["image", "feature"].index(str(c["normalisation"])) for c in search.cells]
    for name, values, step in (
        ("normalisation", categories, 1),
        ("n_s", [int(cell["n_s"]) for cell in search.cells], 450),
    ):
        x = drawn(panels[name], "cell").get_xdata()
        assert len(set(x)) == 40
        assert np.abs(x - np.array(values)).max() <= 0.25 * step


def test_diverged_cells_are_crosses_at_the_bottom() -> None:
    search = search_of([0.5, None, 0.4, 0.9], diverged={1, 3})
    for axes in (panels_of(search)["lambda"], progress_of(search)):
        crosses = drawn(axes, "diverged")
        assert crosses.get_marker() == "x"
        assert heights(axes, crosses) == pytest.approx([0.03, 0.03])
        assert np.nanmax(drawn(axes, "cell").get_ydata()) == 0.5  # a diverged cell has no accuracy
    assert list(drawn(panels_of(search)["lambda"], "diverged").get_xdata()) == [
        search.cells[1]["lambda"],
        search.cells[3]["lambda"],
    ]


def test_cells_far_below_the_others_do_not_flatten_them() -> None:
    search = search_of([0.52, 0.10, 0.50, 0.51, 0.53, 0.515, 0.24, 0.525, 0.505])
    for axes in (panels_of(search)["lambda"], progress_of(search)):
        low = drawn(axes, "off the scale: down to 0.1000")
        assert heights(axes, low) == pytest.approx([0.03, 0.03])
        assert axes.get_ylim()[0] > 0.4
        assert min(drawn(axes, "cell").get_ydata()) == 0.50


def test_while_accuracies_are_spread_all_of_them_are_on_the_scale() -> None:
    axes = panels_of(search_of([0.1, 0.3, 0.5, 0.6]))["lambda"]

    assert axes.get_ylim()[0] < 0.1
    assert not [label for label in labels(axes) if "off the scale" in label]


def test_finalists_are_drawn_twice_and_the_star_is_at_the_mean_over_all_seeds() -> None:
    finals = {0: 0.53, 2: 0.54}
    search = search_of([0.56, 0.50, 0.55, 0.52], finals=finals, n_final_seeds=4, best=2)
    for axes in (panels_of(search)["lambda"], progress_of(search)):
        assert list(drawn(axes, "cell, 1 seed").get_ydata()) == [0.56, 0.50, 0.55, 0.52]
        assert list(drawn(axes, "finalist, mean of 4 seeds").get_ydata()) == [0.53]
        star = drawn(axes, "best: cell 2, accuracy 0.5400, mean of 4 seeds")
        assert star.get_marker() == "*"
        assert list(star.get_ydata()) == [0.54]
        assert star.get_xdata()[0] == drawn(axes, "cell").get_xdata()[2]


def test_before_there_are_finalists_the_star_is_at_the_mean_over_common_seeds() -> None:
    search = search_of([0.56, 0.50], best=0, n_seeds=2)

    names = labels(panels_of(search)["lambda"])
    assert names == ["cell, mean of 2 seeds", "best: cell 0, accuracy 0.5600, mean of 2 seeds"]


def test_a_finalist_below_all_cells_is_on_the_scale() -> None:
    search = search_of([0.56, 0.55, 0.54], finals={0: 0.40, 1: 0.55}, n_final_seeds=2, best=1)

    assert progress_of(search).get_ylim()[0] < 0.40


def test_progress_counts_the_updates_of_all_cells_up_to_each() -> None:
    search = search_of([0.3, None, 0.5, 0.4, 0.6], n_updates=[100, 50, 200, 100, 50])
    axes = progress_of(search)

    assert list(drawn(axes, "cell").get_xdata()) == [100, 150, 350, 450, 500]
    best = drawn(axes, "best so far")
    assert list(best.get_xdata()) == [100, 150, 350, 450, 500]
    assert list(best.get_ydata()) == [0.3, 0.3, 0.5, 0.5, 0.6]
    assert best.get_drawstyle() == "steps-post"


def test_there_is_no_best_so_far_before_the_first_accuracy() -> None:
    best = drawn(progress_of(search_of([None, 0.5, 0.4], diverged={0})), "best so far")

    assert np.isnan(best.get_ydata()[0])
    assert list(best.get_ydata()[1:]) == [0.5, 0.5]


@pytest.mark.parametrize(
    ("width", "ends"),
    [
        (2, [200, 400]),  # the third has not ended before the last cell
        (4, [400]),
        (5, []),
        (8, []),
        (1, []),  # a line at every point would tell nothing
    ],
)
def test_the_ends_of_generations_are_marked(width: int, ends: list[int]) -> None:
    axes = progress_of(search_of([0.3, 0.4, 0.5, 0.4, 0.6], sizes=_sizes(5, width)))

    assert [line.get_xdata()[0] for line in axes.get_lines() if line.get_linestyle() == ":"] == ends


@pytest.mark.parametrize(
    "search",
    [
        search_of([0.5], best=0),
        search_of([0.5, None], best=0),
        search_of([None, None, NAN], diverged={0, 1}),
        search_of([None]),
        search_of([]),
        search_of([0.5, 0.5, 0.5], best=0, finals={0: NAN}),
        search_of([1.0, 0.0], best=0),
        search_of([0.5, 0.4], best=0, dimensions={"lambda": Real(1e-3, 1e-3, logarithmic=True)}),
        search_of([0.5, 0.4], best=0, dimensions={"lambda": Real(0.0, 0.0)}),
        search_of([0.5, 0.4], best=0, dimensions={"n_s": Whole(1, 1000), "x": Choice(("a",))}),
    ],
)
@pytest.mark.parametrize("draw", DRAWN)
def test_incomplete_searches_are_drawn_without_a_warning(
    draw: Callable[..., Any], search: Search, tmp_path: Path
) -> None:
    assert save(tmp_path / "a.png", draw, search, title="joint") is True

    assert np.std(imread(tmp_path / "a.png")) > 0


@pytest.mark.parametrize("n", [1, 5, *(pytest.param(n, marks=pytest.mark.long) for n in (2, 3, 4))])
def test_the_legend_and_the_names_stay_on_the_page(n: int) -> None:
    search = search_of(
        [0.520, 0.510, 0.505, 0.525, 0.530, 0.515, 0.200, None],
        dimensions=dict(list(DIMENSIONS.items())[:n]),
        diverged={7},
        finals={3: 0.5, 4: 0.51},
        n_final_seeds=12,
        best=4,
    )
    for draw in (search_plots.figure_of_parameters, search_plots.figure_of_progress):
        figure = draw(search, title="joint")
        figure.savefig(io.BytesIO())
        (legend,) = figure.legends
        texts = [*legend.get_texts(), *(axes.xaxis.label for axes in figure.axes)]
        assert len(legend.get_texts()) >= 5
        for text in texts:
            box = text.get_window_extent()
            assert 0 < box.x0 < box.x1 <= figure.bbox.width
            assert 0 < box.y0 < box.y1 <= figure.bbox.height
        assert min(axes.get_position().height for axes in figure.axes) > 0.3


def test_cut_cells_stand_where_they_were_cut_and_are_no_best() -> None:
    search = search_of([0.5, None, None, 0.6], cut={1: 0.55, 2: 0.01})
    for axes in panels_of(search).values():
        [cut] = [line for line in axes.lines if line.get_label().startswith("cut, at the end")]
        assert list(cut.get_ydata()) == [0.55]
        assert cut.get_label() == "cut, at the end of a cycle; 1 more below"
