"""The three normalisations against their definitions, and what they must never touch."""

import re
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from model.data import Dataset, digits, split
from model.errors import InvalidData
from model.normalisation import CHUNK, Inputs, Normalisation, feature_statistics

KINDS = pytest.mark.parametrize("kind", list(Normalisation))
#: More than one chunk of images, the last one not full.
N = CHUNK + 203


def random_images(dtype: type) -> Dataset:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (N, 3 * 4 * 5)).astype(dtype)
    if dtype is np.float32:
        images = (images / np.float32(255)).astype(np.float32)
    return Dataset("random", images, rng.integers(0, 10, N), 10, (3, 4, 5))


def by_definition(dataset: Dataset, kind: Normalisation) -> NDArray[np.float64]:
    images = dataset.images.astype(np.float64)
    if kind is Normalisation.IMAGE:
        return (images - images.mean(axis=1, keepdims=True)) / images.std(axis=1, keepdims=True)
    if kind is Normalisation.FEATURE:
        return (images - images.mean(axis=0)) / images.std(axis=0)
    return images


@KINDS
@pytest.mark.parametrize("stored", [np.uint8, np.float32])
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [
        (np.float64, 1e-12),  # the notebook's precision
        (np.float32, 2e-6),  # the standard protocol's; values up to about 4
    ],
)
def test_inputs_follow_the_definition(
    kind: Normalisation, stored: type, dtype: type, tolerance: float
) -> None:
    dataset = random_images(stored)

    inputs = Inputs(dataset, kind, dtype)

    assert inputs.all().dtype == dtype
    np.testing.assert_allclose(inputs.all(), by_definition(dataset, kind), rtol=0, atol=tolerance)


def test_every_image_gets_mean_0_and_deviation_1() -> None:
    rows = Inputs(random_images(np.uint8), Normalisation.IMAGE, np.float64).all()

    np.testing.assert_allclose(rows.mean(axis=1), 0, atol=1e-14)
    np.testing.assert_allclose(rows.std(axis=1), 1)


def test_validation_images_are_normalised_with_the_training_images_statistics() -> None:
    parts = split(replace(random_images(np.uint8), n_validation=100), 100)
    statistics = feature_statistics(parts.training)

    rows = Inputs(parts.validation, Normalisation.FEATURE, np.float64, statistics).all()

    training = parts.training.images.astype(np.float64)
    validation = parts.validation.images.astype(np.float64)
    expected = (validation - training.mean(axis=0)) / training.std(axis=0)
    np.testing.assert_allclose(rows, expected, atol=1e-12)


def test_a_feature_that_never_varies_is_divided_by_1() -> None:
    statistics = feature_statistics(digits())  # three corners of a digit are always blank
    deviation = digits().images.astype(np.float64).std(axis=0)

    never_varies = deviation == 0
    assert never_varies.sum() == 3
    assert (statistics.deviation[never_varies] == 1).all()
    np.testing.assert_allclose(statistics.deviation[~never_varies], deviation[~never_varies])


@pytest.mark.parametrize("value", [0.1, 0.5, 0.7, 123.456])
def test_a_float_feature_that_never_varies_is_divided_by_1(value: float) -> None:
    images = np.random.default_rng(0).random((1000, 2), dtype=np.float32)
    images[:, 0] = value

    statistics = feature_statistics(Dataset("flat", images, np.arange(1000) % 2, 2, ()))

    assert statistics.deviation[0] == 1
    assert statistics.mean[0] == pytest.approx(np.float32(value), rel=1e-12)


@pytest.mark.parametrize(
    ("stored", "value"),
    [
        (np.uint8, 0),  # black
        (np.uint8, 255),  # white
        (np.float32, 0.1),  # a number that binary fractions miss
    ],
)
def test_a_constant_image_is_refused_by_its_number(stored: type, value: float) -> None:
    dataset = random_images(stored)
    dataset.images[[7, CHUNK + 3]] = value
    sentence = (
        "Image 7 of random has one value throughout (2 such images), so it has no deviation to be "
        "divided by. Remove these images or use the normalisation 'feature'."
    )

    with pytest.raises(InvalidData, match=re.escape(sentence)):
        Inputs(dataset, Normalisation.IMAGE, np.float32)


@pytest.mark.parametrize("kind", [Normalisation.FEATURE, Normalisation.NONE])
def test_a_constant_image_is_no_obstacle_to_the_other_kinds(kind: Normalisation) -> None:
    dataset = random_images(np.uint8)
    dataset.images[7] = 9

    assert np.isfinite(Inputs(dataset, kind, np.float32).all()).all()


@KINDS
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "places",
    [
        slice(0, 10),  # the first few
        slice(CHUNK - 5, CHUNK + 5),  # across a chunk of `all`
        slice(N - 3, N),  # the last few
        np.array([5]),  # one
        np.array([N - 1, 0, 77, 77, CHUNK]),  # in any order, one twice
    ],
)
def test_filling_some_rows_equals_those_rows_of_all(
    kind: Normalisation, dtype: type, places: slice | NDArray[np.intp]
) -> None:
    inputs = Inputs(random_images(np.uint8), kind, dtype)
    expected = inputs.all()[places]

    out = np.full_like(expected, np.nan)
    inputs.fill(out, places)

    assert np.array_equal(out, expected)


@KINDS
@pytest.mark.parametrize("places", [slice(2, 8), np.array([9, 2, 2, 7, 1, 0])])
def test_only_the_chosen_rows_are_mirrored(
    kind: Normalisation, places: slice | NDArray[np.intp]
) -> None:
    dataset = random_images(np.uint8)
    statistics = feature_statistics(dataset)
    turned = replace(dataset, images=dataset.mirrored(dataset.images))
    plain = Inputs(dataset, kind, np.float64, statistics).all()[places]
    all_turned = Inputs(turned, kind, np.float64, statistics).all()[places]
    chosen = np.array([True, False, False, True, True, False])

    out = np.empty_like(plain)
    Inputs(dataset, kind, np.float64, statistics).fill(out, places, chosen)

    np.testing.assert_allclose(out[chosen], all_turned[chosen], atol=1e-12)
    assert np.array_equal(out[~chosen], plain[~chosen])
    assert not np.allclose(out[chosen], plain[chosen])


@KINDS
@pytest.mark.parametrize("stored", [np.uint8, np.float32])
@pytest.mark.parametrize("places", [slice(0, 6), np.arange(6)])
def test_stored_images_stay_as_they_are(
    kind: Normalisation, stored: type, places: slice | NDArray[np.intp]
) -> None:
    dataset = random_images(stored)
    before = dataset.images.tobytes()
    inputs = Inputs(dataset, kind, np.float32)
    out = np.empty((6, dataset.d), np.float32)

    inputs.fill(out, places, np.ones(6, dtype=bool))
    inputs.fill(out, places)
    inputs.all()

    assert dataset.images.tobytes() == before


def test_inputs_are_as_many_as_the_images_and_keep_their_labels() -> None:
    dataset = random_images(np.uint8)
    inputs = Inputs(dataset, Normalisation.IMAGE, np.float32)

    assert len(inputs) == len(dataset) == N
    assert inputs.labels.tolist() == dataset.labels.tolist()
