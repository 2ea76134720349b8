"""What a network makes of images: from their stored values to the likeliest classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpo.errors import InvalidImage
from hpo.machine.printable import printable
from hpo.weights.file import Weights
from model.data import Dataset
from model.losses import probabilities
from model.network import forward
from model.normalisation import Inputs, Normalisation

CHUNK = 500  #: images at a time


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images that a network is asked about."""

    names: list[str]
    #: One image a row, as the training images are stored, shape (n, d).
    rows: NDArray[np.uint8] | NDArray[np.float32]
    #: The class of each, (n,), where it is known; -1 elsewhere.
    labels: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the network says of each image."""

    #: Classes from the likeliest to the least likely, shape (n, k).
    classes: NDArray[np.intp]
    #: Probability of each of them, shape (n, k).
    probabilities: NDArray[np.floating]


def predict(weights: Weights, pictures: Pictures) -> Prediction:
    """Return the classes of the pictures; equal scores are in the order of the classes.

    Raises:
        InvalidImage: A picture cannot be classified.
    """
    _, found, faults = predict_each(weights, pictures)
    if faults:
        raise InvalidImage(faults[0])
    return found


def predict_each(weights: Weights, pictures: Pictures) -> tuple[Pictures, Prediction, list[str]]:
    """Return the pictures that can be classified, their classes, and what is wrong with the others."""
    rows = pictures.rows
    is_finite = np.asarray(np.isfinite(rows).all(axis=1))
    has_contrast = np.ones(len(rows), dtype=bool)
    if weights.normalisation is Normalisation.IMAGE:
        has_contrast = (rows != rows[:, :1]).any(axis=1)
    places = np.flatnonzero(is_finite & has_contrast)
    scores = _scores(weights, rows[places])
    is_beyond = np.zeros(len(rows), dtype=bool)
    is_beyond[places] = ~np.isfinite(scores).all(axis=1)
    faults = []
    for place in np.flatnonzero(~is_finite | ~has_contrast | is_beyond):
        fault = "has values beyond what the network takes"
        if not is_finite[place]:
            fault = "has values that are not finite"
        elif not has_contrast[place]:
            fault = "has one value throughout, so it has no contrast to go by"
        name = pictures.names[place]
        what = f"Image {name}" if name.isdecimal() else name  # the rows of one array have numbers
        faults.append(f"{what} {fault}. Leave it out.")
    scores, places = scores[~is_beyond[places]], places[~is_beyond[places]]
    classes = np.argsort(-scores, axis=1, kind="stable")
    ordered = np.take_along_axis(probabilities(weights.loss, scores), classes, axis=1)
    names = [pictures.names[place] for place in places]
    sound = Pictures(names, rows[places], pictures.labels[places])
    return sound, Prediction(classes, ordered), faults


def _scores(
    weights: Weights, rows: NDArray[np.uint8] | NDArray[np.float32]
) -> NDArray[np.floating]:
    n_classes, n = weights.n_classes, len(rows)
    dataset = Dataset("images", rows, np.zeros(n, np.intp), n_classes, weights.image_shape)
    inputs = Inputs(dataset, weights.normalisation, weights.network.w1.dtype, weights.statistics)
    scores = np.empty((n, n_classes), inputs.dtype)
    with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is left out
        for start in range(0, n, CHUNK):
            part = slice(start, min(start + CHUNK, n))
            chunk = np.empty((part.stop - part.start, weights.d), inputs.dtype)
            inputs.fill(chunk, part)
            scores[part] = forward(weights.network, chunk)
    return scores


def table(weights: Weights, pictures: Pictures, prediction: Prediction, top: int = 1) -> str:
    """Return a line an image: name, then class and probability of the likeliest, tab separated.

    A last line has the accuracy, if the classes of some images are known.
    """
    lines = []
    for name, classes, values in zip(
        pictures.names, prediction.classes[:, :top], prediction.probabilities, strict=True
    ):
        told = [name]
        for index, value in zip(classes, values, strict=False):
            told += [printable(weights.class_name(int(index))), f"{value:.4f}"]
        lines.append("\t".join(told))
    is_known = pictures.labels >= 0
    if is_known.any():
        n = int(is_known.sum())
        n_right = int((prediction.classes[is_known, 0] == pictures.labels[is_known]).sum())
        lines.append(f"accuracy\t{n_right / n:.4f}\t{n_right} of {n}")
    return "\n".join(lines)


def joined(parts: Sequence[Pictures]) -> Pictures:
    """Return all pictures, in their order."""
    return Pictures(
        [name for part in parts for name in part.names],
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.labels for part in parts]),
    )
