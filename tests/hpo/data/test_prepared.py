"""Images that every process maps: the same as those read, found again, and never trusted blindly."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hpo.data import prepared
from hpo.data.source import Source
from hpo.errors import DataChanged
from model.normalisation import image_statistics
from tests.hpo.data.birds import Environment, entries, is_mapped, written


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
        (prepared.FACTS, b"[" * 5000),
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


def doubled(entry: Path) -> None:
    """Exchange the statistics."""
    np.save(entry / prepared.STATISTICS, 2 * np.load(entry / prepared.STATISTICS))


def one_mean(entry: Path) -> None:
    """Move the mean of one image by the least that there is."""
    statistics = np.load(entry / prepared.STATISTICS)
    statistics[0, 5] = np.nextafter(statistics[0, 5], 999)
    np.save(entry / prepared.STATISTICS, statistics)


def one_label(entry: Path) -> None:
    """Exchange a label."""
    labels = np.load(entry / prepared.LABELS)
    labels[3] = (labels[3] + 1) % 3
    np.save(entry / prepared.LABELS, labels)


def labels_as_numbers(entry: Path) -> None:
    """Keep the labels, in a type that no index has."""
    np.save(entry / prepared.LABELS, np.load(entry / prepared.LABELS).astype(float))


def more_classes(entry: Path) -> None:
    """Say that there are more classes."""
    facts = json.loads((entry / prepared.FACTS).read_text())
    (entry / prepared.FACTS).write_text(json.dumps(facts | {"n_classes": 7}))


def another_shape(entry: Path) -> None:
    """Say that images fold otherwise, so that they are mirrored otherwise."""
    facts = json.loads((entry / prepared.FACTS).read_text())
    (entry / prepared.FACTS).write_text(json.dumps(facts | {"image_shape": [2, 8]}))


@pytest.mark.parametrize(
    "poison", [doubled, one_mean, one_label, labels_as_numbers, more_classes, another_shape]
)
def test_whatever_decides_a_result_is_checked(
    tmp_path: Path, environ: Environment, poison: Callable[[Path], None]
) -> None:
    source = written(tmp_path / "birds.npz")
    expected = prepared.training(source, environ)
    (entry,) = entries(environ)
    poison(entry)

    found = prepared.training(source, environ)

    assert found.fingerprint == expected.fingerprint
    assert found.labels.dtype == np.intp
    known, computed = found.image_statistics, image_statistics(source.training())
    assert known is not None
    np.testing.assert_array_equal(known.mean, computed.mean)
    np.testing.assert_array_equal(known.deviation, computed.deviation)


def by_another_file(path: Path) -> None:
    """Put another file in its place."""
    written(path.with_name("other.npz"), seed=1)
    path.with_name("other.npz").replace(path)


def in_place(path: Path) -> None:
    """Write into the file, and set its time back."""
    before = path.stat()
    written(path, seed=1)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def cut_off(path: Path) -> None:
    """Leave the first bytes alone."""
    os.truncate(path, 100)


@pytest.mark.parametrize("change", [by_another_file, in_place, cut_off, Path.unlink])
def test_a_worker_trains_what_was_fingerprinted_whatever_becomes_of_the_file(
    tmp_path: Path, environ: Environment, change: Callable[[Path], None]
) -> None:
    source = written(tmp_path / "birds.npz")
    dataset = prepared.training(source, environ)
    pinned = prepared.pinned(source, dataset)
    change(tmp_path / "birds.npz")

    found = prepared.again(pinned, environ)

    assert found.fingerprint == dataset.fingerprint
    assert np.array_equal(found.images, dataset.images)
    assert is_mapped(found.images)


def rewritten(entry: Path) -> None:
    """Write into the images that were checked, with their time set back."""
    before = (entry / prepared.IMAGES).stat()
    content = bytearray((entry / prepared.IMAGES).read_bytes())
    content[-1] ^= 1
    (entry / prepared.IMAGES).write_bytes(content)
    os.utime(entry / prepared.IMAGES, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("spoil", [rewritten, shutil.rmtree, doubled])
def test_a_worker_uses_no_entry_that_was_not_checked(
    tmp_path: Path, environ: Environment, spoil: Callable[[Path], None]
) -> None:
    source = written(tmp_path / "birds.npz")
    pinned = prepared.pinned(source, prepared.training(source, environ))
    (entry,) = entries(environ)
    spoil(entry)

    found = prepared.again(pinned, environ)  # from the file, which is as it was
    assert found.fingerprint == pinned.fingerprint
    assert found.image_statistics is not None
    np.testing.assert_array_equal(
        found.image_statistics.mean, image_statistics(source.training()).mean
    )

    shutil.rmtree(entry)
    by_another_file(tmp_path / "birds.npz")
    with pytest.raises(DataChanged, match=r"birds were changed .* Bring the old ones back"):
        prepared.again(pinned, environ)


def test_without_a_cache_a_worker_refuses_another_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    environ = {"HPO_CACHE": str(tmp_path / "file")}
    source = written(tmp_path / "birds.npz")
    pinned = prepared.pinned(source, prepared.training(source, environ))
    assert prepared.again(pinned, environ).fingerprint == pinned.fingerprint

    in_place(tmp_path / "birds.npz")
    with pytest.raises(DataChanged):
        prepared.again(pinned, environ)


def test_mapped_images_that_are_written_to_are_noticed(
    tmp_path: Path, environ: Environment
) -> None:
    dataset = prepared.training(written(tmp_path / "birds.npz"), environ)
    (entry,) = entries(environ)
    assert dataset.is_unchanged()
    with (entry / prepared.IMAGES).open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")

    assert not dataset.is_unchanged()
    assert not dataset.take(0, 20).is_unchanged()


def test_mapped_images_whose_file_is_deleted_go_on(tmp_path: Path, environ: Environment) -> None:
    dataset = prepared.training(written(tmp_path / "birds.npz"), environ)
    (entry,) = entries(environ)
    shutil.rmtree(entry)

    assert dataset.is_unchanged()


def test_a_file_that_changes_while_it_is_read_is_not_kept(
    tmp_path: Path, environ: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = written(tmp_path / "birds.npz")
    old = source.training()

    def read(self: Source) -> object:
        by_another_file(tmp_path / "birds.npz")
        return old

    with monkeypatch.context() as patch:
        patch.setattr(Source, "training", read)
        assert prepared.training(source, environ) is old
    assert entries(environ) == []
    assert prepared.training(source, environ).fingerprint != old.fingerprint
