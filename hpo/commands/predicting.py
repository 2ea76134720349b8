"""What a trained network makes of images; it needs neither data set nor database."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo.errors import InvalidImage
from hpo.weights import pictures as image_files
from hpo.weights import prediction
from hpo.weights.file import Weights, read
from hpo.weights.prediction import Pictures, Prediction

_ALONE = " For a single image give images[np.newaxis]."
_NO_IMAGES = "images must be an array, a path or a list of paths, not {}"


def classified(
    network: Weights, images: Sequence[Path], notify: Callable[[str], None]
) -> tuple[tuple[Pictures, Prediction] | None, list[str]]:
    """Return what can be classified with its classes, and what is wrong with the others.

    Args:
        notify: Is told what is taken for white.
    """
    scale = image_files.scale(images, network)
    if scale:
        notify(scale)
    pictures, faults = image_files.read_each(images, network, notify)
    if pictures is None:
        return None, faults
    sound, found, more = prediction.predict_each(network, pictures)
    return ((sound, found) if sound.names else None), faults + more


def predict(
    weights: str | Path, images: str | Path | Sequence[str | Path] | NDArray[Any]
) -> Prediction:
    """Return the classes of images, the likeliest first, with their probabilities.

    Args:
        weights: ``weights.npz`` or ``weights.safetensors``, as ``hpo run final`` writes them.
        images: Image files, ``.npz`` files, or an array with one image a row, as the training
            images are stored: shape (n, d), or (n, ...) that unfolds to it.

    Raises:
        InvalidWeights: The file is none of ours, or is damaged.
        InvalidImage: An image cannot be classified.
        TypeError: ``images`` are no array and no paths.

    >>> import hpo, tempfile
    >>> last = hpo.StudyDefinition(
    ...     name="last", grid=hpo.Values((1e-3,)), n_s=5, evaluates_test=True
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     url = f"sqlite:///{folder}/hpo.db"
    ...     study = hpo.run(last, data="digits", storage=url, out=folder)
    ...     found = hpo.predict(f"{folder}/weights.npz", np.arange(64).reshape(1, 8, 8))
    >>> found.classes.shape
    (1, 10)
    """
    network = read(_path("weights", weights))
    if isinstance(images, np.ndarray):
        rows = _rows(images, network.d)
        names = [str(n) for n in range(len(rows))]
        return prediction.predict(network, Pictures(names, rows, np.full(len(rows), -1)))
    found, faults = image_files.read_each(_paths(images), network, lambda _: None)
    if faults or found is None:
        raise InvalidImage(faults[0] if faults else "There is no image to classify.")
    return prediction.predict(network, found)


def _rows(images: NDArray[Any], d: int) -> NDArray[Any]:
    """Return an array of images as one of rows, as an ``.npz`` is read.

    Raises:
        InvalidImage: Its values are no real numbers, or are not as many as the network takes.
    """
    if not np.issubdtype(images.dtype, np.integer) and not np.issubdtype(images.dtype, np.floating):
        raise InvalidImage(f"Images are real numbers; got an array of {images.dtype}.")
    if images.ndim < 2 or images.size == 0:
        alone = _ALONE if images.size == d else ""
        raise InvalidImage(
            f"Images are an array of shape (n, {d}), or one that unfolds to it, with n at least 1; "
            f"got shape {images.shape}.{alone}"
        )
    rows = images.reshape(len(images), -1)
    if rows.shape[1] != d:
        alone = _ALONE if images.size == d else ""
        raise InvalidImage(
            f"The network was trained on images of {d} values, got {rows.shape[1]} in each.{alone}"
        )
    return rows


def _paths(images: Any) -> list[Path]:
    if isinstance(images, str | Path):
        return [Path(images)]
    try:
        given = list(images)
    except TypeError:
        raise TypeError(_NO_IMAGES.format(type(images).__name__)) from None
    for one in given:
        if not isinstance(one, str | Path):
            what = f"{type(images).__name__} of {type(one).__name__}"
            raise TypeError(_NO_IMAGES.format(what))
    return [Path(path) for path in given]


def _path(name: str, given: Any) -> Path:
    """Return a path that was given as the argument ``name``."""
    if not isinstance(given, str | os.PathLike):
        raise TypeError(f"{name} must be a path, not {type(given).__name__}")
    return Path(given)
