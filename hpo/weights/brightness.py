"""Which value of the training images stands for full brightness, so that pictures can be scaled to it."""

from model.data import Dataset

#: Of bits and shares, of the digits, of 8-bit pixels.
WHITES = (1.0, 16.0, 255.0)
#: Share of it that single values may lie beyond black and white, as after rounding or resizing.
SLACK = 0.05
KNOWN = {"cifar10": 255.0, "digits": 16.0}


def white(dataset: Dataset) -> float | None:
    """Return the value that stands for full brightness; None for values that are no pixels.

    Of a user's images nobody knows it: it is the smallest of `WHITES` that their highest value fits.
    """
    if dataset.name in KNOWN:
        return KNOWN[dataset.name]
    lowest, highest = float(dataset.images.min()), float(dataset.images.max())
    fitting = next((white for white in WHITES if highest <= white * (1 + SLACK)), None)
    return None if fitting is None or lowest < -fitting * SLACK else fitting


def values(dataset: Dataset) -> str:
    """Return the range of the values in words."""
    return f"{float(dataset.images.min()):.7g} to {float(dataset.images.max()):.7g}"


def told(dataset: Dataset) -> str:
    """Return in words what pictures are scaled to."""
    scale = white(dataset)
    if scale is None:
        return f"{values(dataset)}, so they are no pixels: a network takes no image files"
    origin = "" if dataset.name in KNOWN else ", a guess from these values"
    return f"{values(dataset)}; white is {scale:g}{origin}"
