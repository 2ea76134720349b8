"""Pictures of the first layer: every weight stands at its pixel, or there is no picture."""

from pathlib import Path

import numpy as np
import pytest

from hpo.views import plots
from tests.hpo.views.pictures import INF, NAN, png_size, save


def drawn_weights(w1: np.ndarray, image_shape: tuple[int, ...]) -> np.ndarray:
    figure = plots.figure_of_first_layer(w1, image_shape, title="weights")
    assert figure is not None
    (image,) = figure.axes[0].get_images()
    assert image.origin == "upper"
    assert not figure.axes[0].axison
    return np.asarray(image.get_array())


@pytest.mark.parametrize(
    ("image_shape", "flat_index"),
    [
        ((3, 4, 6), 1 * 24 + 0 * 6 + 5),  # channels first: green, row 0, column 5
        ((4, 6, 3), (0 * 6 + 5) * 3 + 1),  # channels last: the same pixel
    ],
)
def test_a_colour_weight_is_drawn_at_its_row_column_and_channel(
    image_shape: tuple[int, ...], flat_index: int
) -> None:
    w1 = np.zeros((72, 2), np.float32)
    w1[0, 0] = 1.0  # top left, red, of the first unit
    w1[flat_index, 1] = -2.0
    drawn = drawn_weights(w1, image_shape)

    first, second = drawn[:4, :6], drawn[:4, 7:13]  # a gap of one between them
    assert first[0, 0].tolist() == [255, 128, 128]
    assert (first.reshape(-1, 3)[1:] == 128).all()
    assert second[0, 5].tolist() == [128, 1, 128]
    assert (second == 128).sum() == 71
    assert (drawn[:, 6] == 255).all()


def test_a_grey_weight_is_drawn_upright() -> None:
    w1 = np.zeros((6, 1))
    w1[0, 0], w1[2, 0], w1[3, 0] = 1.0, 0.5, -1.0  # 2 rows of 3

    assert drawn_weights(w1, (2, 3)).tolist() == [[255, 128, 192], [1, 128, 128]]


def test_fifty_units_stand_in_five_rows_of_ten_in_order() -> None:
    w1 = np.zeros((16, 50))
    w1[0, 10] = 1.0  # the first unit of the second row

    drawn = drawn_weights(w1, (4, 4))
    assert drawn.shape == (5 * 5 - 1, 10 * 5 - 1)
    assert drawn[5, 0] == 255
    assert (drawn[5:9, 0:4] == 128).sum() == 15


def test_each_image_has_its_own_scale() -> None:
    w1 = np.array([[1e-6, 100.0], [-1e-6, 50.0]])

    assert plots.weight_images(w1, (1, 2)).tolist() == [  # type: ignore[union-attr]
        [[[255], [1]]],
        [[[255], [192]]],
    ]


@pytest.mark.parametrize("weight", [0.0, 3.0, -3.0, NAN, INF, 5e-324, 1.7e308])
@pytest.mark.parametrize("m", [1, 53])
def test_constant_or_lost_weights_are_drawn_without_a_warning(
    weight: float, m: int, tmp_path: Path
) -> None:
    w1 = np.full((64, m), weight)

    assert (
        save(tmp_path / "w.png", plots.figure_of_first_layer, w1, (8, 8), title="weights") is True
    )
    png_size(tmp_path / "w.png")


@pytest.mark.parametrize(
    ("shape", "image_shape"),
    [
        ((64, 50), ()),  # flat rows
        ((64, 50), (64,)),
        ((64, 50), (8, 9)),  # other pixels than weights
        ((50, 5), (5, 5, 2)),  # two channels are no colours
        ((64, 0), (8, 8)),  # no units
    ],
)
def test_weights_that_are_no_images_are_not_drawn(
    shape: tuple[int, int], image_shape: tuple[int, ...], tmp_path: Path
) -> None:
    drawn = save(
        tmp_path / "w.png", plots.figure_of_first_layer, np.ones(shape), image_shape, title="none"
    )

    assert drawn is False
    assert list(tmp_path.iterdir()) == []
