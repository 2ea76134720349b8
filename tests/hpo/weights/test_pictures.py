"""Pictures from real files, in every layout a network may have been trained on."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hpo.errors import InvalidImage
from hpo.weights import pictures as image_files
from hpo.weights.file import Weights
from hpo.weights.pictures import read
from model.errors import InvalidData
from model.losses import Loss
from model.network import Network
from model.normalisation import Normalisation

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (5, 6, 3), dtype=np.uint8)  #: 6 pixels wide, 5 high
GREY = COLOUR[..., 0]


def weights(shape: tuple[int, ...], white: float | None = 255.0, d: int | None = None) -> Weights:
    """Return weights for images of ``shape``; only their sizes are asked for."""
    d = int(np.prod(shape)) if d is None else d
    network = Network(np.zeros((d, 2)), np.zeros(2), np.zeros((2, 3)), np.zeros(3))
    return Weights(
        network=network,
        normalisation=Normalisation.NONE,
        statistics=None,
        loss=Loss.CROSS_ENTROPY,
        image_shape=shape,
        white=white,
        class_names=(),
        about={},
    )


def saved(path: Path, pixels: np.ndarray | Image.Image, **options: Any) -> Path:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)
    return path


def row(path: Path, given: Weights, told: list[str] | None = None) -> np.ndarray:
    """Return the values of the only picture in a file."""
    found = read([path], given, (told if told is not None else []).append)
    assert len(found.names) == 1
    return found.rows[0]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((3, 5, 6), COLOUR.transpose(2, 0, 1)),  # planes, as CIFAR-10 has them
        ((5, 6, 3), COLOUR),  # channels last
    ],
)
def test_a_colour_picture_is_laid_out_as_the_training_images(
    tmp_path: Path, shape: tuple[int, ...], expected: np.ndarray
) -> None:
    path = saved(tmp_path / "it.png", COLOUR)

    assert row(path, weights(shape)).tolist() == expected.reshape(-1).tolist()


@pytest.mark.parametrize("shape", [(5, 6), (1, 5, 6), (5, 6, 1)])
def test_a_grey_picture(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = saved(tmp_path / "it.png", GREY)

    found = row(path, weights(shape))

    assert found.dtype == np.uint8
    assert found.tolist() == GREY.reshape(-1).tolist()


def test_pixels_are_scaled_to_the_values_of_the_training_images(tmp_path: Path) -> None:
    path = saved(tmp_path / "it.png", np.array([[0, 51], [204, 255]], np.uint8))

    assert row(path, weights((2, 2), white=16.0)).tolist() == pytest.approx([0, 3.2, 12.8, 16])
    assert row(path, weights((2, 2), white=1.0)).tolist() == pytest.approx([0, 0.2, 0.8, 1])


def test_colour_becomes_grey_and_grey_becomes_colour(tmp_path: Path) -> None:
    colour, grey = saved(tmp_path / "c.png", COLOUR), saved(tmp_path / "g.png", GREY)

    red, green, blue = COLOUR.reshape(-1, 3).astype(float).T
    luma = 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R 601, which Pillow documents
    np.testing.assert_allclose(row(colour, weights((5, 6))), luma, atol=1)
    assert row(grey, weights((3, 5, 6))).tolist() == 3 * GREY.reshape(-1).tolist()


def test_what_is_transparent_lies_on_white(tmp_path: Path) -> None:
    pixels = np.zeros((2, 1, 4), np.uint8)
    pixels[1, 0, 3] = 255  # transparent black, then black
    path = saved(tmp_path / "it.png", pixels)

    assert row(path, weights((2, 1, 3))).tolist() == [255, 255, 255, 0, 0, 0]
    assert row(path, weights((2, 1))).tolist() == [255, 0]
    assert row(path, weights((4, 2, 1))).tolist() == [0] * 7 + [255]  # a network that knows alpha


def test_a_palette_with_a_transparent_colour(tmp_path: Path) -> None:
    image = Image.new("P", (1, 2))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((0, 1), 1)
    path = saved(tmp_path / "it.png", image, transparency=bytes([255, 0]))

    assert row(path, weights((2, 1, 3))).tolist() == [255, 0, 0, 255, 255, 255]


@pytest.mark.parametrize("mode", ["1", "CMYK", "YCbCr", "LA"])
def test_other_modes_are_converted(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGB", (6, 5), "white").convert(mode)
    suffix = "tif" if mode in ("CMYK", "YCbCr") else "png"

    found = row(saved(tmp_path / f"it.{suffix}", image), weights((3, 5, 6)))

    np.testing.assert_allclose(found, 255, atol=2)


def test_sixteen_bits_keep_their_brightness(tmp_path: Path) -> None:
    pixels = np.array([[0, 257], [32896, 65535]], np.uint16)
    path = saved(tmp_path / "it.png", pixels)

    assert row(path, weights((2, 2))).tolist() == [0, 1, 128, 255]


def test_another_size_is_resized_and_told(tmp_path: Path) -> None:
    told: list[str] = []
    path = saved(tmp_path / "it.png", np.full((50, 60), 100, np.uint8))

    assert row(path, weights((5, 6)), told).tolist() == [100] * 30
    assert told == [f"{path} was resized from 60 x 50 to 6 x 5 pixels."]


def test_a_picture_of_the_right_size_says_nothing(tmp_path: Path) -> None:
    told: list[str] = []
    row(saved(tmp_path / "it.png", GREY), weights((5, 6)), told)

    assert told == []


def test_a_jpeg_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    image = Image.new("L", (6, 5))
    image.paste(255, (0, 0, 3, 5))  # the left half is white
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    path = saved(tmp_path / "it.jpg", image, exif=exif, quality=95)

    found = row(path, weights((5, 6))).reshape(5, 6)

    assert found[:, 3:].min() > 200
    assert found[:, :3].max() < 50


def test_files_are_named_and_kept_in_order(tmp_path: Path) -> None:
    paths = [saved(tmp_path / f"{name}.png", GREY) for name in "ba"]
    np.savez(tmp_path / "more.npz", images=np.stack([GREY, GREY]), labels=np.array([2, 0]))

    found = read([*paths, tmp_path / "more.npz"], weights((5, 6)))

    more = tmp_path / "more.npz"
    assert found.names == [str(paths[0]), str(paths[1]), f"{more}:0", f"{more}:1"]
    assert found.labels.tolist() == [-1, -1, 2, 0]
    assert len(np.unique(found.rows, axis=0)) == 1


PLANES, GREYS = COLOUR.transpose(2, 0, 1), GREY[np.newaxis]


@pytest.mark.parametrize(
    ("images", "shape", "expected"),
    [
        (PLANES[np.newaxis], (3, 5, 6), PLANES),
        (COLOUR[np.newaxis], (3, 5, 6), PLANES),  # channels last, which as a row would be garbage
        (PLANES[np.newaxis], (5, 6, 3), COLOUR),
        (GREYS, (5, 6), GREY),
        (GREYS, (1, 5, 6), GREY),
        (GREYS[..., np.newaxis], (5, 6), GREY),
        (PLANES.reshape(1, -1), (3, 5, 6), PLANES),  # rows are taken as they are
        (GREYS, (), GREY),  # a network for rows takes the values in their order
    ],
)
def test_images_of_an_npz_are_laid_out_as_the_training_images(
    tmp_path: Path, images: np.ndarray, shape: tuple[int, ...], expected: np.ndarray
) -> None:
    path = tmp_path / "it.npz"
    np.savez(path, images=images)

    found = read([path], weights(shape, d=expected.size))

    assert found.names == ["0"]
    assert found.rows.tolist() == [expected.reshape(-1).tolist()]
    assert found.labels.tolist() == [-1]


@pytest.mark.parametrize(
    ("images", "shape", "told"),
    [
        (np.zeros((1, 6, 5)), (5, 6), "an image has shape (6, 5); the network takes (5, 6)."),
        (np.zeros((1, 5, 6)), (3, 5, 6), "shape (5, 6); the network takes (3, 5, 6)."),
        (np.zeros((1, 8)), (5, 6), "an image has shape (8,); the network takes (5, 6)."),
        (np.zeros((1, 5, 6)), (), "an image has shape (5, 6); the network takes (9,)."),
    ],
)
def test_images_of_an_npz_that_do_not_fit_are_refused(
    tmp_path: Path, images: np.ndarray, shape: tuple[int, ...], told: str
) -> None:
    np.savez(tmp_path / "it.npz", images=images)

    with pytest.raises(InvalidImage, match=re.escape(told)):
        read([tmp_path / "it.npz"], weights(shape, d=None if shape else 9))


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"pictures": np.zeros((1, 5, 6))}, "has no array 'images'; it holds pictures"),
        ({"images": np.zeros((1, 5, 6)), "labels": np.array([3])}, "there are 3 classes"),
        ({"images": np.zeros((2, 5, 6)), "labels": np.array([1])}, "labels has shape (1,)"),
        ({"images": np.array([[None]])}, "cannot be read without running code"),
    ],
)
def test_an_npz_with_something_else_is_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], told: str
) -> None:
    np.savez(tmp_path / "it.npz", **arrays)

    with pytest.raises(InvalidData, match=re.escape(told)):
        read([tmp_path / "it.npz"], weights((5, 6)))


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("It was a cat.")
    (tmp_path / "empty.png").write_bytes(b"")
    whole = saved(tmp_path / "whole.png", RNG.integers(0, 256, (50, 50), dtype=np.uint8))
    (tmp_path / "half.png").write_bytes(whole.read_bytes()[:1000])
    (tmp_path / "half.npz").write_bytes(b"PK\x03\x04" + bytes(50))

    for name, fault in {
        "notes.txt": "notes.txt is not an image file that hpo reads. Expected PNG, JPEG",
        "empty.png": "empty.png is not an image file that",
        "half.png": "half.png cannot be read as an image: image file is truncated",
        "nothing.png": "nothing.png cannot be read as an image: No such file or directory.",
        ".": "cannot be read as an image: Is a directory.",
    }.items():
        with pytest.raises(InvalidImage, match=re.escape(fault)):
            read([tmp_path / name], weights((5, 6)))
    with pytest.raises(InvalidData, match="cannot be read as an .npz file"):
        read([tmp_path / "half.npz"], weights((5, 6)))


@pytest.mark.parametrize("kind", ["png", "jpg", "gif", "tif", "bmp"])
def test_damage_never_raises_anything_else(tmp_path: Path, kind: str) -> None:
    path = saved(tmp_path / f"it.{kind}", RNG.integers(0, 256, (20, 20), dtype=np.uint8))
    whole = path.read_bytes()
    for place in range(0, min(len(whole), 600), 5):
        content = bytearray(whole)
        content[place] ^= 0xFF
        path.write_bytes(content)
        with suppress(InvalidImage):
            read([path], weights((5, 6)))


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "it.png", np.zeros((50, 50), np.uint8))
    monkeypatch.setattr(image_files, "MOST_PIXELS", 1000)

    with pytest.raises(InvalidImage, match="has too many pixels. Make it smaller."):
        read([path], weights((5, 6)))


def test_pixels_without_a_scale_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "it.tif", Image.new("F", (6, 5), 0.5))

    with pytest.raises(InvalidImage, match="its pixels are numbers without a scale"):
        read([path], weights((5, 6)))


@pytest.mark.parametrize(
    "given",
    [
        weights((), d=30),  # rows of values
        weights((2, 5, 6)),  # two channels are no picture
        weights((5, 5, 7)),
        weights((5, 6), white=None),  # values below 0, which no pixel has
    ],
)
def test_a_network_whose_inputs_are_no_pictures_takes_no_image_file(
    tmp_path: Path, given: Weights
) -> None:
    path = saved(tmp_path / "it.png", GREY)

    with pytest.raises(InvalidImage, match="values that are no picture, so no image file fits it"):
        read([path], given)
