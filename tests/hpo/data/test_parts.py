"""Validation images that do not stand for the others: refused by name, or told."""

import numpy as np
import pytest

from hpo.data import parts, shuffling
from model.data import Dataset, digits, split
from model.errors import InvalidData

RNG = np.random.default_rng(3)


def dataset(labels: np.ndarray, n_classes: int | None = None, name: str = "birds") -> Dataset:
    """Images of noise, no two of them equal."""
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 16), dtype=np.uint8)
    return Dataset(name, images, labels.astype(np.intp), n_classes or int(labels.max()) + 1, ())


def noisy(share: float, n: int = 4000, k: int = 10) -> np.ndarray:
    """Labels that are sorted but for a share of them."""
    labels = np.sort(np.arange(n) % k)
    places = RNG.choice(n, int(share * n), replace=False)
    labels[places] = RNG.permutation(labels[places])
    return labels


def with_first(label: int, n: int = 1000) -> np.ndarray:
    """Mixed labels of three classes, of which one is in the first tenth alone."""
    return np.concatenate(
        [[label] + [0, 1, 2] * (n // 30), ([c for c in range(3) if c != label] * n)[:n]]
    )


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        # sorted, or nearly so
        (np.sort(np.arange(2000) % 3)[::-1], "are all of class 2"),
        (
            np.sort(np.arange(2000) % 30),
            "Class 3 of birds has 67 training images and none among the first",
        ),
        (
            noisy(0.1),
            "Class 0 of birds is 9.* of the others, so the images are not in a mixed order",
        ),
        (noisy(0.5), "so the images are not in a mixed order. `hpo data shuffle FILE NEW_FILE`"),
        (noisy(0.7)[::-1], "Class 9 of birds"),
        (np.roll(noisy(0.3), 100), "so the images are not in a mixed order"),
        # in one part only
        (
            with_first(2),
            "Class 2 of birds has .* validation images and none among the training images",
        ),
        (np.append(np.arange(999) % 3, 3), "Class 3 of birds has 1 training images and none among"),
        # fewer validation images than classes
        (
            np.arange(100) % 20,
            "first 10 images, which validate. There are 20 classes. `hpo data shuffle",
        ),
    ],
)
def test_parts_that_differ_are_refused_with_the_class(labels: np.ndarray, told: str) -> None:
    with pytest.raises(InvalidData, match=told):
        parts.check(split(dataset(labels), 5000))


def test_a_class_without_any_image_is_named() -> None:
    labels = np.array([0, 1, 3] * 100)
    with pytest.raises(InvalidData, match="Class 2 of birds has 0 training images and none"):
        parts.check(split(dataset(labels), 5000))


@pytest.mark.parametrize(
    "labels",
    [
        np.random.default_rng(1).integers(0, 10, 4000),
        np.random.default_rng(2).integers(0, 100, 50_000),
        np.arange(4000) % 7,  # in turns
        np.random.default_rng(4).choice(3, 5000, p=[0.98, 0.015, 0.005]),  # rare classes
    ],
)
def test_mixed_files_pass_without_a_word(labels: np.ndarray) -> None:
    told: list[str] = []
    parts.check(split(dataset(labels), 5000), told.append)
    assert told == []


def test_a_mixed_file_is_not_refused_by_chance() -> None:
    for seed in range(300):
        labels = np.random.default_rng(seed).integers(0, 5, 1000)
        parts.check(split(dataset(labels), 100))


def test_a_small_drift_is_told_and_not_refused() -> None:
    rng = np.random.default_rng(0)
    first = rng.choice(2, 5000, p=[0.6, 0.4])
    told: list[str] = []
    parts.check(split(dataset(np.append(first, np.arange(45_000) % 2)), 5000), told.append)
    (note,) = told
    assert "not in a mixed order; accuracies are those of the first ones." in note


@pytest.mark.parametrize(
    ("n", "points"), [(200, "5 points"), (1000, "1 points"), (1990, "0.5 points")]
)
def test_a_validation_set_in_which_cells_tie_is_said_to_be_too_small(n: int, points: str) -> None:
    told: list[str] = []
    parts.check(split(dataset(np.arange(n) % 2), 5000), told.append)
    (note,) = told
    assert f"has only {n // 10} validation images: one is {points} of accuracy" in note


def test_images_that_are_in_both_parts_are_counted() -> None:
    whole = dataset(np.arange(3000) % 2)
    whole.images[:7] = whole.images[-7:]
    told: list[str] = []
    parts.check(split(whole, 300), told.append)
    assert told == ["7 of the 300 validation images of birds are training images too."]


def test_our_own_images_pass() -> None:
    told: list[str] = []
    parts.check(split(digits(), 5000), told.append)
    assert told == []


@pytest.mark.parametrize(
    "labels",
    [
        np.sort(np.arange(4000) % 10),
        np.repeat([0, 1, 2], [500, 30, 2]),  # rare classes
        np.arange(200) % 20,  # as many validation images as classes
        noisy(0.5),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_mixed_order_can_be_split(labels: np.ndarray, seed: int) -> None:
    order = shuffling.order(labels, rng=np.random.default_rng(seed))

    assert np.array_equal(np.sort(order), np.arange(len(labels)))
    assert not np.array_equal(order, shuffling.order(labels, rng=np.random.default_rng(seed + 9)))
    parts.check(split(dataset(labels[order]), 5000))
