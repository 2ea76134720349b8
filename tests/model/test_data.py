"""Data sets: digits, splits, fingerprints, mirror images, and every .npz that is refused."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from model.data import Dataset, digits, digits_test, split
from model.errors import InvalidData

MakeDataset = Callable[..., Dataset]


def test_digits_are_scikit_learns_in_its_order() -> None:
    official = load_digits()
    training, test = digits(), digits_test()

    assert (len(training), len(test)) == (1500, 297)
    assert np.array_equal(np.concatenate([training.images, test.images]), official.data)
    assert np.array_equal(np.concatenate([training.labels, test.labels]), official.target)
    assert training.images.dtype == test.images.dtype == np.uint8
    assert (training.name, training.d, training.n_classes) == ("digits", 64, 10)
    assert training.image_shape == (8, 8)


@pytest.mark.parametrize("asked_for", [5000, 0.2, 0.5])
def test_digits_hold_out_their_first_300_images_whatever_is_asked_for(asked_for: float) -> None:
    parts = split(digits(), asked_for)

    assert (len(parts.validation), len(parts.training)) == (300, 1200)
    assert np.array_equal(parts.validation.images, digits().images[:300])
    assert np.array_equal(parts.training.labels, digits().labels[300:])


@pytest.mark.parametrize(
    ("n", "asked_for", "held_out"),
    [
        (50_000, 5_000, 5_000),  # the coarse and the fine search
        (50_000, 1_000, 1_000),  # the final training
        (3_000, 5_000, 300),  # never more than a tenth
        (29, 5_000, 2),  # a tenth, rounded down
        (20, 5_000, 2),  # the fewest
        (50_000, 0.2, 10_000),  # the joint search
        (3_001, 0.2, 600),  # a share of a small set, too
        (20, 0.1, 2),
    ],
)
def test_validation_images_come_first_and_are_at_most_a_tenth_or_a_share(
    n: int, asked_for: float, held_out: int
) -> None:
    dataset = Dataset("some", np.zeros((n, 1), np.uint8), np.arange(n) % 10, 10, ())

    parts = split(dataset, asked_for)

    assert len(parts.validation) == held_out
    assert parts.validation.labels.tolist() == dataset.labels[:held_out].tolist()
    assert parts.training.labels.tolist() == dataset.labels[held_out:].tolist()


@pytest.mark.parametrize("n", [1, 5, 9, 10, 19])
def test_a_set_too_small_to_split_is_refused(n: int, make_dataset: MakeDataset) -> None:
    with pytest.raises(InvalidData, match=rf"random has {n} images, too few .* at least 20\."):
        split(make_dataset(n, 4), 5000)


def test_validation_images_of_one_class_are_refused(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(100, 4)
    dataset.labels[:10] = 3

    with pytest.raises(InvalidData, match=r"The first 10 images of random, .* are all of class 3"):
        split(dataset, 5000)


def test_a_part_shares_the_images_of_the_whole(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(100, 4)
    part = dataset.take(20, 50)

    assert len(part) == 30
    assert part.images.base is dataset.images
    assert part.labels.tolist() == dataset.labels[20:50].tolist()


@pytest.mark.parametrize(("start", "stop"), [(0, 101), (-1, 5), (5, 5), (7, 3)])
def test_a_part_outside_the_images_is_refused(
    start: int, stop: int, make_dataset: MakeDataset
) -> None:
    with pytest.raises(InvalidData, match=f"random has images 0 to 99; the part {start}:{stop} is"):
        make_dataset(100, 4).take(start, stop)


def test_equal_content_has_equal_fingerprints_wherever_it_lies_in_memory(
    make_dataset: MakeDataset,
) -> None:
    dataset = make_dataset(20, 6)
    spread_out = np.zeros((20, 12), np.uint8)
    spread_out[:, ::2] = dataset.images

    copy = replace(dataset, images=spread_out[:, ::2], labels=dataset.labels.astype(np.int32))

    assert copy.fingerprint == dataset.fingerprint
    assert len(dataset.fingerprint) == 64


@given(image=st.integers(0, 19), value=st.integers(0, 5), bit=st.integers(0, 7))
def test_one_bit_of_one_pixel_changes_the_fingerprint(image: int, value: int, bit: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 6), dtype=np.uint8)
    changed = images.copy()
    changed[image, value] ^= 1 << bit
    labels = np.arange(20)

    before = Dataset("one", images, labels, 20, ()).fingerprint

    assert Dataset("one", changed, labels, 20, ()).fingerprint != before


def test_whatever_decides_a_result_changes_the_fingerprint(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(20, 6)
    labels = dataset.labels.copy()
    labels[19] = (labels[19] + 1) % 10

    others = [
        replace(dataset, labels=labels),  # one label
        replace(dataset, images=dataset.images.astype(np.float32)),  # stored in another type
        replace(dataset, n_classes=11),  # one more output
        replace(dataset, image_shape=(2, 3)),  # mirrored in one way
        replace(dataset, image_shape=(3, 2)),  # mirrored in another
        replace(dataset, images=dataset.images[::-1]),  # in another order
    ]

    assert len({other.fingerprint for other in [dataset, *others]}) == 7


def test_flat_sets_of_other_shapes_differ_in_fingerprint_though_their_bytes_are_equal() -> None:
    two_images = Dataset("flat", np.zeros((2, 16), np.uint8), np.array([0, 1]), 2, ())
    three_images = Dataset("flat", np.zeros((3, 8), np.uint8), np.array([0, 0, 1]), 2, ())

    assert two_images.fingerprint != three_images.fingerprint


@pytest.mark.parametrize(
    ("image_shape", "row", "mirrored"),
    [
        # height 2, width 3
        ((2, 3), [1, 2, 3, 4, 5, 6], [3, 2, 1, 6, 5, 4]),
        # three planes of height 1, width 2
        ((3, 1, 2), [1, 2, 3, 4, 5, 6], [2, 1, 4, 3, 6, 5]),
        # one plane of height 2, width 3
        ((1, 2, 3), [1, 2, 3, 4, 5, 6], [3, 2, 1, 6, 5, 4]),
        # height 2, width 2, three values a pixel
        ((2, 2, 3), [*range(1, 13)], [4, 5, 6, 1, 2, 3, 10, 11, 12, 7, 8, 9]),
        # height 2, width 3, one value a pixel
        ((2, 3, 1), [1, 2, 3, 4, 5, 6], [3, 2, 1, 6, 5, 4]),
    ],
)
def test_mirroring_exchanges_left_and_right(
    image_shape: tuple[int, ...], row: list[int], mirrored: list[int]
) -> None:
    images = np.array([row, row[::-1]], np.uint8)
    dataset = Dataset("some", images, np.array([0, 1]), 2, image_shape)

    assert dataset.mirrored(images).tolist() == [mirrored, mirrored[::-1]]


@pytest.mark.parametrize("image_shape", [(8, 6), (3, 4, 4), (6, 4, 2), (4, 4, 3)])
def test_mirroring_twice_changes_nothing(
    image_shape: tuple[int, ...], make_dataset: MakeDataset
) -> None:
    dataset = make_dataset(5, 48, image_shape=image_shape)
    once = dataset.mirrored(dataset.images)

    assert not np.array_equal(once, dataset.images)
    assert np.array_equal(dataset.mirrored(once), dataset.images)


def test_flat_images_cannot_be_mirrored(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(5, 48)

    with pytest.raises(InvalidData, match=r"random are flat rows .* cannot be mirrored"):
        dataset.mirrored(dataset.images)
