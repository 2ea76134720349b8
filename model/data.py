"""Image data sets: what a classifier learns from, checked, named and fingerprinted.

Images stay as they are stored, one flat row each, usually uint8; `model.normalisation` turns
rows into network inputs. The test part of a source is a `Dataset` of its own, so code that must
not see it never holds it.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.errors import InvalidData

DIGITS_FILE = Path(__file__).with_name("digits.npz")
DIGITS_TEST = 297
DIGITS_VALIDATION = 300


@dataclass(frozen=True)
class Statistics:
    """Mean and population deviation, of every value or of every image."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]


def always() -> bool:
    """Tell yes: what is in memory changes by nobody else."""
    return True


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images in a fixed order."""

    #: Short name that study names are built from: cifar10, digits, or a file's stem.
    name: str
    #: One image a row, shape (n, d), uint8 or float32.
    images: NDArray[np.uint8] | NDArray[np.float32]
    #: Index of each image's class, shape (n,), values 0 to n_classes - 1.
    labels: NDArray[np.intp]
    n_classes: int
    #: How a row folds into an image: (height, width), or with channels first or last; () if it does not.
    image_shape: tuple[int, ...]
    #: Images that a study holds out for validation whatever its definition says; None leaves it the choice.
    n_validation: int | None = None
    #: Of every image over its own values, (n, 1) each, where somebody has computed them already.
    image_statistics: Statistics | None = None
    #: The fingerprint, where somebody has compared it with the images already.
    known_fingerprint: str | None = None
    #: Tells whether the images are still what they were when they were read.
    is_unchanged: Callable[[], bool] = always

    def __len__(self) -> int:
        return len(self.images)

    @property
    def d(self) -> int:
        """Values in an image: the number of network inputs."""
        return int(self.images.shape[1])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over shape, type, images and labels, in hexadecimal."""
        if self.known_fingerprint is not None:
            return self.known_fingerprint
        digest = hashlib.sha256()
        digest.update(
            f"{self.images.shape} {self.image_shape} {self.images.dtype} {self.n_classes}".encode()
        )
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(self.labels.astype("<i8").data)
        return digest.hexdigest()

    @property
    def channels_first(self) -> bool:
        """Whether a folded image is (channels, height, width), as CIFAR-10's are."""
        return len(self.image_shape) == 3 and self.image_shape[0] in (1, 3, 4)

    def take(self, start: int, stop: int) -> "Dataset":
        """Return the images ``start`` to ``stop - 1`` as a view."""
        if not 0 <= start < stop <= len(self):
            raise InvalidData(
                f"{self.name} has images 0 to {len(self) - 1}; the part {start}:{stop} is not in it."
            )
        part, known = slice(start, stop), self.image_statistics
        statistics = known and Statistics(known.mean[part], known.deviation[part])
        return replace(
            self,
            images=self.images[part],
            labels=self.labels[part],
            image_statistics=statistics,
            known_fingerprint=None,
        )

    def mirrored(self, rows: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return flat ``rows`` (n, d) with left and right exchanged."""
        if not self.image_shape:
            raise InvalidData(
                f"The images of {self.name} are flat rows without height and width, so they cannot "
                "be mirrored. Store them as (n, height, width), or leave the flips out."
            )
        folded = rows.reshape(-1, *self.image_shape)
        width_last = len(self.image_shape) == 2 or self.channels_first
        mirrored = folded[..., ::-1] if width_last else folded[..., ::-1, :]
        return mirrored.reshape(len(rows), self.d)


@dataclass(frozen=True)
class Split:
    """A data set parted into validation images, which come first, and training images."""

    training: Dataset
    validation: Dataset


def n_held_out(n_images: int, n_validation: float) -> int:
    """Return how many of ``n_images`` validate, where a data set names no number of its own.

    >>> n_held_out(50_000, 5_000), n_held_out(50_000, 0.2), n_held_out(3_000, 5_000)
    (5000, 10000, 300)
    """
    if n_validation < 1:
        return max(1, round(n_validation * n_images))
    return min(int(n_validation), n_images // 10)


def split(dataset: Dataset, n_validation: float) -> Split:
    """Hold out the first images, as the notebook does.

    A data set that names its own number is split by that one; no more than a tenth of any other
    is held out, so that a small one keeps images to learn from, unless a share is asked for.

    Args:
        n_validation: Images, or their share of all if it is below 1.
    """
    if n_validation <= 0:
        raise InvalidData(f"At least 1 image must be held out for validation, got {n_validation}.")
    held_out = dataset.n_validation or n_held_out(len(dataset), n_validation)
    if len(dataset) < 20 or held_out >= len(dataset):
        raise InvalidData(
            f"{dataset.name} has {len(dataset)} images, too few to hold out validation images. "
            "Use at least 20."
        )
    validation = dataset.take(0, held_out)
    if np.all(validation.labels == validation.labels[0]):
        raise InvalidData(
            f"The first {held_out} images of {dataset.name}, which validate, are all of class "
            f"{validation.labels[0]}. Shuffle the file once before it is used: `hpo data shuffle` does."
        )
    return Split(training=dataset.take(held_out, len(dataset)), validation=validation)


def digits() -> Dataset:
    """Return the training part of the handwritten digits: 1,500 images of 8 x 8.

    The data set is the one that scikit-learn ships (UCI, "Optical Recognition of Handwritten
    Digits"); the last 297 images are the test part.
    """
    return _digits(slice(None, -DIGITS_TEST))


def digits_test() -> Dataset:
    """Return the last 297 images of the digits."""
    return _digits(slice(-DIGITS_TEST, None))


def _digits(part: slice) -> Dataset:
    with np.load(DIGITS_FILE, allow_pickle=False) as stored:
        images, labels = stored["images"][part], stored["labels"][part].astype(np.intp)
    return Dataset("digits", images, labels, 10, (8, 8), DIGITS_VALIDATION)
