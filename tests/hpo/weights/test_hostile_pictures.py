"""Files that were made to harm: nothing is started, waited for or unpacked without bound."""

import io
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hpo.errors import InvalidImage
from hpo.weights import pictures as image_files
from hpo.weights.file import Weights
from hpo.weights.pictures import read, read_each
from model.losses import Loss
from model.network import Network
from model.normalisation import Normalisation

RNG = np.random.default_rng(1)
NOISE = RNG.integers(0, 256, (12, 10, 3), dtype=np.uint8)


def weights(*shape: int) -> Weights:
    d = int(np.prod(shape))
    network = Network(np.zeros((d, 2)), np.zeros(2), np.zeros((2, 3)), np.zeros(3))
    kind, loss = Normalisation.NONE, Loss.CROSS_ENTROPY
    return Weights(
        network=network,
        normalisation=kind,
        statistics=None,
        loss=loss,
        image_shape=shape,
        white=255.0,
        class_names=(),
        about={},
    )


def refusal(path: Path) -> str:
    """Return the sentence that a file is refused with."""
    with pytest.raises(InvalidImage) as refused:
        read([path], weights(12, 10, 3))
    assert str(path.name) in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    "kind",
    ["EPS", "PPM", "ICO", "PCX", "TGA", "SGI", "SPIDER", "PDF", "DDS", "JPEG2000", "MSP"],
)
@pytest.mark.parametrize("name", ["it.png", "it.eps"])
def test_only_formats_of_our_list_are_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    Image.init()
    monkeypatch.setattr(Image, "EXTENSION", dict(Image.EXTENSION))  # SPIDER takes what it is given
    mode = {"SPIDER": "F", "MSP": "1"}.get(kind, "RGB")
    try:
        Image.fromarray(NOISE).convert(mode).save(tmp_path / name, format=kind)
    except OSError:
        pytest.skip(f"this Pillow does not write {kind}")
    assert "is not an image file that hpo reads. Expected PNG, JPEG, WEBP" in refusal(
        tmp_path / name
    )


@pytest.mark.parametrize(
    "start",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) (w) file\n",
        b"\0\0\0\x1cftypavif\0\0\0\0",
        b"\0\0\0\x18ftypheic",
        b"BLP2" + bytes(200),
        b"BLP1" + b"\xff" * 200,
        b"8BPS\0\1" + bytes(60),
        b"\x89HDF\r\n\x1a\n" + bytes(60),
        b"GRIB" + bytes(60),
        b"P6 99999 99999 255\n",
        b"%PDF-1.7\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"icns" + bytes(60),
    ],
)
def test_the_beginning_of_anything_else_is_refused(tmp_path: Path, start: bytes) -> None:
    (tmp_path / "it.png").write_bytes(start)
    assert "is not an image file that hpo reads" in refusal(tmp_path / "it.png")


@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to("/dev/null"),
        lambda path: path.symlink_to("nowhere"),
        lambda path: path.symlink_to(path.name),
        Path.mkdir,
    ],
    ids=["fifo", "zero", "null", "dangling", "loop", "folder"],
)
@pytest.mark.parametrize("name", ["it.png", "it.npz"])
def test_what_is_no_file_neither_hangs_nor_goes_on_for_ever(
    tmp_path: Path, make: Callable[[Path], None], name: str
) -> None:
    make(tmp_path / name)
    pictures, (fault,) = read_each([tmp_path / name], weights(12, 10, 3), print)
    assert pictures is None
    assert name in fault


@pytest.mark.parametrize(
    ("pixels", "kind"),
    [
        (np.array([[0, 100], [200, 255]], np.int32), "tif"),  # 8 bits in 32, which became black
        (np.array([[0, 2**20], [2**30, 2**31 - 1]], np.int32), "tif"),
        (np.array([[0, 0.2], [0.4, 1.0]], np.float32), "tif"),
    ],
)
def test_pixels_without_a_scale_are_refused(tmp_path: Path, pixels: np.ndarray, kind: str) -> None:
    Image.fromarray(pixels).save(tmp_path / f"it.{kind}")
    assert "its pixels are numbers without a scale" in refusal(tmp_path / f"it.{kind}")


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_sixteen_bits_of_grey_keep_their_brightness(tmp_path: Path, kind: str) -> None:
    Image.fromarray(np.array([[0, 257], [32896, 65535]], np.uint16)).save(tmp_path / f"it.{kind}")
    found = read([tmp_path / f"it.{kind}"], weights(2, 2))
    assert found.rows[0].tolist() == [0, 1, 128, 255]


def test_eight_bits_that_were_stored_as_sixteen_are_told(tmp_path: Path) -> None:
    told: list[str] = []
    Image.fromarray(np.array([[0, 100], [200, 255]], np.uint16)).save(tmp_path / "it.png")
    read([tmp_path / "it.png"], weights(2, 2), told.append)
    (note,) = told
    assert "has 16 bits a pixel and no value above 256, so it is almost black" in note


def sixteen_bit_colour() -> bytes:
    """A PNG of one row: black, half and full red, with 16 bits a channel."""
    import zlib

    def chunk(name: bytes, content: bytes) -> bytes:
        told = name + content
        return struct.pack(">I", len(content)) + told + struct.pack(">I", zlib.crc32(told))

    row = b"\0" + struct.pack(">9H", 0, 0, 0, 32896, 0, 0, 65535, 0, 0)
    header = struct.pack(">IIBBBBB", 3, 1, 16, 2, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(row)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def test_sixteen_bits_of_colour_keep_their_brightness(tmp_path: Path) -> None:
    (tmp_path / "it.png").write_bytes(sixteen_bit_colour())
    found = read([tmp_path / "it.png"], weights(3, 1, 3))
    assert found.rows[0].tolist() == [0, 128, 255, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr"])
@pytest.mark.parametrize("kind", ["png", "tif", "gif", "webp", "jpg", "bmp"])
def test_white_is_white_and_black_is_black_in_every_mode(
    tmp_path: Path, mode: str, kind: str
) -> None:
    for colour, value in (("white", 255), ("black", 0)):
        path = tmp_path / f"{colour}.{kind}"
        try:
            Image.new("RGB", (10, 12), colour).convert(mode).save(path)
        except (OSError, KeyError, ValueError):
            pytest.skip(f"no {kind} has pixels of mode {mode}")
        found = read([path], weights(12, 10, 3)).rows
        np.testing.assert_allclose(found, value, atol=3)


def test_more_pixels_than_anybody_needs_are_not_unpacked(tmp_path: Path) -> None:
    side = 1 + int(image_files.MOST_PIXELS**0.5)
    Image.new("1", (side, side)).save(tmp_path / "it.png")
    assert (tmp_path / "it.png").stat().st_size < 20_000
    assert "has too many pixels. Make it smaller." in refusal(tmp_path / "it.png")


@pytest.mark.parametrize(
    "kind",
    ["png", "jpg", "webp", "gif", "bmp", pytest.param("tif", marks=pytest.mark.long)],
)
def test_every_flipped_bit_is_a_picture_or_a_sentence(tmp_path: Path, kind: str) -> None:
    stream = io.BytesIO()
    Image.fromarray(NOISE[:5, :4]).save(stream, {"jpg": "jpeg", "tif": "tiff"}.get(kind, kind))
    whole = stream.getvalue()
    path = tmp_path / f"it.{kind}"
    step = max(1, len(whole) // 150)
    for place in range(0, len(whole), step):
        for damaged in (
            whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :],
            whole[:place],
        ):
            path.write_bytes(damaged)
            pictures, faults = read_each([path], weights(12, 10, 3), lambda _: None)
            assert (pictures is None) == bool(faults)
