"""Whether the validation images, which come first in a file, stand for the training images after them.

In a file that is sorted by class they do not: a search on them finds the best of nothing. Such a file
is refused when a study is made; a study that is stored already goes on as it is.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from model.data import Dataset, Split, split
from model.errors import InvalidData

REMEDY = "`hpo data shuffle FILE NEW_FILE` writes an .npz in a mixed order."
#: Validation images below which one of them is more than half a point of accuracy.
FEW = 200
#: Images expected of a class below which it is counted together with others.
RARE = 5
#: Standard deviations from which a difference between the parts is no chance, and the share of
#: images that would have to change their class from which it is too much.
NO_CHANCE, TOO_MUCH = 6.0, 0.2
OURS = ("cifar10", "digits")  #: whose images were looked through


def check(parts: Split, notify: Callable[[str], None] = lambda _: None) -> None:
    """Refuse parts of which one does not show what the other does.

    Args:
        notify: Is told what makes differences between cells hard to see.

    Raises:
        InvalidData: A class is missing in one part, or its share is another one.
    """
    name, n = parts.training.name, len(parts.validation)
    counts = np.stack(
        [_counts(part.labels, part.n_classes) for part in (parts.validation, parts.training)]
    )
    for place, (where, other) in enumerate(
        [
            (f"the first {n:,} images, which validate", "training"),
            ("the training images", "validation"),
        ]
    ):
        absent = np.flatnonzero(counts[place] == 0)
        if len(absent):
            size = "" if counts.shape[1] <= n else f" There are {counts.shape[1]} classes."
            raise InvalidData(
                f"Class {absent[0]} of {name} has {counts[1 - place][absent[0]]:,} {other} images and none "
                f"among {where}.{size} {REMEDY}"
            )
    deviations, distance = _difference(counts)
    if deviations > NO_CHANCE:
        worst = int(np.argmax(np.abs(_shares(counts)[0] - _shares(counts)[1])))
        here, there = (f"{share[worst]:.1%}" for share in _shares(counts))
        sentence = (
            f"Class {worst} of {name} is {here} of the first {n:,} images, which validate, and {there} of "
            "the others, so the images are not in a mixed order"
        )
        if distance > TOO_MUCH:
            raise InvalidData(f"{sentence}. {REMEDY}")
        notify(f"{sentence}; accuracies are those of the first ones.")
    if n < FEW:
        notify(
            f"{name} has only {n} validation images: one is {100 / n:.2g} points of accuracy, and cells "
            "that are closer than that are told apart by chance or not at all."
        )
    n_known = 0 if name in OURS else _n_in_both(parts)
    if n_known:
        notify(f"{n_known:,} of the {n:,} validation images of {name} are training images too.")


def told(dataset: Dataset, n_validation: float) -> tuple[str, list[str]]:
    """Return in words whether a study can be made, and what `check` notes."""
    notes: list[str] = []
    try:
        both = split(dataset, n_validation)
        check(both, notes.append)
    except InvalidData as error:  # that is what was asked for
        return f"no study can be made. {error}", notes
    return f"the first {len(both.validation):,}, which show every class", notes


def _counts(labels: NDArray[np.intp], n_classes: int) -> NDArray[np.intp]:
    return np.bincount(labels, minlength=n_classes)


def _shares(counts: NDArray[np.intp]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = counts / counts.sum(axis=1, keepdims=True)
    return shares


def _difference(counts: NDArray[np.intp]) -> tuple[float, float]:
    """Return how far the classes of the parts differ: in standard deviations, and in shares of images.

    Of a mixed file the first part has a hypergeometric number of each class. Its chi-squared
    statistic becomes a normal deviate by E. B. Wilson and M. M. Hilferty, "The Distribution of
    Chi-Square" (1931), PNAS 17.
    """
    n_first, n = int(counts[0].sum()), int(counts.sum())
    expected = counts.sum(axis=0) * (n_first / n)
    is_rare = expected < RARE
    merged = np.append(counts[0][~is_rare], counts[0][is_rare].sum())
    awaited = np.append(expected[~is_rare], expected[is_rare].sum())
    merged, awaited = merged[awaited > 0], awaited[awaited > 0]
    freedom = len(awaited) - 1
    if freedom < 1:
        return 0.0, 0.0
    squares = float(((merged - awaited) ** 2 / awaited).sum()) * n / (n - n_first)
    spread = 2 / (9 * freedom)
    deviations = ((squares / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)
    first, second = _shares(counts)
    return deviations, float(np.abs(first - second).sum() / 2)


def _n_in_both(parts: Split) -> int:
    """Return how many validation images are among the training images, byte by byte."""
    validation = [row.tobytes() for row in parts.validation.images]
    wanted = set(validation)
    found = {content for row in parts.training.images if (content := row.tobytes()) in wanted}
    return sum(content in found for content in validation)
