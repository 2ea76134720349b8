"""Which value is white: found in spite of rounding, and told."""

import numpy as np
import pytest

from hpo.weights import brightness
from model.data import Dataset, digits


def dataset(images: np.ndarray, name: str = "mine") -> Dataset:
    return Dataset(name, images, np.zeros(len(images), np.intp), 2, ())


@pytest.mark.parametrize(
    ("values", "white"),
    [
        # bytes
        (np.array([0, 1], np.uint8), 1),  # bits
        (np.array([0, 16], np.uint8), 16),  # as the digits have them
        (np.array([3, 17], np.uint8), 255),
        (np.array([0, 255], np.uint8), 255),
        # shares, rounded or resized
        (np.array([0.0, 0.9]), 1),
        (np.array([0.0, 1.0000001]), 1),
        (np.array([-1e-8, 1.0]), 1),
        (np.array([-0.003, 1.02]), 1),
        (np.array([-0.0, 1.04]), 1),
        # the same for other scales
        (np.array([-1e-5, 16.0001]), 16),
        (np.array([0.0, 255.00002]), 255),
        (np.array([-0.5, 254.9]), 255),
        (np.array([0.0, 256.0]), 255),
        # no pixels
        (np.array([0.0, 300.0]), None),
        (np.array([0.0, 65535.0]), None),
        (np.array([-0.1, 0.9]), None),  # normalised by somebody else
        (np.array([-1.0, 1.0]), None),
        (np.array([-2.4, 2.7]), None),
    ],
)
def test_white_is_the_smallest_that_the_values_fit(values: np.ndarray, white: float | None) -> None:
    images = values if values.dtype == np.uint8 else values.astype(np.float32)

    assert brightness.white(dataset(images[np.newaxis])) == white


def test_of_our_own_images_it_is_known() -> None:
    dark = np.array([[0, 9]], np.uint8)
    assert brightness.white(dataset(dark, "cifar10")) == 255
    assert brightness.white(digits()) == 16


def test_it_is_told_with_the_values_that_it_comes_from() -> None:
    numbers = np.array([[-1e-8, 1.0000001]], np.float32)
    assert brightness.told(dataset(numbers)) == "-1e-08 to 1; white is 1, a guess from these values"
    assert brightness.told(dataset(numbers - 3)).endswith(
        "they are no pixels: a network takes no image files"
    )
    assert brightness.told(digits()) == "0 to 16; white is 16"
