"""The official CIFAR-10 files, in both formats and from either archive, verified before use.

The Python batches are pickles: every byte is checked against the published MD5 before it is
unpickled, and the unpickler then admits only what an array of bytes needs. The binary batches
hold the same images; their digests follow from the Python ones (label byte, then the image).

Source of the files: https://www.cs.toronto.edu/~kriz/cifar.html
"""

import gzip
import hashlib
import io
import pickle
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from model.data import Dataset
from model.errors import InvalidData
from model.files import open_regular

N_IMAGES = 10_000  #: images in a batch
IMAGE_SHAPE = (3, 32, 32)  #: red, green and blue planes
D = 3 * 32 * 32
TRAINING_BATCHES = (1, 2, 3, 4, 5)
TEST_BATCH = 0  #: the number that stands for test_batch

#: Bytes of a batch, of all that an archive unpacks to, and files in one: about twice the real ones.
BATCH_LIMIT, ARCHIVE_LIMIT, MEMBER_LIMIT = 2 * N_IMAGES * (D + 1), 400_000_000, 100
AS_DOWNLOADED = " Expected cifar-10-python.tar.gz or cifar-10-binary.tar.gz as downloaded."

PYTHON_MD5 = {
    1: "c99cafc152244af753f735de768cd75f",
    2: "d4bba439e000b95fd0a9bffe97cbabec",
    3: "54ebc095f3ab1f0389bbae665268c751",
    4: "634d18415352ddfa80567beed471001a",
    5: "482c414d41f54cd18b22e5b47cb7c3cb",
    TEST_BATCH: "40351d587109b95175f43aff81a1287e",
}
BINARY_MD5 = {
    1: "5dd7e06a14cb22eb9f671a540d1b7c25",
    2: "5ea93a67294ea407fff1d09f752e9692",
    3: "942cd6a4bcdd0dd3c604fbe906cb4421",
    4: "ae636b3ba5c66a11e91e8cb52e771fcb",
    5: "53f37980c15c3d472c316c40844f3f0d",
    TEST_BATCH: "803d5f7f4d78ea53de84dbe85f74fb6d",
}

CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


class _BatchUnpickler(pickle.Unpickler):
    """Unpickles dictionaries, lists, strings, numbers and plain arrays, and nothing else."""

    ADMITTED = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
        }
    )

    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) not in self.ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}")
        return super().find_class(module_name.replace("numpy.core", "numpy._core"), global_name)


def load(
    path: Path,
    batches: Sequence[int] = TRAINING_BATCHES,
    *,
    python_md5: Mapping[int, str] = PYTHON_MD5,
    binary_md5: Mapping[int, str] = BINARY_MD5,
) -> Dataset:
    """Return the images of ``batches`` in the order given, as one data set.

    Args:
        path: A directory of Python or binary batches, or a ``.tar.gz`` of either.
        batches: Numbers 1 to 5, or `TEST_BATCH`.
        python_md5: Digests that the Python batches must have.
        binary_md5: Digests that the binary batches must have.

    Raises:
        InvalidData: A batch is missing, damaged, or not what the published digest says.
    """
    parts = []
    for number, is_binary, content in _contents(path, batches):
        expected = (binary_md5 if is_binary else python_md5).get(number)
        actual = hashlib.md5(content, usedforsecurity=False).hexdigest()
        where = f"{path}: {_member(number, is_binary)}"
        if actual != expected:
            raise InvalidData(
                f"{where} is not the published file: MD5 {actual}, expected {expected} "
                f"({len(content):,} bytes read). It was not opened; download it again."
            )
        parts.append((_from_binary if is_binary else _from_pickle)(where, content))
    images = [images for images, _ in parts]
    labels = [labels for _, labels in parts]
    return Dataset(
        name="cifar10",
        images=images[0] if len(images) == 1 else np.concatenate(images),
        labels=np.concatenate(labels).astype(np.intp),
        n_classes=len(CLASS_NAMES),
        image_shape=IMAGE_SHAPE,
    )


def is_cifar10(path: Path) -> bool:
    """Tell whether ``path`` looks like CIFAR-10: a directory with a first batch, or an archive."""
    if path.is_dir():
        return any((path / _member(1, is_binary)).is_file() for is_binary in (False, True))
    return path.is_file() and path.name.endswith((".tar.gz", ".tgz"))


def files(path: Path, batches: Sequence[int] = TRAINING_BATCHES) -> list[Path]:
    """Return the files that `load` reads: the archive, or those of the batches that are there."""
    if not path.is_dir():
        return [path]
    members = (path / _member(n, is_binary) for n in batches for is_binary in (False, True))
    return [file for file in members if file.is_file()]


def _member(number: int, is_binary: bool) -> str:
    stem = "test_batch" if number == TEST_BATCH else f"data_batch_{number}"
    return stem + ".bin" if is_binary else stem


def _contents(path: Path, batches: Sequence[int]) -> Iterator[tuple[int, bool, bytes]]:
    """Yield (batch number, whether it is the binary format, bytes) in the order of ``batches``."""
    if path.is_dir():
        for number in batches:
            yield number, *_read_file(path, number)
    elif path.is_file():
        found = _read_archive(path, set(batches))
        for number in batches:
            if number not in found:
                raise InvalidData(
                    f"{path} holds no {_member(number, False)} or {_member(number, True)}."
                    f"{AS_DOWNLOADED}"
                )
            yield number, *found[number]
    else:
        raise InvalidData(
            f"No CIFAR-10 at {path}: no such directory or archive. Name the folder of the batches "
            "or a downloaded .tar.gz."
        )


def _read_file(directory: Path, number: int) -> tuple[bool, bytes]:
    for is_binary in (False, True):
        file = directory / _member(number, is_binary)
        if file.is_file():
            try:
                with open_regular(file) as opened:
                    content = opened.read(BATCH_LIMIT + 1)
            except OSError as error:
                raise InvalidData(f"{file} cannot be read: {error.strerror}.") from error
            if len(content) > BATCH_LIMIT:
                raise InvalidData(
                    f"{file} is too large: a batch has about 31 MB. Download it again."
                )
            return is_binary, content
    try:
        present = sorted(entry.name for entry in directory.iterdir())[:6]
    except OSError as error:
        raise InvalidData(f"{directory} cannot be read: {error.strerror}.") from error
    raise InvalidData(
        f"{directory} has no {_member(number, False)} or {_member(number, True)} "
        f"(it holds: {', '.join(present) or 'nothing'}). "
        "Expected the folder cifar-10-batches-py or cifar-10-batches-bin."
    )


def _read_archive(path: Path, wanted: set[int]) -> dict[int, tuple[bool, bytes]]:
    """Read the wanted members into memory; nothing is unpacked, so no path in it matters."""
    names = {_member(number, b): (number, b) for number in wanted for b in (False, True)}
    found: dict[int, tuple[bool, bytes]] = {}
    try:
        with (
            open_regular(path) as packed,
            gzip.GzipFile(fileobj=packed) as unpacked,
            tarfile.open(fileobj=cast("Any", _Bounded(unpacked)), mode="r|") as archive,
        ):
            for n_members, entry in enumerate(archive):
                if n_members == MEMBER_LIMIT:
                    raise InvalidData(
                        f"{path} holds more than {MEMBER_LIMIT} files.{AS_DOWNLOADED}"
                    )
                number, is_binary = names.get(Path(entry.name).name, (None, False))
                if number is None or not entry.isfile():
                    continue
                if entry.size > BATCH_LIMIT:
                    raise InvalidData(
                        f"{path}: {entry.name} would be {entry.size:,} bytes; a batch has about 31 MB. "
                        "Download the archive again."
                    )
                opened = archive.extractfile(entry)
                if opened is not None:
                    found[number] = (is_binary, opened.read())
                if len(found) == len(wanted):
                    break
    except InvalidData:
        raise
    except _TooLarge as error:
        raise InvalidData(f"{path} unpacks to more than CIFAR-10 has.{AS_DOWNLOADED}") from error
    except Exception as error:  # a damaged archive can raise anything
        raise InvalidData(
            f"{path} is damaged or not a .tar.gz ({error}). Download it again."
        ) from error
    return found


class _TooLarge(Exception):
    """More comes out of an archive than can be meant."""


class _Bounded:
    """A stream that ends in an error before it becomes too long."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream = stream
        self._left = ARCHIVE_LIMIT

    def read(self, n: int) -> bytes:
        content = self._stream.read(min(n, self._left + 1))
        self._left -= len(content)
        if self._left < 0:
            raise _TooLarge
        return content


def _from_pickle(where: str, content: bytes) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    try:
        batch = _BatchUnpickler(io.BytesIO(content), encoding="bytes").load()
        images, labels = batch[b"data"], np.asarray(batch[b"labels"])
    except Exception as error:  # a damaged pickle can raise anything
        raise InvalidData(f"{where} is no CIFAR batch and was refused: {error}.") from error
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 2:
        raise InvalidData(f"{where} holds no array of bytes under b'data'.")
    return _checked(where, images, labels)


def _from_binary(where: str, content: bytes) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    if len(content) % (D + 1):
        raise InvalidData(f"{where} has {len(content):,} bytes, not a multiple of {D + 1}.")
    rows = np.frombuffer(content, np.uint8).reshape(-1, D + 1)
    return _checked(where, np.ascontiguousarray(rows[:, 1:]), rows[:, 0])


def _checked(
    where: str, images: NDArray[np.uint8], labels: NDArray[Any]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    if images.shape[1] != D or labels.shape != (len(images),):
        raise InvalidData(
            f"{where} has images {images.shape} and labels {labels.shape}; expected (n, {D}) and (n,)."
        )
    if not np.issubdtype(labels.dtype, np.integer) or not ((labels >= 0) & (labels <= 9)).all():
        raise InvalidData(f"{where} has labels outside 0 to 9.")
    return images, labels.astype(np.uint8)
