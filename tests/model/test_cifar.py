"""CIFAR-10 from every source: the same images, and damage is noticed before a batch is opened."""

from pathlib import Path

import numpy as np
import pytest

from model.cifar import BINARY_MD5, IMAGE_SHAPE, TEST_BATCH, TRAINING_BATCHES, D, is_cifar10, load
from model.data import Dataset
from model.errors import InvalidData
from tests.model.small_cifar import (
    BINARY,
    DIGESTS,
    EVERY_SOURCE,
    PYTHON,
    Source,
    binary_archive,
    binary_folder,
    images_and_labels,
    md5,
    python_archive,
    python_folder,
    write_folder,
)


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
