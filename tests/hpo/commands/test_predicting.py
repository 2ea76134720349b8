"""``hpo.predict``: what it says to arrays and other things that are no images for the network."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hpo
from hpo.errors import InvalidImage
from hpo.weights.file import Weights, npz_bytes
from model.data import digits_test
from model.losses import Loss
from model.network import initialise
from model.normalisation import Normalisation


@pytest.fixture
def path(tmp_path: Path) -> Path:
    network = Weights(
        network=initialise(np.random.default_rng(0), 64, 5, 10).astype(np.float32),
        normalisation=Normalisation.IMAGE,
        statistics=None,
        loss=Loss.CROSS_ENTROPY,
        image_shape=(8, 8),
        white=16.0,
        class_names=(),
        about={},
    )
    path = tmp_path / "weights.npz"
    path.write_bytes(npz_bytes(network))
    return path


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float16, np.float32, np.float64])
def test_every_kind_of_real_number_is_taken(path: Path, kind: type) -> None:
    images = digits_test().images[:3]

    found = hpo.predict(path, images.astype(kind).reshape(3, 8, 8))

    assert found.classes.tolist() == hpo.predict(path, images).classes.tolist()


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (np.array(3.0), r"got shape \(\)\.$"),
        (np.zeros(64), r"got shape \(64,\)\. For a single image give images\[np\.newaxis\]\.$"),
        (np.zeros((0, 64)), r"^Images are an array of shape \(n, 64\), .* got shape \(0, 64\)\.$"),
        (np.zeros((2, 0)), r"got shape \(2, 0\)\.$"),
        (np.zeros((8, 8)), r"of 64 values, got 8 in each\. For a single image give images\["),
        (np.zeros((2, 63)), r"of 64 values, got 63 in each\.$"),
        (np.full((2, 64), "dog"), r"^Images are real numbers; got an array of <U3\.$"),
        (np.full((2, 64), None), r"got an array of object\.$"),
        (np.zeros((2, 64), complex), r"got an array of complex128\.$"),
        (np.zeros((2, 64), "datetime64[s]"), r"got an array of datetime64\[s\]\.$"),
        (np.zeros((2, 64), bool), r"got an array of bool\.$"),  # as in an .npz
        (np.full((2, 64), 7.0), r"^Image 0 has one value throughout"),
        (np.full((2, 64), np.nan), r"^Image 0 has values that are not finite"),
        ([], r"^There is no image to classify\.$"),
    ],
)
def test_an_array_that_is_no_images_is_one_sentence(path: Path, images: Any, told: str) -> None:
    with pytest.raises(InvalidImage, match=told):
        hpo.predict(path, images)


@pytest.mark.parametrize(
    ("images", "told"),
    [
        ([[0.0] * 64], "not list of list$"),
        ([np.zeros(64)], "not list of ndarray$"),
        (b"photo.png", "not bytes of int$"),
        (None, "^images must be an array, a path or a list of paths, not NoneType$"),
        (3, "not int$"),
    ],
)
def test_what_is_no_array_and_no_path_is_named_by_its_argument(
    path: Path, images: Any, told: str
) -> None:
    with pytest.raises(TypeError, match=told):
        hpo.predict(path, images)


@pytest.mark.parametrize("weights", [None, 3, b"weights.npz"])
def test_weights_that_are_no_path_are_named_by_their_argument(weights: Any) -> None:
    with pytest.raises(TypeError, match="^weights must be a path, not "):
        hpo.predict(weights, np.zeros((1, 64)))
