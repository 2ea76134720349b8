"""What `hpo predict` prints: the classes of images in a table, and what is wrong with the others."""

from collections.abc import Callable, Sequence
from pathlib import Path

from hpo.commands.predicting import classified
from hpo.weights.file import Weights, read
from hpo.weights.prediction import table


def network(weights: Path) -> Weights:
    """Return a trained network.

    Raises:
        InvalidWeights: The file is none of ours, or is damaged.
    """
    return read(weights)


def told(
    network: Weights, images: Sequence[Path], top: int, notify: Callable[[str], None]
) -> tuple[str | None, list[str]]:
    """Return a line for each image with its likeliest classes, and what is wrong with which image.

    Args:
        notify: Is told what is taken for white.
    """
    found, faults = classified(network, images, notify)
    return (table(network, *found, top) if found else None), faults
