"""Pictures from image files and ``.npz`` files, in the form that a network was trained on."""

import os
import struct
import warnings
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpo.errors import InvalidImage
from hpo.predict import Pictures, joined
from hpo.weights_file import Weights
from model import data

if TYPE_CHECKING:
    from PIL import Image

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
    parts = []
    for path in paths:
        if path.suffix.lower() == ".npz":
            parts.append(_of_npz(path, weights, is_alone=len(paths) == 1))
        else:
            row = _of_image(path, weights, notify)
            parts.append(Pictures([_shown(path)], row[np.newaxis], np.array([-1])))
    return joined(parts)


def _shown(path: Path) -> str:
    """Return a path that any terminal can be told."""
    return os.fsencode(path).decode(errors="replace")


def _of_npz(path: Path, weights: Weights, *, is_alone: bool) -> Pictures:
    images, labels = data.npz_to_classify(path, weights.n_classes)
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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata in a picture that can be read
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                image = _in_mode(ImageOps.exif_transpose(opened), mode)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise InvalidImage(f"{_shown(path)} has too many pixels. Make it smaller.") from error
    except UnidentifiedImageError as error:
        raise InvalidImage(
            f"{_shown(path)} is not an image file. Expected PNG, JPEG or another kind that Pillow "
            "reads, or an .npz with an array `images`."
        ) from error
    except OSError as error:
        fault = error.strerror or str(error)
        raise InvalidImage(f"{_shown(path)} cannot be read as an image: {fault}.") from error
    except (
        ValueError,
        SyntaxError,
        EOFError,
        struct.error,
        zlib.error,
        KeyError,
        IndexError,
    ) as error:
        raise InvalidImage(f"{_shown(path)} cannot be read as an image: {error}.") from error
    if image.size != size:
        before, after = (f"{width} x {height}" for width, height in (image.size, size))
        notify(f"{_shown(path)} was resized from {before} to {after} pixels.")
        image = image.resize(size, Image.Resampling.LANCZOS)
    return np.asarray(image, np.uint8)


def _in_mode(image: "Image.Image", mode: str) -> "Image.Image":
    """Return a picture in grey or in colour; what is transparent lies on white."""
    from PIL import Image

    if image.mode.startswith("I"):  # 16 bits a pixel, which Pillow would cut off at 255
        values = np.asarray(image).astype(np.float64) / 257
        image = Image.fromarray(values.clip(0, 255).round().astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("its pixels are numbers without a scale")
    is_opaque = image.mode not in ("LA", "PA", "RGBA") and "transparency" not in image.info
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
