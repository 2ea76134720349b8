"""A user's ``.npz`` in a mixed order, so that its first images stand for all."""

import io
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpo.errors import OutputError
from hpo.machine import files
from model import npz


def write(file: Path, new_file: Path, seed: int) -> int:
    """Write a copy of ``file`` with its training images mixed, and return how many they are.

    Raises:
        OutputError: The copy cannot be written, or something has its name already.
        model.errors.InvalidData: ``file`` is no data set.
    """
    if os.path.lexists(new_file):
        raise OutputError(new_file, FileExistsError("it exists already"))
    arrays = npz.npz_arrays(file)
    labels = npz.npz(file).labels
    places = order(labels, rng=np.random.default_rng(seed))
    arrays |= {name: arrays[name][places] for name in ("images", "labels")}
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    files.write(new_file.parent, {new_file.name: content.getvalue()})
    return len(labels)


def order(labels: NDArray[np.intp], *, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return a random order in which every beginning shows the classes as the whole does.

    The first images are one of each class, so a tenth has them all where there are enough images.

    >>> labels = np.array([0, 0, 0, 0, 1, 1])
    >>> labels[order(labels, rng=np.random.default_rng(0))].tolist()[:2] in ([0, 1], [1, 0])
    True
    """
    mixed = rng.permutation(len(labels))
    places = np.empty(len(labels))
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels[mixed] == label)
        places[of_class] = np.arange(len(of_class)) / len(of_class)
    found: NDArray[np.intp] = mixed[np.argsort(places, kind="stable")]
    return found
