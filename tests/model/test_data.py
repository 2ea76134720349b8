"""Data sets: digits, splits, fingerprints, mirror images, and every .npz that is refused."""

import gc
import io
import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from model.data import Dataset, digits, digits_test, npz, npz_test, split
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


def test_digits_hold_out_their_first_300_images_whatever_is_asked_for() -> None:
    parts = split(digits(), 5000)

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
    ],
)
def test_validation_images_come_first_and_are_at_most_a_tenth(
    n: int, asked_for: int, held_out: int
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


IMAGES = np.random.default_rng(0).integers(0, 256, (20, 4, 5), dtype=np.uint8)
LABELS = np.arange(20) % 3


def write(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


def test_an_npz_gives_its_images_labels_and_shape(tmp_path: Path) -> None:
    dataset = npz(write(tmp_path / "letters.npz", images=IMAGES, labels=LABELS))

    assert (dataset.name, dataset.n_classes, dataset.image_shape) == ("letters", 3, (4, 5))
    assert dataset.images.dtype == np.uint8
    assert np.array_equal(dataset.images, IMAGES.reshape(20, 20))
    assert np.array_equal(dataset.labels, LABELS)


@pytest.mark.parametrize(
    ("shape", "image_shape"),
    [
        ((20, 12), ()),  # flat rows have no left and right
        ((20, 3, 4), (3, 4)),  # height and width
        ((20, 3, 2, 2), (3, 2, 2)),  # channels first
        ((20, 2, 2, 3), (2, 2, 3)),  # channels last
        ((20, 2, 2, 3, 1), ()),  # no picture
    ],
)
def test_images_of_any_shape_become_rows(
    tmp_path: Path, shape: tuple[int, ...], image_shape: tuple[int, ...]
) -> None:
    images = np.arange(240, dtype=np.uint8).reshape(shape)

    dataset = npz(write(tmp_path / "some.npz", images=images, labels=LABELS))

    assert dataset.images.shape == (20, 12)
    assert dataset.image_shape == image_shape


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64, np.uint16, ">f8"])
def test_images_that_are_no_bytes_become_float32(tmp_path: Path, dtype: object) -> None:
    path = write(tmp_path / "some.npz", images=IMAGES.astype(dtype), labels=LABELS)

    dataset = npz(path)

    assert dataset.images.dtype == np.float32
    assert np.array_equal(dataset.images, IMAGES.reshape(20, 20))


def test_an_npz_without_test_arrays_has_no_test_part(tmp_path: Path) -> None:
    assert npz_test(write(tmp_path / "some.npz", images=IMAGES, labels=LABELS)) is None


def test_the_test_part_of_an_npz_counts_classes_by_its_training_part(tmp_path: Path) -> None:
    path = write(
        tmp_path / "some.npz",
        images=IMAGES,
        labels=LABELS,
        test_images=IMAGES[:4],
        test_labels=np.array([1, 1, 1, 0]),
    )

    test = npz_test(path)

    assert test is not None
    assert (len(test), test.n_classes) == (4, 3)
    assert test.labels.tolist() == [1, 1, 1, 0]


def with_nan(*images: int) -> np.ndarray:
    broken = IMAGES.astype(np.float64)
    broken[list(images), 2, 2] = np.nan
    return broken


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        # arrays that are not there
        ({"labels": LABELS}, "has no array 'images'; it holds labels"),
        ({"images": IMAGES}, "has no array 'labels'; it holds images"),
        ({}, "has no array 'images'; it holds nothing"),
        # one number an image, none, or no image
        ({"images": np.arange(20), "labels": LABELS}, r"images has shape \(20,\); expected"),
        ({"images": np.zeros((20, 0)), "labels": LABELS}, r"images has shape \(20, 0\)"),
        ({"images": np.zeros((0, 5)), "labels": LABELS[:0]}, r"images has shape \(0, 5\)"),
        # not numbers, or not real ones
        ({"images": IMAGES.astype(str), "labels": LABELS}, "images has type <U"),
        ({"images": IMAGES.astype(complex), "labels": LABELS}, "images has type complex128"),
        ({"images": IMAGES > 5, "labels": LABELS}, "images has type bool"),
        # unpickling could run code
        ({"images": IMAGES.astype(object), "labels": LABELS}, "'images' cannot be read without"),
        ({"images": IMAGES, "labels": LABELS.astype(object)}, "'labels' cannot be read without"),
        # labels that are not one whole number an image
        ({"images": IMAGES, "labels": LABELS[:19]}, r"labels has shape \(19,\) and type int64"),
        ({"images": IMAGES, "labels": np.eye(20)}, r"labels has shape \(20, 20\)"),
        ({"images": IMAGES, "labels": LABELS * 1.0}, r"and type float64; expected \(20,\) whole"),
        # labels that are not 0 to k - 1
        ({"images": IMAGES, "labels": LABELS + 1}, "runs from 1 to 3, but there are 3 classes"),
        ({"images": IMAGES, "labels": LABELS - 1}, "from -1 to 1, .* must be 0 to 2. Renumber"),
        ({"images": IMAGES, "labels": LABELS * 2}, "labels runs from 0 to 4"),
        ({"images": IMAGES, "labels": np.full(20, 4)}, "every label is 4. .* at least two"),
        # values that are not finite, with the first image named
        ({"images": with_nan(13), "labels": LABELS}, r"first in image 13 \(1 images in all\)"),
        ({"images": with_nan(5, 9), "labels": LABELS}, r"first in image 5 \(2 images in all\)"),
        ({"images": with_nan(0) * 0 + np.inf, "labels": LABELS}, "first in image 0"),
        # finite in the file, but not in float32
        ({"images": IMAGES * 1e300, "labels": LABELS}, "not finite, first in image"),
    ],
)
def test_an_npz_that_cannot_teach_a_classifier_is_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    path = write(tmp_path / "some.npz", **arrays)

    with pytest.raises(InvalidData, match=f"^{re.escape(str(path))}:? .*{message}"):
        npz(path)


@pytest.mark.parametrize(
    ("test_arrays", "message"),
    [
        # narrower images than those that the network learns from
        (
            {"test_images": IMAGES[:, :3], "test_labels": LABELS},
            "a test image has shape \\(3, 5\\), a training image \\(4, 5\\)",
        ),
        # a class that the network has no output for
        (
            {"test_images": IMAGES, "test_labels": LABELS + 1},
            "test_labels runs from 1 to 3, but there are 3 classes",
        ),
        # one label too few
        (
            {"test_images": IMAGES, "test_labels": LABELS[1:]},
            r"test_labels has shape \(19,\)",
        ),
        # a broken image
        (
            {"test_images": with_nan(2), "test_labels": LABELS},
            "test_images has values that are not finite, first in image 2",
        ),
    ],
)
def test_a_test_part_that_does_not_fit_is_refused(
    tmp_path: Path, test_arrays: dict[str, np.ndarray], message: str
) -> None:
    path = write(tmp_path / "some.npz", images=IMAGES, labels=LABELS, **test_arrays)

    with pytest.raises(InvalidData, match=message):
        npz_test(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match=r"No such file: .*absent\.npz\."):
        npz(tmp_path / "absent.npz")


def test_a_single_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", IMAGES)

    with pytest.raises(InvalidData, match=r"is a single array, not an \.npz file"):
        npz(tmp_path / "images.npy")


@pytest.mark.parametrize(
    "content",
    [
        b"",  # empty
        b"label,pixel\n1,2\n",  # a table
        b"\x80\x04N.",  # a pickle
        b"\x93NUMPY\x01\x00",  # the beginning of a .npy
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "some.npz"
    path.write_bytes(content)

    with pytest.raises(InvalidData, match=r"cannot be read as an \.npz file .* numpy\.savez"):
        npz(path)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match=r"cannot be read: Is a directory"):
        npz(tmp_path)


def stored_bytes(save: Callable[..., None]) -> bytes:
    stream = io.BytesIO()
    save(stream, images=IMAGES, labels=LABELS)
    return stream.getvalue()


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # has a test of its own below
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_truncated_npz_is_refused_wherever_it_ends(
    tmp_path: Path, save: Callable[..., None]
) -> None:
    content = stored_bytes(save)
    path = tmp_path / "some.npz"

    for length in range(1, len(content), 29):
        path.write_bytes(content[:length])
        with pytest.raises(InvalidData, match=r"cannot be read as an \.npz file"):
            npz(path)
    gc.collect()


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # has a test of its own below
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_npz_is_refused_or_read_but_never_a_crash(
    tmp_path: Path, save: Callable[..., None]
) -> None:
    content = stored_bytes(save)
    path = tmp_path / "some.npz"
    n_refused = 0

    for place in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[place] ^= 0x10
        path.write_bytes(damaged)
        try:
            dataset = npz(path)
        except InvalidData:
            n_refused += 1
        else:  # the bit was in a date or another field that decides nothing
            assert np.array_equal(dataset.images, IMAGES.reshape(20, 20))
            assert np.array_equal(dataset.labels, LABELS)
    gc.collect()
    assert n_refused > len(content) / 12


def test_a_refused_file_is_closed_again(tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    path.write_bytes(stored_bytes(np.savez)[:500])

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(InvalidData):
            npz(path)
        gc.collect()

    assert [str(warning.message) for warning in caught] == []
