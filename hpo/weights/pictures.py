"""Pictures from image files and ``.npz`` files, in the form that a network was trained on."""

import math
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpo.errors import InvalidImage
from hpo.machine.printable import printable
from hpo.weights.brightness import KNOWN
from hpo.weights.file import Weights
from hpo.weights.prediction import Pictures, joined
from model import npz
from model.errors import InvalidData
from model.files import open_regular

if TYPE_CHECKING:
    from PIL import Image

#: Formats of picture files; others that Pillow knows start programs, or nobody has tried them.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
#: Pillow's names of pixels with a known scale.
MODES = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"})
MOST_PIXELS = 50_000_000
CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}  #: Pillow's names of what so many channels mean


def read(
    paths: Sequence[Path], weights: Weights, notify: Callable[[str], None] = lambda _: None
) -> Pictures:
    """Return the pictures in files, as the network takes them.

    Args:
        notify: Is told what was changed in a picture to make it fit.

    Raises:
        InvalidImage: A file is not an image, or not one for this network.
        model.errors.InvalidData: An ``.npz`` is damaged or holds something else.
    """
    is_alone = len(paths) == 1
    return joined([_of_file(path, weights, notify, is_alone=is_alone) for path in paths])


def read_each(
    paths: Sequence[Path], weights: Weights, notify: Callable[[str], None]
) -> tuple[Pictures | None, list[str]]:
    """Return the pictures in the files that can be read, if any, and what is wrong with the others."""
    parts, faults = [], []
    for path in paths:
        try:
            parts.append(_of_file(path, weights, notify, is_alone=len(paths) == 1))
        except (InvalidImage, InvalidData) as error:
            faults.append(str(error))
    return joined(parts) if parts else None, faults


def scale(paths: Sequence[Path], weights: Weights) -> str | None:
    """Return in words what pictures are scaled to, where that is a guess."""
    is_known = weights.about.get("dataset") in KNOWN
    if weights.white is None or is_known or all(p.suffix.lower() == ".npz" for p in paths):
        return None
    values = weights.about.get("dataset_values", "no others")
    return (
        f"White is taken to be {weights.white:g} in the training images, which have the values {values}; "
        "pictures are scaled to it."
    )


def _of_file(
    path: Path, weights: Weights, notify: Callable[[str], None], *, is_alone: bool
) -> Pictures:
    if path.suffix.lower() == ".npz":
        return _of_npz(path, weights, is_alone=is_alone)
    row = _of_image(path, weights, notify)
    return Pictures([_shown(path)], row[np.newaxis], np.array([-1]))


def _shown(path: Path) -> str:
    """Return a path that any terminal can be told."""
    return printable(os.fsencode(path).decode(errors="replace"))


def _of_npz(path: Path, weights: Weights, *, is_alone: bool) -> Pictures:
    images, labels = npz.npz_to_classify(path, weights.n_classes)
    n, shape, wanted = len(images), images.shape[1:], weights.image_shape
    rows: NDArray[Any] | None = images.reshape(n, -1)
    if wanted and len(shape) in (2, 3):  # as many values may still be another picture
        folded = _channels_last(images)
        fits = folded.shape[1:] == _size(wanted)
        rows = _laid_out(folded, wanted).reshape(n, -1) if fits else None
    if rows is None or rows.shape[1] != weights.d:
        raise InvalidImage(
            f"{_shown(path)}: an image has shape {shape}; the network takes {wanted or (weights.d,)}."
        )
    names = [str(i) if is_alone else f"{_shown(path)}:{i}" for i in range(n)]
    return Pictures(names, rows, np.full(n, -1) if labels is None else labels)


def _of_image(
    path: Path, weights: Weights, notify: Callable[[str], None]
) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Return a picture as one row of values."""
    height, width, n_channels = _size(weights.image_shape) if weights.image_shape else (0, 0, 0)
    mode, white = CHANNELS.get(n_channels), weights.white
    if mode is None or white is None:
        raise InvalidImage(
            f"{_shown(path)}: the network takes {weights.d} values that are no picture, so no image "
            "file fits it. Give it an .npz with an array `images`."
        )
    pixels = _pixels(path, (width, height), mode, notify).reshape(1, height, width, n_channels)
    row = _laid_out(pixels, weights.image_shape).reshape(-1)
    return row if white == 255 else row.astype(np.float32) * np.float32(white / 255)


def _pixels(
    path: Path, size: tuple[int, int], mode: str, notify: Callable[[str], None]
) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with open_regular(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata in a picture that can be read
            with Image.open(file, formats=FORMATS) as opened:
                if math.prod(opened.size) > MOST_PIXELS:
                    raise InvalidImage(f"{_shown(path)} has too many pixels. Make it smaller.")
                image = _in_mode(ImageOps.exif_transpose(opened), opened.format, mode)
                is_deep = opened.mode.startswith("I")
    except InvalidImage:
        raise
    except (Image.DecompressionBombError, MemoryError) as error:
        raise InvalidImage(f"{_shown(path)} has too many pixels. Make it smaller.") from error
    except UnidentifiedImageError as error:
        raise InvalidImage(
            f"{_shown(path)} is not an image file that hpo reads. Expected {', '.join(FORMATS)}, or an "
            ".npz with an array `images`."
        ) from error
    except Exception as error:  # a damaged picture can raise anything
        fault = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise InvalidImage(f"{_shown(path)} cannot be read as an image: {fault}.") from error
    if is_deep and 0 < np.asarray(image).max() <= 1:
        notify(
            f"{_shown(path)} has 16 bits a pixel and no value above 256, so it is almost black. If it was "
            "meant to have 8 bits, save it with 8."
        )
    if image.size != size:
        before, after = (f"{width} x {height}" for width, height in (image.size, size))
        notify(f"{_shown(path)} was resized from {before} to {after} pixels.")
        image = image.resize(size, Image.Resampling.LANCZOS)
    return np.asarray(image, np.uint8)


def _in_mode(image: "Image.Image", kind: str | None, mode: str) -> "Image.Image":
    """Return a picture in grey or in colour; what is transparent lies on white."""
    from PIL import Image

    # Pillow calls 16 bits of a PNG "I" too, which are 32 in every other file.
    if image.mode.startswith("I;16") or (image.mode == "I" and kind == "PNG"):
        values = np.asarray(image).astype(np.float64) / 257  # Pillow would cut them off at 255
        image = Image.fromarray(values.clip(0, 255).round().astype(np.uint8))
    elif image.mode not in MODES:
        raise ValueError(
            f"its pixels are numbers without a scale (mode {image.mode}); save it with 8 bits a channel"
        )
    is_opaque = image.mode not in ("LA", "PA", "La", "RGBA", "RGBa") and (
        "transparency" not in image.info
    )
    if mode == "RGBA" or is_opaque:
        return image.convert(mode)
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert(mode)


def _is_channels_first(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[0] in CHANNELS


def _size(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return height, width and channels of an image shape."""
    if len(shape) == 2:
        return shape[0], shape[1], 1
    first, second, third = shape
    return (second, third, first) if _is_channels_first(shape) else (first, second, third)


def _channels_last(images: NDArray[Any]) -> NDArray[Any]:
    """Return images of any layout as (n, height, width, channels)."""
    if images.ndim == 3:
        return images[..., np.newaxis]
    return np.moveaxis(images, 1, -1) if _is_channels_first(images.shape[1:]) else images


def _laid_out(images: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return images (n, height, width, channels) in the layout of ``shape``."""
    if len(shape) == 2:
        return images[..., 0]
    return np.moveaxis(images, -1, 1) if _is_channels_first(shape) else images
