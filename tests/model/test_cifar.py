"""CIFAR-10 in both formats and both archives: equal arrays, or a refusal that says why.

The batches are small ones of random images, whose digests are handed to `load` in place of the
published ones. A last section reads the real files where they are offered.
"""

import gzip
import hashlib
import io
import os
import pickle
import shlex
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model.cifar import (
    BINARY_MD5,
    IMAGE_SHAPE,
    PYTHON_MD5,
    TEST_BATCH,
    TRAINING_BATCHES,
    D,
    is_cifar10,
    load,
)
from model.data import Dataset
from model.errors import InvalidData

Source = Callable[[Path], Path]

N = 12  #: images in a small batch
PYTHON_NAMES = {TEST_BATCH: "test_batch", **{i: f"data_batch_{i}" for i in TRAINING_BATCHES}}


class Python2Pickler(pickle._Pickler):
    """Writes byte strings as Python 2 did, which made the published batches."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_bytes(self, content: bytes) -> None:
        self.write(pickle.BINSTRING + len(content).to_bytes(4, "little") + content)
        self.memoize(content)

    dispatch[bytes] = save_bytes


def python_batch(batch: object) -> bytes:
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=2).dump(batch)
    return stream.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def images_and_labels(number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rng = np.random.default_rng(number)
    return rng.integers(0, 256, (N, D), dtype=np.uint8), rng.integers(0, 10, N, dtype=np.uint8)


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def python_files() -> dict[str, bytes]:
    files = {}
    for number, name in PYTHON_NAMES.items():
        images, labels = images_and_labels(number)
        content = {
            b"batch_label": b"one of six",
            b"labels": labels.tolist(),
            b"data": images,
            b"filenames": [b"%d.png" % i for i in range(N)],
        }
        files[name] = python_batch(content)
    return files


def binary_files() -> dict[str, bytes]:
    files = {}
    for number, name in PYTHON_NAMES.items():
        images, labels = images_and_labels(number)
        files[name + ".bin"] = np.concatenate([labels[:, None], images], axis=1).tobytes()
    return files


PYTHON, BINARY = python_files(), binary_files()
DIGESTS: dict[str, Mapping[int, str]] = {
    "python_md5": {number: md5(PYTHON[name]) for number, name in PYTHON_NAMES.items()},
    "binary_md5": {number: md5(BINARY[name + ".bin"]) for number, name in PYTHON_NAMES.items()},
}


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def write_archive(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def python_folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "cifar-10-batches-py", {**PYTHON, "batches.meta": b"names"})


def binary_folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "cifar-10-batches-bin", {**BINARY, "readme.html": b"read"})


def python_archive(tmp_path: Path) -> Path:
    files = {f"cifar-10-batches-py/{name}": content for name, content in PYTHON.items()}
    return write_archive(tmp_path / "cifar-10-python.tar.gz", files)


def binary_archive(tmp_path: Path) -> Path:
    files = {f"cifar-10-batches-bin/{name}": content for name, content in BINARY.items()}
    return write_archive(tmp_path / "cifar-10-binary.tar.gz", files)


EVERY_SOURCE = pytest.mark.parametrize(
    "source", [python_folder, binary_folder, python_archive, binary_archive]
)


def files_below(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@EVERY_SOURCE
def test_every_source_gives_the_same_training_images(source: Source, tmp_path: Path) -> None:
    path = source(tmp_path)
    expected = [images_and_labels(number) for number in (1, 2, 3, 4, 5)]

    dataset = load(path, **DIGESTS)

    assert np.array_equal(dataset.images, np.concatenate([images for images, _ in expected]))
    assert np.array_equal(dataset.labels, np.concatenate([labels for _, labels in expected]))
    assert dataset.images.dtype == np.uint8
    assert dataset.labels.dtype == np.intp
    assert (dataset.name, dataset.n_classes) == ("cifar10", 10)
    assert dataset.image_shape == IMAGE_SHAPE
    assert dataset.n_validation is None


@EVERY_SOURCE
@pytest.mark.parametrize("batches", [(TEST_BATCH,), (2,), (4, 1)])
def test_only_the_batches_asked_for_come_in_the_order_asked_for(
    source: Source, batches: tuple[int, ...], tmp_path: Path
) -> None:
    dataset = load(source(tmp_path), batches, **DIGESTS)

    expected = np.concatenate([images_and_labels(number)[0] for number in batches])
    assert np.array_equal(dataset.images, expected)


def test_all_sources_have_one_fingerprint(tmp_path: Path) -> None:
    sources = (python_folder, binary_folder, python_archive, binary_archive)

    assert len({load(source(tmp_path), **DIGESTS).fingerprint for source in sources}) == 1


@EVERY_SOURCE
def test_a_source_is_recognised(source: Source, tmp_path: Path) -> None:
    assert is_cifar10(source(tmp_path))


def test_other_files_and_folders_are_not_taken_for_cifar10(tmp_path: Path) -> None:
    (tmp_path / "letters.npz").write_bytes(b"")

    assert not is_cifar10(tmp_path)
    assert not is_cifar10(tmp_path / "letters.npz")
    assert not is_cifar10(tmp_path / "absent.tar.gz")


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (PYTHON, "data_batch_3"),
        (BINARY, "data_batch_3.bin"),
    ],
)
def test_a_flipped_bit_is_noticed_before_the_batch_is_opened(
    files: dict[str, bytes], name: str, tmp_path: Path
) -> None:
    damaged = bytearray(files[name])
    damaged[len(damaged) // 2] ^= 1
    folder = write_folder(tmp_path / "batches", {**files, name: bytes(damaged)})
    size = f"{len(damaged):,}"

    with pytest.raises(
        InvalidData,
        match=rf"batches: {name} is not the published file: MD5 {md5(bytes(damaged))}, expected "
        rf"{md5(files[name])} \({size} bytes read\)\. It was not opened; download it again",
    ):
        load(folder, **DIGESTS)


@pytest.mark.parametrize(("files", "ending"), [(PYTHON, ""), (BINARY, ".bin")])
def test_a_truncated_batch_is_noticed(files: dict[str, bytes], ending: str, tmp_path: Path) -> None:
    name = "data_batch_5" + ending
    folder = write_folder(tmp_path / "batches", {**files, name: files[name][:1000]})

    with pytest.raises(InvalidData, match=rf"{name} is not .* \(1,000 bytes read\)"):
        load(folder, **DIGESTS)


def test_a_batch_with_another_batchs_content_is_noticed(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "batches", {**PYTHON, "data_batch_2": PYTHON["data_batch_1"]})

    with pytest.raises(InvalidData, match="data_batch_2 is not the published file"):
        load(folder, **DIGESTS)


def test_a_batch_without_a_known_digest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="data_batch_1 is not the published file"):
        load(python_folder(tmp_path), (1,), python_md5={}, binary_md5=DIGESTS["binary_md5"])


def test_a_folder_with_a_batch_missing_says_which_and_what_it_holds(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "batches", {"data_batch_1": PYTHON["data_batch_1"]})

    with pytest.raises(
        InvalidData,
        match=r"batches has no data_batch_2 or data_batch_2\.bin \(it holds: data_batch_1\)",
    ):
        load(folder, **DIGESTS)


@pytest.mark.parametrize(
    ("files", "holding"),
    [
        ({"letter.txt": b"", "photo.png": b""}, r"it holds: letter\.txt, photo\.png"),
        ({}, "it holds: nothing"),
    ],
)
def test_a_folder_that_is_something_else_is_refused(
    files: dict[str, bytes], holding: str, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "something", files)

    with pytest.raises(InvalidData, match=rf"no data_batch_1 .*{holding}\)\. Expected the folder"):
        load(folder, **DIGESTS)


def test_a_path_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match=r"No CIFAR-10 at .*absent: no such directory or archive"):
        load(tmp_path / "absent", **DIGESTS)


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


class Call:
    """Pickles as a call: unpickled without care, ``function(*arguments)`` is carried out."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


def hostile_calls(victim: Path) -> dict[str, Call]:
    return {
        "system": Call(os.system, f"touch {shlex.quote(str(victim))}"),
        "eval": Call(eval, f"open({str(victim)!r}, 'w').close()"),
        "exec": Call(exec, f"open({str(victim)!r}, 'w').close()"),
        "open": Call(open, str(victim), "w"),
        "tofile": Call(np.save, str(victim), [1]),
    }


HOSTILE = pytest.mark.parametrize("call", ["system", "eval", "exec", "open", "tofile"])
PLACES = pytest.mark.parametrize(
    "wrap",
    [
        lambda call: call,  # in place of the batch
        lambda call: {b"data": call, b"labels": [0]},  # in place of the images
        lambda call: {b"data": np.zeros((1, D), np.uint8), b"labels": [0], b"more": call},  # beside
    ],
)


@PLACES
@HOSTILE
@pytest.mark.parametrize("protocol", [2, 5])
def test_a_hostile_pickle_with_the_expected_digest_is_refused_and_does_nothing(
    call: str, wrap: Callable[[object], object], protocol: int, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    content = pickle.dumps(wrap(hostile_calls(victim)[call]), protocol)
    folder = write_folder(tmp_path / "batches", {"data_batch_1": content})

    with pytest.raises(
        InvalidData, match="data_batch_1 is no CIFAR batch and was refused: it asks"
    ):
        load(folder, (1,), python_md5={1: md5(content)})
    assert not victim.exists()


@HOSTILE
def test_the_same_pickle_would_have_created_the_file(call: str, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    opened = pickle.loads(pickle.dumps(hostile_calls(victim)[call]))

    if call == "open":
        opened.close()
    elif call == "tofile":
        victim = victim.with_suffix(".npy")
    assert victim.exists()


@PLACES
@HOSTILE
def test_a_hostile_pickle_is_refused_by_the_published_digests(
    call: str, wrap: Callable[[object], object], tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    content = pickle.dumps(wrap(hostile_calls(victim)[call]))
    folder = write_folder(tmp_path / "batches", {"data_batch_1": content})

    with pytest.raises(InvalidData, match=f"expected {PYTHON_MD5[1]} .* It was not opened"):
        load(folder, (1,))
    assert not victim.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",  # nothing
        b"N.",  # None
        b"\x80\x02}.",  # a batch without entries
        b"\x80\x02cnumpy\nndarray.tofile\n.",  # a name below an admitted one
        b"\x80\x04\x8c\x05numpy\x8c\x0eload.__module__\x93.",  # a path from an admitted module
    ],
)
def test_a_pickle_of_something_else_is_refused(content: bytes, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "batches", {"data_batch_1": content})

    with pytest.raises(InvalidData, match="data_batch_1 is no CIFAR batch and was refused"):
        load(folder, (1,), python_md5={1: md5(content)})


IMAGES, LABELS = images_and_labels(1)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        # a list is no array
        ({b"data": IMAGES.tolist(), b"labels": LABELS.tolist()}, "no array of bytes under b'data'"),
        # numbers of another type
        ({b"data": IMAGES.astype(float), b"labels": LABELS.tolist()}, "no array of bytes"),
        # images of another size
        ({b"data": IMAGES[:, 1:], b"labels": LABELS.tolist()}, r"images \(12, 3071\) and labels"),
        # a label too few
        ({b"data": IMAGES, b"labels": LABELS.tolist()[1:]}, r"and labels \(11,\); expected"),
        # an eleventh class
        ({b"data": IMAGES, b"labels": [10] * N}, "has labels outside 0 to 9"),
        # a class before the first
        ({b"data": IMAGES, b"labels": [-1] * N}, "has labels outside 0 to 9"),
        # halves
        ({b"data": IMAGES, b"labels": [0.5] * N}, "has labels outside 0 to 9"),
    ],
)
def test_a_pickle_that_is_no_batch_of_32_by_32_images_is_refused(
    batch: object, message: str, tmp_path: Path
) -> None:
    content = python_batch(batch)
    folder = write_folder(tmp_path / "batches", {"data_batch_1": content})

    with pytest.raises(InvalidData, match=message):
        load(folder, (1,), python_md5={1: md5(content)})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bytes(D), r"has 3,072 bytes, not a multiple of 3073"),  # an image without its label
        (b"\x0a" + bytes(D), "has labels outside 0 to 9"),  # an eleventh class
    ],
)
def test_a_binary_batch_of_other_bytes_is_refused(
    content: bytes, message: str, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "batches", {"data_batch_1.bin": content})

    with pytest.raises(InvalidData, match=message):
        load(folder, (1,), binary_md5={1: md5(content)})


@pytest.fixture(scope="module")
def real_training(cifar10_folder: Path) -> Dataset:
    return load(cifar10_folder)


def test_the_real_training_images_are_5000_of_each_class(real_training: Dataset) -> None:
    assert real_training.images.shape == (50_000, D)
    assert np.bincount(real_training.labels).tolist() == [5000] * 10
    assert real_training.labels[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
    assert real_training.images[0, :5].tolist() == [59, 43, 50, 68, 98]


def test_the_real_test_images_are_1000_of_each_class(cifar10_folder: Path) -> None:
    test = load(cifar10_folder, (TEST_BATCH,))

    assert test.images.shape == (10_000, D)
    assert np.bincount(test.labels).tolist() == [1000] * 10
    assert test.labels[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]


def test_the_published_digests_of_both_formats_belong_to_the_same_images(
    real_training: Dataset,
) -> None:
    for number in TRAINING_BATCHES:
        part = real_training.take(10_000 * (number - 1), 10_000 * number)
        labels = part.labels[:, None].astype(np.uint8)
        binary = np.concatenate([labels, part.images], axis=1).tobytes()

        assert md5(binary) == BINARY_MD5[number]
