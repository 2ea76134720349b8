"""Archives and folders that were made to harm: bounded before they are unpacked, and never waited for."""

import gzip
import io
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from model import cifar
from model.errors import InvalidData


@contextmanager
def small_limits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(cifar, "ARCHIVE_LIMIT", 1 << 20)
        patch.setattr(cifar, "BATCH_LIMIT", 1 << 20)
        yield


def packed(path: Path, *members: tuple[str, int]) -> Path:
    """An archive of files of so many zeros."""
    with tarfile.open(path, "w:gz") as archive:
        for name, size in members:
            entry = tarfile.TarInfo(name)
            entry.size = size
            archive.addfile(entry, io.BytesIO(bytes(size)))
    return path


def header(kind: bytes, size: int, name: str = "x") -> bytes:
    """A member's header that says that so much follows."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.size = kind, size
    return entry.tobuf(tarfile.GNU_FORMAT)


def gzipped(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content))
    return path


@pytest.mark.parametrize(
    ("make", "told"),
    [
        # a large file before anything that is looked for
        (
            lambda p: packed(p, ("big", 5 << 20), ("data_batch_1", 9)),
            "unpacks to more than CIFAR-10",
        ),
        # many of them
        (lambda p: packed(p, *[(f"f{n}", 300_000) for n in range(9)]), "unpacks to more than"),
        (lambda p: packed(p, *[(f"f{n}", 0) for n in range(200)]), "holds more than 100 files"),
        # a batch that is none
        (lambda p: packed(p, ("data_batch_1", 2 << 20)), "a batch has about 31 MB"),
        # headers whose content would be held in memory
        (lambda p: gzipped(p, header(b"x", 1 << 40) + bytes(3 << 20)), "unpacks to more than"),
        (lambda p: gzipped(p, header(b"L", 1 << 33) + bytes(3 << 20)), "unpacks to more than"),
        (lambda p: gzipped(p, header(b"g", 2 << 20) + bytes(3 << 20)), "unpacks to more than"),
        # zeros without end, and headers cut off
        (lambda p: gzipped(p, header(b"0", 1 << 35) + bytes(3 << 20)), "unpacks to more than"),
        (lambda p: gzipped(p, header(b"x", 1 << 20)), "is damaged or not a .tar.gz"),
    ],
)
def test_an_archive_is_not_unpacked_beyond_what_cifar10_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], Path], told: str
) -> None:
    path = make(tmp_path / "it.tar.gz")
    with small_limits(monkeypatch), pytest.raises(InvalidData, match=told):
        cifar.load(path)


@pytest.mark.parametrize(
    "kind", [tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_members_that_are_no_files_are_none_of_ours(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "it.tar.gz", "w:gz") as archive:
        entry = tarfile.TarInfo("data_batch_1")
        entry.type, entry.linkname = kind, "/etc/passwd"
        archive.addfile(entry)
    with pytest.raises(InvalidData, match="holds no data_batch_1"):
        cifar.load(tmp_path / "it.tar.gz", [1])


def test_a_batch_in_a_folder_is_not_read_beyond_what_it_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "data_batch_1").open("wb") as file:
        file.truncate(1 << 40)  # a terabyte that takes no room
    with small_limits(monkeypatch), pytest.raises(InvalidData, match="data_batch_1 is too large"):
        cifar.load(tmp_path, [1])


@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to("nowhere"),
        lambda path: path.symlink_to(path.name),
        Path.mkdir,
    ],
    ids=["fifo", "device", "dangling", "loop", "folder"],
)
@pytest.mark.parametrize("name", ["it.tar.gz", "batches/data_batch_1"])
def test_what_is_no_file_is_refused_at_once(
    tmp_path: Path, make: Callable[[Path], None], name: str
) -> None:
    place = tmp_path / name
    place.parent.mkdir(exist_ok=True)
    make(place)
    path = place.parent if place.name == "data_batch_1" else place
    assert not cifar.is_cifar10(path)
    with pytest.raises(InvalidData):
        cifar.load(path)
