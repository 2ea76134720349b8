"""Archives of CIFAR-10: cut, damaged and hostile ones are refused, and nothing is unpacked."""

import gzip
import tarfile
from pathlib import Path

import numpy as np
import pytest

from model.cifar import load
from model.errors import InvalidData
from tests.model.small_cifar import (
    DIGESTS,
    PYTHON,
    Source,
    binary_archive,
    images_and_labels,
    python_archive,
    write_archive,
)


def files_below(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def test_an_archive_with_a_batch_missing_says_which(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "some.tar.gz", {"py/data_batch_1": PYTHON["data_batch_1"]})

    with pytest.raises(
        InvalidData, match=r"some\.tar\.gz holds no data_batch_2 or data_batch_2\.bin"
    ):
        load(path, **DIGESTS)


@pytest.mark.parametrize(
    "length",
    [
        3,  # the first bytes of a gzip header
        10,  # a gzip header
        20_000,  # in the first batch
        150_000,  # in the fourth or fifth batch
    ],
)
@pytest.mark.parametrize("source", [python_archive, binary_archive])
def test_a_truncated_archive_is_refused(source: Source, length: int, tmp_path: Path) -> None:
    path = source(tmp_path)
    path.write_bytes(path.read_bytes()[:length])

    with pytest.raises(InvalidData, match=r"is damaged or not a \.tar\.gz .* Download it again"):
        load(path, **DIGESTS)


@pytest.mark.parametrize("source", [python_archive, binary_archive])
def test_a_flipped_bit_anywhere_in_an_archive_is_refused_or_harmless(
    source: Source, tmp_path: Path
) -> None:
    path = source(tmp_path)
    intact = load(path, **DIGESTS).fingerprint
    content = path.read_bytes()
    n_refused = 0

    for place in range(10, len(content), 9001):
        damaged = bytearray(content)
        damaged[place] ^= 0x04
        path.write_bytes(damaged)
        try:
            dataset = load(path, **DIGESTS)
        except InvalidData:
            n_refused += 1
        else:  # the bit was in the test batch, or in a field that decides nothing
            assert dataset.fingerprint == intact
    assert n_refused > 10


@pytest.mark.parametrize(
    "content",
    [
        b"",  # empty
        b"<html>404 Not Found</html>" * 50,  # what a failed download leaves
        gzip.compress(b"no tar file " * 100, mtime=0),  # compressed, but no archive
        b"PK\x03\x04" + bytes(600),  # a zip file
    ],
    ids=["empty", "page", "compressed", "zip"],
)
def test_an_archive_that_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cifar-10-python.tar.gz"
    path.write_bytes(content)

    with pytest.raises(InvalidData, match=r"is damaged or not a \.tar\.gz"):
        load(path, **DIGESTS)


@pytest.mark.parametrize("prefix", ["../../evil/", "{here}/evil/", "py/../../"])
def test_an_archive_that_names_places_outside_writes_nothing(prefix: str, tmp_path: Path) -> None:
    inside = tmp_path / "some" / "where"
    inside.mkdir(parents=True)
    prefix = prefix.format(here=tmp_path)
    path = write_archive(
        inside / "evil.tar.gz", {prefix + name: content for name, content in PYTHON.items()}
    )
    before = files_below(tmp_path)

    dataset = load(path, (1,), **DIGESTS)

    assert np.array_equal(dataset.images, images_and_labels(1)[0])
    assert files_below(tmp_path) == before


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE]
)
def test_an_archive_member_that_is_no_file_is_passed_over(kind: bytes, tmp_path: Path) -> None:
    target = tmp_path / "secret"
    target.write_bytes(PYTHON["data_batch_1"])
    path = tmp_path / "links.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
        entry.type = kind
        entry.linkname = str(target)
        archive.addfile(entry)

    with pytest.raises(InvalidData, match="holds no data_batch_1 or"):
        load(path, (1,), **DIGESTS)


def test_an_oversized_member_is_refused_by_its_header(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
    entry.size = 2**40
    path = tmp_path / "bomb.tar.gz"
    path.write_bytes(gzip.compress(entry.tobuf() + bytes(1024)))

    with pytest.raises(
        InvalidData, match=r"data_batch_1 would be 1,099,511,627,776 bytes; a batch"
    ):
        load(path, (1,), **DIGESTS)
