"""CIFAR-10 in small: batches of a dozen random images, in both formats and both archives.

``DIGESTS`` is handed to ``load`` in place of the published digests.
"""

import hashlib
import io
import pickle
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model.cifar import TEST_BATCH, TRAINING_BATCHES, D

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
