"""Pictures of answers count what a network said, and look at no test image."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpo.views import answer_plots
from hpo.views.answer_plots import Answers
from tests.hpo.views.pictures import legend_of, png_size, save

#: Five images of three classes; the second and the last are taken for others.
ANSWERS = Answers(
    labels=np.array([0, 0, 1, 2, 2]),
    probabilities=np.array(
        [[0.9, 0.1, 0], [0.2, 0.7, 0.1], [0.3, 0.6, 0.1], [0, 0, 1.0], [0.95, 0.02, 0.03]]
    ),
    names=("cat", "dog", "<b>$x"),
)


def numbers(axes: Any) -> list[int]:
    return [int(text.get_text()) for text in axes.texts]


def test_the_confusion_matrix_counts_who_was_taken_for_whom() -> None:
    axes = answer_plots.figure_of_confusion(ANSWERS, title="final").axes[0]

    assert numbers(axes) == [1, 1, 0, 0, 1, 0, 1, 0, 1]
    assert np.asarray(axes.get_images()[0].get_array())[0] == pytest.approx([0.5, 0.5, 0])
    assert [t.get_text() for t in axes.get_yticklabels()] == ["cat", "dog", "<b>$x"]


def test_accuracy_by_class_has_every_class_of_two_images_or_more() -> None:
    (axes,) = answer_plots.figure_of_classes(ANSWERS, title="final").axes

    assert [t.get_text() for t in axes.get_yticklabels()] == ["cat (2)", "<b>$x (2)"]
    assert list(axes.containers[0].lines[0].get_xdata()) == [0.5, 0.5]
    assert axes.get_lines()[-1].get_label() == "all classes: 0.6000"


def test_mistakes_begin_with_the_surest_and_hold_nothing_that_is_right() -> None:
    images = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1) * np.ones((1, 2, 2, 1), np.uint8)
    figure = answer_plots.figure_of_mistakes(ANSWERS, images, title="final")
    assert figure is not None
    shown = [axes for axes in figure.axes if axes.get_images()]

    titles = [axes.get_title() for axes in shown]
    assert titles == ["cat 0.95\nis <b>$x (image 4)", "dog 0.70\nis cat (image 1)"]
    assert [int(np.max(a.get_images()[0].get_array())) for a in shown] == [4, 1]


def test_a_network_without_a_mistake_has_no_picture_of_them() -> None:
    right = Answers(np.array([0]), np.array([[1.0, 0.0]]), ("a", "b"))

    nothing = answer_plots.figure_of_mistakes(right, np.zeros((1, 2, 2, 1), np.uint8), title="t")
    assert nothing is None


def test_calibration_shows_how_often_it_is_right_and_how_far_that_is_from_what_it_says() -> None:
    figure = answer_plots.figure_of_calibration(ANSWERS, title="final")
    upper, lower = figure.axes

    assert [bar.get_height() for bar in lower.patches] == [0, 0, 0, 0, 0, 0, 1, 1, 0, 3]
    assert list(upper.containers[0].lines[0].get_ydata()) == pytest.approx([2 / 3])
    gap = (abs(0.6 - 1) + abs(0.7 - 0) + 3 * abs(0.95 - 2 / 3)) / 5
    assert f"mean distance (expected calibration error): {gap:.3f}" in legend_of(figure)


DRAWN = [
    answer_plots.figure_of_confusion,
    answer_plots.figure_of_classes,
    answer_plots.figure_of_calibration,
]


@pytest.mark.parametrize("draw", DRAWN)
def test_answers_are_drawn_without_a_warning(draw: Any, tmp_path: Path) -> None:
    assert save(tmp_path / "a.png", draw, ANSWERS, title="final\ndigits")
    png_size(tmp_path / "a.png")
