"""Importances and the map of two parameters show the numbers that they are given."""

from pathlib import Path
from typing import Any

import pytest

from hpo.definition.ranges import Choice, Dimension, Real, Value, Whole
from hpo.views.landscape import figure_of_contour, figure_of_importances
from tests.hpo.views.pictures import line, png_size, save

DIMENSIONS: dict[str, Dimension] = {
    "normalisation": Choice(("image", "feature")),
    "n_s": Whole(450, 1800, 450),
    "lambda": Real(1e-4, 1e-1, logarithmic=True),
}
CELLS: list[dict[str, Value]] = [
    {"lambda": lambda_, "n_s": n_s, "normalisation": "image"}
    for lambda_, n_s in ((1e-3, 450), (1e-2, 900), (1e-4, 1800), (1e-1, 1350), (2e-3, 1800))
]
VALUES = [0.40, 0.42, 0.50, 0.30, 0.52]


def contour(**given: Any) -> Any:
    asked = {"dimensions": DIMENSIONS, "cells": CELLS, "values": VALUES, **given}
    return figure_of_contour(**asked, title="joint\ndigits", what="accuracy at the end")


def test_importances_are_bars_with_their_numbers_the_largest_on_top() -> None:
    figure = figure_of_importances({"flip_probability": 0.66, "n_s": 0.34}, title="joint")
    assert figure is not None
    (axes,) = figure.axes

    assert [t.get_text() for t in axes.get_yticklabels()] == ["n_s (updates)", "flip probability"]
    assert [bar.get_width() for bar in axes.patches] == [0.34, 0.66]
    assert [text.get_text() for text in axes.texts] == ["0.34", "0.66"]


def test_nothing_to_explain_is_no_picture() -> None:
    assert figure_of_importances({}, title="joint") is None


def test_the_map_is_over_the_first_two_numbers_and_every_cell_stands_in_its_place() -> None:
    axes = contour(best=CELLS[4]).axes[0]
    dots = next(one for one in axes.collections if one.get_label() == "cell")

    assert (axes.get_xlabel(), axes.get_ylabel()) == ("n_s (updates)", "λ (L2 penalty)")
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "log")
    assert dots.get_offsets().tolist() == [[c["n_s"], c["lambda"]] for c in CELLS]
    assert dots.get_array().tolist() == VALUES
    star = line(axes, "best")
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (1800, 2e-3)


@pytest.mark.parametrize(
    "given",
    [
        {"dimensions": {"lambda": DIMENSIONS["lambda"], "normalisation": Choice(("image",))}},
        {"cells": CELLS[:3], "values": VALUES[:3]},
        {"values": [0.5] * 5},
    ],
)
def test_without_two_numbers_or_heights_there_is_no_map(given: dict[str, Any]) -> None:
    assert contour(**given) is None


def test_cells_in_a_line_are_dots_without_a_surface(tmp_path: Path) -> None:
    cells = [{"lambda": 1e-3, "n_s": n_s} for n_s in (450, 900, 1350, 1800)]
    dimensions = {name: DIMENSIONS[name] for name in ("n_s", "lambda")}
    asked: dict[str, Any] = {"title": "joint", "what": "accuracy"}

    values = [0.1, 0.2, 0.3, 0.4]
    assert save(tmp_path / "a.png", figure_of_contour, dimensions, cells, values, **asked)
    png_size(tmp_path / "a.png")
