"""A user's .npz that is cut, damaged, hostile or no file at all is refused, and never a crash."""

import gc
import io
import os
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model import archive
from model.errors import InvalidData
from model.npz import npz, npz_parts, npz_to_classify

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 4, 5), dtype=np.uint8)
LABELS = np.arange(20) % 3


def write(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


def stored_bytes(save: Callable[..., None]) -> bytes:
    stream = io.BytesIO()
    save(stream, images=IMAGES, labels=LABELS)
    return stream.getvalue()


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # has a test of its own below
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_truncated_npz_is_refused_wherever_it_ends(
    tmp_path: Path, save: Callable[..., None]
) -> None:
    content = stored_bytes(save)
    path = tmp_path / "some.npz"

    for length in range(1, len(content), 29):
        path.write_bytes(content[:length])
        with pytest.raises(InvalidData, match=r"cannot be read as an \.npz file"):
            npz(path)
    gc.collect()


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # has a test of its own below
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_npz_is_refused_or_read_but_never_a_crash(
    tmp_path: Path, save: Callable[..., None]
) -> None:
    content = stored_bytes(save)
    path = tmp_path / "some.npz"
    n_refused = 0

    for place in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[place] ^= 0x10
        path.write_bytes(damaged)
        try:
            dataset = npz(path)
        except InvalidData:
            n_refused += 1
        else:  # the bit was in a date or another field that decides nothing
            assert np.array_equal(dataset.images, IMAGES.reshape(20, 20))
            assert np.array_equal(dataset.labels, LABELS)
    gc.collect()
    assert n_refused > len(content) / 12


def test_a_refused_file_is_closed_again(tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    path.write_bytes(stored_bytes(np.savez)[:500])

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(InvalidData):
            npz(path)
        gc.collect()

    assert [str(warning.message) for warning in caught] == []


def with_header(shape: str, dtype: str = "|u1", n_bytes: int = 400) -> bytes:
    """An array whose header says what it likes."""
    told = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    header = told.encode().ljust(117) + b"\n"
    size = len(header).to_bytes(2, "little")
    return b"\x93NUMPY\x01\x00" + size + header + b"\0" * n_bytes


@pytest.mark.parametrize(
    "content",
    [
        with_header("(20, 1000000000000)"),  # memory that nobody has
        with_header("(20, 19)"),  # less than there is
        with_header("(20, 21)"),  # more
        with_header("(-20, -20)"),
        with_header("(20, 0, 99999999999999)", n_bytes=0),
        with_header("(20, 20)", "|V0"),
        with_header("(20, 20)", "|O"),
        with_header("(" * 60),
        with_header("-" * 100),
        with_header("(20, 20)", "['x', 3]"),
        b"\x93NUMPY\x02\x00\xff\xff\xff\x7f",  # a header of 2 GB
        b"\x93NUMPY\x03\x00" + b"\0" * 40,
        b"",
    ],
)
def test_an_array_that_is_not_what_its_header_says_is_refused(
    tmp_path: Path, content: bytes
) -> None:
    path = write(tmp_path / "some.npz", labels=LABELS)
    with zipfile.ZipFile(path, "a") as members:
        members.writestr("images.npy", content)
    with pytest.raises(InvalidData, match=r"images"):
        npz(path)


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=str
)
def test_an_array_is_not_unpacked_to_a_hundred_times_its_size(
    tmp_path: Path, method: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "SMALL", 1 << 16)
    path = tmp_path / "some.npz"
    with zipfile.ZipFile(path, "w", method) as members:
        for name, array in (("images", np.zeros((20, 50_000), np.uint8)), ("labels", LABELS)):
            stream = io.BytesIO()
            np.save(stream, array)
            members.writestr(f"{name}.npy", stream.getvalue())
    with pytest.raises(InvalidData, match=r"would unpack to 1,000,128 bytes from [\d,]+\)"):
        npz(path)
    monkeypatch.setattr(archive, "SMALL", 1 << 20)
    assert npz(path).d == 50_000


def test_a_sound_compressed_file_is_read(tmp_path: Path) -> None:
    np.savez_compressed(
        tmp_path / "some.npz", images=np.zeros((5000, 784)), labels=np.arange(5000) % 10
    )
    assert len(npz(tmp_path / "some.npz")) == 5000


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def dangling(path: Path) -> None:
    path.symlink_to("nowhere.npz")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize("make", [fifo, device, Path.mkdir, dangling, loop])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "some.npz"
    make(path)
    for read in (npz, npz_parts, lambda path: npz_to_classify(path, 3)):
        with pytest.raises(InvalidData, match=r"cannot be read: |No such file"):
            read(path)
