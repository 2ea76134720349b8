"""From stored images to network inputs: normalised rows in the precision of the network.

Three kinds: ``image`` gives each image mean 0 and deviation 1 over its own values (the
notebook's), ``feature`` does so for each value over the training images, ``none`` only converts.
Deviations are those of the population (no n - 1).
"""

from enum import StrEnum

import numpy as np
from numpy.typing import DTypeLike, NDArray

from model.data import Dataset, Statistics
from model.errors import InvalidData

Array = NDArray[np.floating]

CHUNK = 1000  #: images taken at a time while statistics are computed
FEW = (
    64  #: images that stay in a core's cache; of each image by itself, so any number gives the same
)
#: NumPy copies a broadcast operand into its buffer, unless a row is longer than that: three times slower.
BROADCAST_BUFFER = 16


class Normalisation(StrEnum):
    """How stored images become inputs."""

    IMAGE = "image"
    FEATURE = "feature"
    NONE = "none"


def feature_statistics(training: Dataset) -> Statistics:
    """Return those of every value, (d,) each; of a value that never varies the deviation is 1."""
    total, squares = np.zeros(training.d), np.zeros(training.d)
    never_varies = np.ones(training.d, dtype=bool)
    for start in range(0, len(training), CHUNK):
        rows = training.images[start : start + CHUNK].astype(np.float64)
        never_varies &= (rows == training.images[0]).all(axis=0)
        total += rows.sum(axis=0)
        squares += np.einsum("nd,nd->d", rows, rows)
    mean = total / len(training)
    deviation = np.sqrt(np.maximum(squares / len(training) - mean**2, 0))
    return Statistics(mean, np.where(never_varies, 1.0, deviation))


def image_statistics(dataset: Dataset) -> Statistics:
    """Return those of every image over its own values, (n, 1) each."""
    if dataset.image_statistics is not None:
        return dataset.image_statistics
    mean, deviation = np.empty((len(dataset), 1)), np.empty((len(dataset), 1))
    for start in range(0, len(dataset), FEW):
        part = slice(start, start + FEW)
        rows = dataset.images[part].astype(np.float64)
        mean[part, 0] = rows.mean(axis=1)
        rows -= mean[part]
        deviation[part, 0] = np.sqrt(np.einsum("nd,nd->n", rows, rows) / dataset.d)
    return Statistics(mean, deviation)


class Inputs:
    """The images of a data set as network inputs, normalised when they are asked for."""

    def __init__(
        self,
        dataset: Dataset,
        kind: Normalisation,
        dtype: DTypeLike,
        statistics: Statistics | None = None,
    ) -> None:
        """Prepare ``dataset``.

        Args:
            statistics: Those of the training images; needed for ``feature``.

        Raises:
            InvalidData: An image is constant, which ``image`` cannot normalise.
        """
        self.dataset = dataset
        self.labels = dataset.labels
        self.dtype = np.dtype(dtype)
        self._per_image = kind is Normalisation.IMAGE
        mean, factor = _mean_and_factor(dataset, kind, statistics)
        self._mean = mean.astype(self.dtype)
        self._factor = factor.astype(self.dtype)

    def __len__(self) -> int:
        return len(self.dataset)

    def fill(
        self,
        out: Array,
        places: NDArray[np.intp] | slice,
        mirrored: NDArray[np.bool_] | None = None,
    ) -> None:
        """Write the inputs of the images at ``places`` into ``out`` (n, d).

        ``mirrored`` says which rows have left and right exchanged; the stored images stay as
        they are.
        """
        rows = self.dataset.images[places]
        if mirrored is not None and mirrored.any():
            if isinstance(places, slice):
                rows = rows.copy()
            rows[mirrored] = self.dataset.mirrored(rows[mirrored])
        np.copyto(out, rows)
        mean = self._mean[places] if self._per_image else self._mean
        factor = self._factor[places] if self._per_image else self._factor
        usual = np.setbufsize(BROADCAST_BUFFER)
        np.subtract(out, mean, out=out)
        np.multiply(out, factor, out=out)
        np.setbufsize(usual)

    def all(self) -> Array:
        """Return every input, shape (n, d)."""
        out = np.empty((len(self), self.dataset.d), self.dtype)
        for start in range(0, len(self), CHUNK):
            part = slice(start, start + CHUNK)
            self.fill(out[part], part)
        return out


def refuse_constant_images(dataset: Dataset) -> None:
    """Refuse images that have one value throughout: ``image`` cannot normalise them.

    Raises:
        InvalidData: With the place of the first one.
    """
    if dataset.image_statistics is not None and dataset.image_statistics.deviation.all():
        return
    constant = np.empty(len(dataset), dtype=bool)
    for start in range(0, len(dataset), CHUNK):
        rows = dataset.images[start : start + CHUNK]
        constant[start : start + CHUNK] = (rows == rows[:, :1]).all(axis=1)
    if constant.any():
        raise InvalidData(
            f"Image {int(constant.argmax())} of {dataset.name} has one value throughout "
            f"({int(constant.sum())} such images), so it has no deviation to be divided by. Remove "
            "these images or use the normalisation 'feature'."
        )


def _mean_and_factor(
    dataset: Dataset, kind: Normalisation, statistics: Statistics | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if kind is Normalisation.NONE:
        return np.zeros(1), np.ones(1)
    if kind is Normalisation.FEATURE:
        if statistics is None:
            statistics = feature_statistics(dataset)
        return statistics.mean, 1 / statistics.deviation
    statistics = image_statistics(dataset)
    if not statistics.deviation.all():
        refuse_constant_images(dataset)
    return statistics.mean, 1 / statistics.deviation
