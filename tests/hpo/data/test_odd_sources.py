"""Places that are no data: named for what they are, and never waited for."""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hpo.data.prepared import Held
from hpo.data.source import Source
from hpo.data.sources import resolve
from hpo.errors import DataChanged, DataUnavailable


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (os.mkfifo, "is a pipe or a device, and not a file"),
        (lambda path: path.symlink_to("/dev/zero"), "is a pipe or a device, and not a file"),
        (lambda path: path.symlink_to("nowhere"), "it is a link to nowhere"),
        (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
        (Path.mkdir, "is a folder without CIFAR-10 batches"),
    ],
    ids=["fifo", "device", "dangling", "loop", "folder"],
)
@pytest.mark.parametrize("name", ["it.npz", "it.tar.gz", "cifar-10-batches-py"])
def test_what_is_no_file_is_named_for_what_it_is(
    tmp_path: Path, make: Callable[[Path], None], told: str, name: str
) -> None:
    make(tmp_path / name)
    with pytest.raises(DataUnavailable, match=told):
        resolve(str(tmp_path / name), environ={}, notify=print)


def test_a_folder_that_may_not_be_read_is_named_for_that(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    with suppress(PermissionError):
        os.listdir(tmp_path / "closed")
        pytest.skip("this user may read every folder")
    for name in ("closed", "closed/it.npz"):
        with pytest.raises(DataUnavailable, match="Permission denied"):
            resolve(str(tmp_path / name), environ={}, notify=print)


def test_test_images_from_beside_other_training_images_are_refused(tmp_path: Path) -> None:
    def write(seed: int) -> None:
        images = np.random.default_rng(seed).integers(0, 256, (40, 4), dtype=np.uint8)
        labels = np.arange(40) % 3
        parts = {"images": images, "labels": labels, "test_images": images, "test_labels": labels}
        np.savez(tmp_path / "birds.npz", **parts)

    write(0)
    source = Source(spec=f"npz:{tmp_path / 'birds.npz'}", name="birds")
    settled = replace(source, fingerprint=source.training().fingerprint)
    assert settled.test() is not None
    write(1)
    with pytest.raises(DataChanged, match="birds were changed while they were used"):
        settled.test()


def test_a_test_part_that_is_held_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "birds.npz"
    images, labels = np.arange(160, dtype=np.uint8).reshape(40, 4), np.arange(40) % 3
    np.savez(path, images=images, labels=labels, test_images=images, test_labels=labels)
    held = Held(spec=f"npz:{path}", name="birds")
    first = held.test()
    path.unlink()
    assert held.test() is first
