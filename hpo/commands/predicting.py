"""What a trained network makes of images; it needs neither data set nor database."""

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
    """
    network = read(Path(weights))
    if isinstance(images, np.ndarray):
        rows = images.reshape(len(images), -1)
        if rows.shape[1] != network.d:
            raise InvalidImage(
                f"The network was trained on images of {network.d} values, got {rows.shape[1]} in each."
            )
        names = [str(n) for n in range(len(rows))]
        return prediction.predict(network, Pictures(names, rows, np.full(len(rows), -1)))
    given = [images] if isinstance(images, str | Path) else images
    found, faults = image_files.read_each([Path(path) for path in given], network, lambda _: None)
    if faults or found is None:
        raise InvalidImage(faults[0] if faults else "There is no image to classify.")
    return prediction.predict(network, found)
