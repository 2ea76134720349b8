"""Images that cannot be used: one clear sentence, status 1, no traceback, nothing half-written."""

import io
import os
import pickle
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.hpo.cli.remains import left, stored_studies

Command = Callable[..., Any]
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (200, 4, 4), dtype=np.uint8)
LABELS = RNG.integers(0, 3, 200)


def objects(array: np.ndarray) -> np.ndarray:
    """Return an array of Python objects, which NumPy stores as a pickle."""
    wrapped = np.empty(len(array), object)
    wrapped[:] = [Bomb() for _ in array]
    return wrapped


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("exploded",)


def exchanged(place: tuple[int, ...], value: float, dtype: str = "float32") -> np.ndarray:
    images = IMAGES.astype(dtype)
    images[place] = value
    return images


# --- the images -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        (
            {"images": objects(IMAGES)},  # a pickle, which would run code
            r"mine\.npz: the array 'images' cannot be read without running code, or is damaged \(",
        ),
        ({"labels": objects(LABELS)}, r"mine\.npz: the array 'labels' cannot be read without run"),
        (
            {"images": IMAGES[:, 0, 0]},  # one number an image
            r"mine\.npz: images has shape \(200,\); expected \(n, \.\.\.\) with at least one value",
        ),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, r"mine\.npz: images has shape \(0, 4, 4\)"),
        ({"images": IMAGES.astype(str)}, r"mine\.npz: images has type <U3; expected uint8 or real"),
        ({"images": IMAGES * 1j}, r"mine\.npz: images has type complex128; expected uint8 or real"),
        (
            {"labels": LABELS[:150]},  # fewer labels than images
            r"mine\.npz: labels has shape \(150,\) and type int64; expected \(200,\) whole numbers",
        ),
        ({"labels": LABELS[:, None]}, r"mine\.npz: labels has shape \(200, 1\) and type int64"),
        ({"labels": LABELS / 2}, r"mine\.npz: labels has shape \(200,\) and type float64; expecte"),
        (
            {"labels": LABELS - 1},
            r"mine\.npz: labels runs from -1 to 1, but there are 3 classes, so labels must be 0 to",
        ),
        ({"labels": LABELS * 2}, r"mine\.npz: labels runs from 0 to 4, but there are 3 classes"),
        ({"labels": LABELS * 0}, r"mine\.npz: every label is 0\. A classifier needs at least two"),
        (
            {"images": exchanged((7, 0, 0), np.nan)},
            r"mine\.npz: images has values that are not finite, first in image 7 \(1 images in all",
        ),
        ({"images": exchanged((3, 1, 1), np.inf)}, "not finite, first in image 3"),
        ({"images": exchanged((3, 1, 1), 1e300, "float64")}, "not finite, first in image 3"),
        ({"labels": None}, r"mine\.npz has no array 'labels'; it holds images\. Store images \(n,"),
        ({"images": None, "labels": None, "x": LABELS}, r"has no array 'images'; it holds x\."),
        (
            {"images": IMAGES[:5], "labels": LABELS[:5]},
            "mine has 5 images, too few to hold out validation images. Use at least 20",
        ),
        (
            {"labels": np.sort(LABELS)},  # the first tenth, which validates, is of one class
            "The first 20 images of mine, which validate, are all of class 0. Shuffle the file",
        ),
    ],
)
def test_an_npz_that_is_no_data_set(
    arrays: dict[str, np.ndarray],
    sentence: str,
    command: Command,
    write_study: Command,
    write_npz: Command,
    workplace: Path,
) -> None:
    told = command("run", write_study(batch_size=10), "--data", write_npz(**arrays)).sentence

    assert re.search(sentence, told)
    assert told.count("\n") == 0
    assert stored_studies(workplace) == []


@pytest.mark.parametrize(
    "images",
    [
        exchanged((9,), 5, "uint8"),  # one of the training images, behind validation's twenty ...
        exchanged((30,), 5, "uint8"),
        exchanged((slice(None),), 5, "uint8"),  # and all of them
    ],
)
def test_an_image_of_one_value_throughout(
    images: np.ndarray,
    command: Command,
    write_study: Command,
    write_npz: Command,
    workplace: Path,
) -> None:
    study, data = write_study(batch_size=10), write_npz(images=images)

    told = command("run", study, "--data", data).sentence

    assert re.search(
        r"hpo: Image \d+ of mine has one value throughout \(\d+ such images\), so it has no "
        r"deviation to be divided by\. Remove these images or use the normalisation 'feature'\.$",
        told,
    )
    assert stored_studies(workplace) == []


def test_images_of_one_value_can_be_normalised_by_feature(
    command: Command, write_study: Command, write_npz: Command
) -> None:
    study, data = write_study(batch_size=10, normalisation="feature"), exchanged((9,), 5, "uint8")

    assert command("run", study, "--data", write_npz(images=data)).status == 0


def test_the_place_of_a_constant_image_is_its_place_in_the_file(
    command: Command, write_study: Command, write_npz: Command
) -> None:
    images = exchanged((30,), 5, "uint8")

    told = command("run", write_study(batch_size=10), "--data", write_npz(images=images)).sentence

    assert "Image 30 of mine" in told


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda b: b[: len(b) // 2], r"mine\.npz cannot be read as an \.npz file"),  # cut
        (lambda b: b"", r"mine\.npz cannot be read as an \.npz file"),
        (lambda b: b"hello", r"mine\.npz cannot be read as an \.npz file"),
        (pickle.dumps, r"mine\.npz cannot be read as an \.npz file"),
        (
            lambda b: b[:1000] + bytes([b[1000] ^ 255]) + b[1001:],  # bits flipped
            r"mine\.npz: the array 'images' cannot be read .* damaged \(Bad CRC-32",
        ),
    ],
)
def test_a_file_that_is_no_sound_npz(
    spoil: Callable[[bytes], bytes],
    sentence: str,
    command: Command,
    write_study: Command,
    write_npz: Command,
    workplace: Path,
) -> None:
    path = workplace / write_npz()
    path.write_bytes(spoil(path.read_bytes()))

    told = command("run", write_study(), "--data", path).sentence

    assert re.search(sentence, told)
    assert left(workplace) == set()


def make_batches(folder: Path, content: Callable[[int], bytes] = lambda n: b"x" * n) -> Path:
    folder.mkdir()
    for number in range(1, 6):
        (folder / f"data_batch_{number}").write_bytes(content(number))
    return folder


def make_archive(path: Path, member: str) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo(member)
        entry.size = 5
        archive.addfile(entry, io.BytesIO(b"evil!"))
    return path


def truncated_archive(path: Path) -> Path:
    make_archive(path, "cifar-10-batches-py/data_batch_1")
    path.write_bytes(path.read_bytes()[:60])
    return path


def text_file(path: Path, content: str = "hello") -> Path:
    path.write_text(content)
    return path


def one_batch(folder: Path) -> Path:
    make_batches(folder)
    (folder / "data_batch_1").unlink()
    return folder


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda at: make_batches(at / "b"),  # not the published bytes
            r"b: data_batch_1 is not the published file: MD5 \w{32}, expected c99cafc152244af753f7",
        ),
        (
            lambda at: make_batches(at / "b", lambda n: pickle.dumps(Bomb())),  # would run code
            r"data_batch_1 is not the published file: .* It was not opened; download it again",
        ),
        (
            lambda at: one_batch(at / "b"),
            r"b is a folder without CIFAR-10 batches\. Expected cifar10, digits, auto",
        ),
        (
            lambda at: make_archive(at / "c.tar.gz", "../../data_batch_1"),  # path traversal
            r"c\.tar\.gz: data_batch_1 is not the published file",
        ),
        (
            lambda at: make_archive(at / "c.tar.gz", "README"),
            r"c\.tar\.gz holds no data_batch_1 or data_batch_1\.bin\. Expected cifar-10-python\.tar",
        ),
        (
            lambda at: truncated_archive(at / "c.tar.gz"),
            r"c\.tar\.gz is damaged or not a \.tar\.gz \(.*\)\. Download it again",
        ),
        (lambda at: text_file(at / "c.tar.gz"), r"c\.tar\.gz is damaged or not a \.tar\.gz \("),
        (
            lambda at: text_file(at / "notes.txt"),
            r"notes\.txt is not CIFAR-10 or an \.npz\. Expected cifar10, digits, auto, a folder",
        ),
        (lambda at: at, r"is a folder without CIFAR-10 batches\. Expected cifar10, digits, auto"),
        (lambda at: at / "nothing", r"No data at '.*nothing': there is no such path\. Expected"),
        (lambda at: Path("cifar11"), r"No data at 'cifar11': there is no such path\. Expected"),
        (lambda at: "", r"No data at '': there is no such path"),
    ],
)
def test_a_source_that_is_something_else(
    make: Callable[[Path], Path],
    sentence: str,
    command: Command,
    write_study: Command,
    workplace: Path,
    tmp_path: Path,
) -> None:
    place = tmp_path / "data"
    place.mkdir()

    told = command("run", write_study(), "--data", make(place)).sentence

    assert re.search(sentence, told)
    assert left(workplace) == set()
    assert not (tmp_path.parent / "data_batch_1").exists()  # nothing was unpacked


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("nowhere", "HPO_DATA is 'nowhere', which does not exist. Set it to the folder cifar-10-b"),
        (".", "HPO_DATA is '.', which is not CIFAR-10. Set it to the folder cifar-10-batches-py"),
    ],
)
def test_a_wrong_hpo_data_is_not_passed_over(
    value: str,
    sentence: str,
    command: Command,
    write_study: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HPO_DATA", value)

    assert sentence in command("run", write_study()).sentence


def test_one_flipped_bit_of_the_real_batches_is_found(
    cifar10_folder: Path, command: Command, write_study: Command, workplace: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "flipped"
    folder.mkdir()
    for path in cifar10_folder.glob("data_batch_*"):
        (folder / path.name).symlink_to(path.resolve())
    victim = next(folder.glob("data_batch_3*"))
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.unlink()
    victim.write_bytes(content)

    told = command("run", write_study(), "--data", folder).sentence

    assert re.search(r"data_batch_3\S* is not the published file: MD5 ", told)
    assert left(workplace) == set()


# --- the definition ---------------------------------------------------------------------------


def test_images_that_are_refused_make_no_database(
    command: Command, write_study: Command, write_npz: Command, workplace: Path
) -> None:
    data = write_npz(images=IMAGES[:5], labels=LABELS[:5])

    assert command("run", write_study(), "--data", data).sentence
    assert left(workplace) == set()
