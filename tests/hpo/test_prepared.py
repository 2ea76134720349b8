"""Images that every process maps: the same as those read, found again, and never trusted blindly."""

import os
from pathlib import Path

import numpy as np
import pytest

from hpo import prepared
from hpo.sources import Source
from model.normalisation import image_statistics

Environment = dict[str, str]


@pytest.fixture
def environ(tmp_path: Path) -> Environment:
    return {"HPO_CACHE": str(tmp_path / "cache")}


def written(path: Path, seed: int = 0) -> Source:
    """An .npz of 40 small images."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (40, 4, 4), dtype=np.uint8)
    np.savez(path, images=images, labels=np.arange(40) % 3)
    return Source(spec=f"npz:{path}", name=path.stem)


def entries(environ: Environment) -> list[Path]:
    return sorted((Path(environ["HPO_CACHE"]) / "prepared").iterdir())


def is_mapped(images: np.ndarray) -> bool:
    while isinstance(images.base, np.ndarray):
        images = images.base
    return type(images.base).__name__ == "mmap"


def test_prepared_images_are_those_of_the_source_and_mapped(
    tmp_path: Path, environ: Environment
) -> None:
    source = written(tmp_path / "birds.npz")
    plain = source.training()
    for _ in range(2):  # made, then found
        dataset = prepared.training(source, environ)
        assert dataset.fingerprint == plain.fingerprint
        assert (dataset.name, dataset.n_classes) == (plain.name, plain.n_classes)
        assert dataset.image_shape == plain.image_shape
        known, computed = dataset.image_statistics, image_statistics(plain)
        assert known is not None
        np.testing.assert_array_equal(known.mean, computed.mean)
        np.testing.assert_array_equal(known.deviation, computed.deviation)
        assert is_mapped(dataset.images)
        assert not dataset.images.flags.writeable
    assert len(entries(environ)) == 1


def test_a_file_that_changed_is_read_again(tmp_path: Path, environ: Environment) -> None:
    before = prepared.training(written(tmp_path / "birds.npz"), environ)
    source = written(tmp_path / "birds.npz", seed=1)
    after = prepared.training(source, environ)
    assert after.fingerprint == source.training().fingerprint != before.fingerprint


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (prepared.IMAGES, None),  # one byte of the images is another one
        (prepared.IMAGES, b"\x93NUMPY"),  # cut off
        (prepared.LABELS, b""),
        (prepared.STATISTICS, None),
        (prepared.FACTS, b"{"),
    ],
)
def test_a_damaged_entry_is_made_again(
    tmp_path: Path, environ: Environment, name: str, content: bytes | None
) -> None:
    source = written(tmp_path / "birds.npz")
    expected = prepared.training(source, environ).fingerprint
    (entry,) = entries(environ)
    whole = (entry / name).read_bytes()
    damaged = whole[:-1] + bytes([whole[-1] ^ 1]) if content is None else content
    (entry / name).write_bytes(damaged)

    assert prepared.training(source, environ).fingerprint == expected
    assert (entry / name).read_bytes() == whole


def test_without_a_cache_the_images_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    source = written(tmp_path / "birds.npz")
    dataset = prepared.training(source, {"HPO_CACHE": str(tmp_path / "file")})
    assert dataset.fingerprint == source.training().fingerprint
    assert not is_mapped(dataset.images)


def test_the_cache_keeps_the_entries_used_last(tmp_path: Path, environ: Environment) -> None:
    sources = [written(tmp_path / f"{n}.npz", seed=n) for n in range(prepared.KEPT)]
    for age, source in enumerate(sources):
        prepared.training(source, environ)
        for entry in entries(environ):
            os.utime(entry, (1000 - age, 1000 - age))
    prepared.training(sources[0], environ)  # used again, so it is not the next to go
    prepared.training(written(tmp_path / "new.npz", seed=99), environ)

    assert len(entries(environ)) == prepared.KEPT
    known = {entry.name for entry in entries(environ)}
    prepared.training(sources[0], environ)
    assert {entry.name for entry in entries(environ)} == known


def test_digits_come_with_the_package_and_are_not_stored_again(environ: Environment) -> None:
    dataset = prepared.training(Source(spec="digits", name="digits"), environ)
    assert len(dataset) == 1500
    assert not Path(environ["HPO_CACHE"]).exists()
