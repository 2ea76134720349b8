"""Data sets in a user's ``.npz``: arrays ``images`` (n, ...) and ``labels``, perhaps a test part."""

import hashlib
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.archive import Archive, Damaged, listed, opened
from model.data import Dataset
from model.errors import InvalidData
from model.files import open_regular

#: Classes beyond which labels are taken for something else, such as the number of an image.
MOST_CLASSES = 10_000
LONGEST_NAME = 100  #: characters of a name for images
Rows = NDArray[np.uint8] | NDArray[np.float32]


def npz(path: Path) -> Dataset:
    """Return the training part."""
    with _opened(path) as stored:
        return _part(path, stored, "images", "labels")


def npz_parts(path: Path) -> tuple[Dataset, Dataset | None]:
    """Return the training part and the test part, of one state of the file; None without the latter.

    The test part is in the arrays ``test_images`` and ``test_labels``.
    """
    with _opened(path) as stored:
        training = _part(path, stored, "images", "labels")
        if not any(name in stored for name in ("test_images", "test_labels")):
            return training, None
        test = _part(path, stored, "test_images", "test_labels", training.n_classes)
    if (test.d, test.image_shape) != (training.d, training.image_shape):
        shapes = [data.image_shape or (data.d,) for data in (test, training)]
        raise InvalidData(
            f"{path}: a test image has shape {shapes[0]}, a training image {shapes[1]}; they must agree."
        )
    return training, test


def npz_arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    """Return all arrays, as they are."""
    with _opened(path) as stored:
        return {name: _array(path, stored, name) for name in stored.names}


def npz_name(path: Path) -> str:
    """Return what the images of an ``.npz`` are called: by no name that other images have.

    It has letters, digits, - and _, so that studies can be named for it.

    >>> npz_name(Path("my data (1).npz")), npz_name(Path(".npz")), npz_name(Path("digits.npz"))
    ('my-data-1', 'data', 'digits-npz')
    """
    stem = path.name[: -len(".npz")] if path.name.lower().endswith(".npz") else path.stem
    composed = unicodedata.normalize("NFC", stem)
    kept = "".join(c if c.isalnum() or c in "-_" else " " for c in composed)
    name = "-".join(kept.split())
    if not any(c.isalnum() for c in name):
        name = "data"
    if len(name) > LONGEST_NAME:  # the rest still tells two of them apart
        name = f"{name[: LONGEST_NAME - 9]}-{hashlib.sha256(stem.encode(errors='replace')).hexdigest()[:8]}"
    return f"{name}-npz" if name in ("cifar10", "digits") else name


def npz_to_classify(path: Path, n_classes: int) -> tuple[Rows, NDArray[np.intp] | None]:
    """Return the array ``images`` (n, ...) of an ``.npz``, and ``labels`` (n,) if it has them.

    Values that are not finite are left for whoever looks at the images one by one.
    """
    with _opened(path) as stored:
        images = _numbers(path, "images", _array(path, stored, "images"))
        labels = _array(path, stored, "labels") if "labels" in stored else None
    if labels is None:
        return images, None
    return images, _checked_labels(path, "labels", labels, len(images), n_classes)[0]


@contextmanager
def _opened(path: Path) -> Iterator[Archive]:
    try:
        file = open_regular(path)
    except FileNotFoundError:
        raise InvalidData(f"No such file: {path}.") from None
    except OSError as error:
        raise InvalidData(f"{path} cannot be read: {error.strerror}.") from error
    with file:
        if file.read(6) == b"\x93NUMPY" and len(file.read(4)) == 4:
            raise InvalidData(
                f"{path} is a single array, not an .npz file. Write it with numpy.savez."
            )
        try:
            with opened(file) as stored:
                yield stored
        except Damaged as error:
            raise InvalidData(
                f"{path} cannot be read as an .npz file ({error}). Write it with numpy.savez."
            ) from error


def _part(
    path: Path, stored: Archive, images_key: str, labels_key: str, n_classes: int | None = None
) -> Dataset:
    images, labels = (_array(path, stored, key) for key in (images_key, labels_key))
    numbers = _finite(path, images_key, _numbers(path, images_key, images))
    labels, n_classes = _checked_labels(path, labels_key, labels, len(numbers), n_classes)
    shape = numbers.shape[1:] if 2 <= numbers.ndim - 1 <= 3 else ()
    rows = numbers.reshape(len(numbers), -1)
    rows = rows if rows.flags.c_contiguous else rows.copy(order="C")
    return Dataset(npz_name(path), rows, labels, n_classes, shape)


def _array(path: Path, stored: Archive, key: str) -> NDArray[np.generic]:
    if key not in stored:
        raise InvalidData(
            f"{path} has no array {key!r}; it holds {listed(stored.names)}. "
            "Store images (n, ...) and labels (n,)."
        )
    try:
        return stored.read(key)
    except Damaged as error:
        raise InvalidData(
            f"{path}: the array {key!r} cannot be read without running code, or is damaged "
            f"({error}). Store plain numbers."
        ) from error


def _numbers(path: Path, key: str, images: NDArray[np.generic]) -> Rows:
    if images.ndim < 2 or images.size == 0:
        raise InvalidData(
            f"{path}: {key} has shape {images.shape}; expected (n, ...) with at least one value an image."
        )
    if images.dtype == np.uint8:
        return images  # type: ignore[return-value]  # the dtype was just checked
    if not (np.issubdtype(images.dtype, np.floating) or np.issubdtype(images.dtype, np.integer)):
        raise InvalidData(f"{path}: {key} has type {images.dtype}; expected uint8 or real numbers.")
    with np.errstate(over="ignore", under="ignore"):  # what float32 cannot hold is found later
        return images.astype(np.float32)


def _finite(path: Path, key: str, images: Rows) -> Rows:
    bad = ~np.isfinite(images.reshape(len(images), -1)).all(axis=1)
    if bad.any():
        raise InvalidData(
            f"{path}: {key} has values that are not finite, first in image {int(bad.argmax())} "
            f"({int(bad.sum())} images in all). Remove or repair those images."
        )
    return images


def _checked_labels(
    path: Path, key: str, labels: NDArray[np.generic], n_images: int, n_classes: int | None
) -> tuple[NDArray[np.intp], int]:
    if labels.shape != (n_images,) or not np.issubdtype(labels.dtype, np.integer):
        raise InvalidData(
            f"{path}: {key} has shape {labels.shape} and type {labels.dtype}; "
            f"expected ({n_images},) whole numbers, one for each image.{_remedy(labels, n_images)}"
        )
    present = np.unique(labels)
    lowest, highest = int(present[0]), int(present[-1])  # before any type could wrap around
    known = len(present) if n_classes is None else n_classes
    if known < 2:
        raise InvalidData(
            f"{path}: every label is {lowest}. A classifier needs at least two classes."
        )
    if known > MOST_CLASSES:
        raise InvalidData(
            f"{path}: {key} has {known:,} different values; at most {MOST_CLASSES:,} classes can be "
            "told apart. Is it something else than the class?"
        )
    if lowest < 0 or highest >= known:
        absent = [c for c in range(known) if c not in present]
        told = f" Class {absent[0]} has no image." if lowest >= 0 and n_classes is None else ""
        raise InvalidData(
            f"{path}: {key} runs from {lowest} to {highest}, but there are {known} classes, "
            f"so labels must be 0 to {known - 1}. Renumber them.{told}"
        )
    return labels.astype(np.intp), known


def _remedy(labels: NDArray[np.generic], n_images: int) -> str:
    """Return what to store instead, where that is clear."""
    if labels.shape == (n_images, 1):
        return " Store labels.ravel()."
    if labels.ndim == 2 and len(labels) == n_images:
        return " If a row marks the class with a 1, store labels.argmax(axis=1)."
    if labels.shape == (n_images,):
        return " Store the number of the class, from 0 on, as an integer."
    return ""
