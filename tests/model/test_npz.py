"""A user's .npz: what teaches a classifier is read, what cannot is refused."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model.errors import InvalidData
from model.npz import MOST_CLASSES, npz, npz_parts

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
    training, test = npz_parts(write(tmp_path / "some.npz", images=IMAGES, labels=LABELS))
    assert test is None
    assert training.fingerprint == npz(tmp_path / "some.npz").fingerprint


def test_the_test_part_of_an_npz_counts_classes_by_its_training_part(tmp_path: Path) -> None:
    path = write(
        tmp_path / "some.npz",
        images=IMAGES,
        labels=LABELS,
        test_images=IMAGES[:4],
        test_labels=np.array([1, 1, 1, 0]),
    )

    _, test = npz_parts(path)

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
        npz_parts(path)


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


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        # numbers that wrap around to -1 or 0 in a signed type
        (np.array([0, 2**64 - 1] * 10, np.uint64), "from 0 to 18446744073709551615"),
        (np.array([0, 1, 2**63, 2**64 - 2] * 5, np.uint64), "to 18446744073709551614"),
        (np.array([0, 2**63] * 10, np.uint64), "from 0 to 9223372036854775808"),
        (np.array([0, -(2**63)] * 10, np.int64), "from -9223372036854775808 to 0"),
        # a class without an image is named
        (np.array([0, 1, 3, 4] * 5), "Renumber them. Class 2 has no image"),
        (np.array([2, 2, 2, 1] * 5, np.uint8), "Renumber them. Class 0 has no image"),
        # not a class, with what to store instead
        (LABELS[:, None], r"\(20, 1\) and .* Store labels.ravel\(\)"),
        (np.eye(3, dtype=int)[LABELS], r"\(20, 3\) .* labels.argmax\(axis=1\)"),
        (LABELS + 0.5, "type float64; .* from 0 on, as an integer"),
        (np.where(LABELS > 1, np.nan, LABELS), "type float64"),
        (LABELS > 1, "type bool; .* from 0 on, as an integer"),
        (LABELS.astype(complex), "type complex128"),
        (np.array(["cat", "dog"] * 10), "type <U3; .* from 0 on, as an integer"),
        (np.array(3), r"shape \(\)"),
    ],
)
def test_labels_that_are_no_classes_are_refused_with_what_is_wrong(
    tmp_path: Path, labels: np.ndarray, message: str
) -> None:
    with pytest.raises(InvalidData, match=message):
        npz(write(tmp_path / "some.npz", images=IMAGES, labels=labels))


@pytest.mark.parametrize("dtype", [np.uint64, np.int8, ">i4", np.uint16])
def test_labels_of_any_whole_type_are_the_same_classes(tmp_path: Path, dtype: object) -> None:
    found = npz(write(tmp_path / "some.npz", images=IMAGES, labels=LABELS.astype(dtype)))
    assert found.labels.dtype == np.intp
    assert np.array_equal(found.labels, LABELS)


def test_more_classes_than_anybody_has_are_refused(tmp_path: Path) -> None:
    n = MOST_CLASSES + 1
    path = write(tmp_path / "some.npz", images=np.zeros((n, 1), np.uint8), labels=np.arange(n))
    with pytest.raises(InvalidData, match="10,001 different values; at most 10,000"):
        npz(path)


@pytest.mark.parametrize(
    "arrange", [np.asfortranarray, lambda a: np.ascontiguousarray(a)[:, ::-1][:, ::-1]]
)
def test_images_in_any_order_of_memory_are_the_same(
    tmp_path: Path, arrange: Callable[[np.ndarray], np.ndarray]
) -> None:
    plain = npz(write(tmp_path / "a.npz", images=IMAGES, labels=LABELS))
    flat = IMAGES.reshape(20, -1)
    other = npz(write(tmp_path / "b.npz", images=arrange(IMAGES), labels=LABELS))
    rows = npz(write(tmp_path / "c.npz", images=arrange(flat), labels=LABELS))
    assert plain.fingerprint == other.fingerprint
    assert np.array_equal(rows.images, flat)
    assert rows.images.flags.c_contiguous
