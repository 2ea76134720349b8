"""The folder of prepared images: private, never somebody else's, and nothing of a user's is deleted."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hpo.data import prepared
from hpo.machine import cache
from tests.hpo.data.birds import Environment, entries, is_mapped, written


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o1777])
@pytest.mark.parametrize("place", ["", "prepared"])
def test_a_cache_that_others_can_write_to_is_not_used(
    tmp_path: Path, environ: Environment, mode: int, place: str
) -> None:
    if place == "" and mode == 0o1777:
        pytest.skip("nobody can exchange what belongs to others in a folder like /tmp")
    folder = tmp_path / "cache" / place
    folder.mkdir(parents=True)
    os.chown(folder, -1, os.getgid())
    folder.chmod(mode)
    if mode == 0o770 and os.getgid() == os.geteuid():
        pytest.skip("this user's group has the user's number, so it counts as theirs alone")
    told: list[str] = []

    dataset = prepared.training(written(tmp_path / "birds.npz"), environ, told.append)

    assert not is_mapped(dataset.images)
    assert len(told) == 1
    assert "The cache is not used: others can write to" in told[0]


@pytest.mark.parametrize("place", ["", "prepared"])
def test_a_cache_of_somebody_else_is_not_used(
    tmp_path: Path, environ: Environment, place: str
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    folder = tmp_path / "cache" / place
    folder.mkdir(parents=True)
    os.chown(folder, 12345, 12345)
    told: list[str] = []

    dataset = prepared.training(written(tmp_path / "birds.npz"), environ, told.append)

    assert not is_mapped(dataset.images)
    assert [sentence for sentence in told if "belongs to somebody else" in sentence] == told
    assert len(told) == 1


def test_a_cache_behind_a_link_is_used(tmp_path: Path, environ: Environment) -> None:
    (tmp_path / "large disk").mkdir(mode=0o700)
    (tmp_path / "cache").symlink_to("large disk")
    dataset = prepared.training(written(tmp_path / "birds.npz"), environ)
    assert is_mapped(dataset.images)
    assert (tmp_path / "large disk" / "prepared").is_dir()


def test_an_entry_that_others_can_write_to_is_made_again(
    tmp_path: Path, environ: Environment
) -> None:
    source = written(tmp_path / "birds.npz")
    prepared.training(source, environ)
    for name in ("", *prepared.NAMES):
        (entry,) = entries(environ)
        (entry / name).chmod(0o777)
        prepared.training(source, environ)
        (entry,) = entries(environ)
        assert not (entry / name).stat().st_mode & 0o002


def test_what_is_made_is_private_under_any_mask(tmp_path: Path, environ: Environment) -> None:
    usual = os.umask(0)
    try:
        dataset = prepared.training(written(tmp_path / "birds.npz"), environ)
    finally:
        os.umask(usual)
    assert is_mapped(dataset.images)
    for place in (tmp_path / "cache").rglob("*"):
        assert place.name == ".lock" or not place.stat().st_mode & 0o077


def test_links_in_an_entry_are_not_followed(tmp_path: Path, environ: Environment) -> None:
    source = written(tmp_path / "birds.npz")
    prepared.training(source, environ)
    (entry,) = entries(environ)
    mine = tmp_path / "mine.npy"
    (entry / prepared.IMAGES).rename(mine)
    (entry / prepared.IMAGES).symlink_to(mine)
    kept = mine.read_bytes()

    assert is_mapped(prepared.training(source, environ).images)
    assert not (entry / prepared.IMAGES).is_symlink()
    assert mine.read_bytes() == kept


def test_what_a_user_keeps_in_the_folder_is_never_deleted(
    tmp_path: Path, environ: Environment
) -> None:
    folder = tmp_path / "cache" / "prepared"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / prepared.FACTS).write_text(json.dumps({cache.MARK: prepared.FORMAT}))
    for name in ("reports", "a" * 32, "b" * 32, "unfinished-novel", "hpo-unfinished-drawings"):
        (folder / name).mkdir(parents=True)
        (folder / name / "precious.txt").write_text("mine")
    (folder / ("c" * 32)).symlink_to(elsewhere)
    (folder / ("b" * 32) / prepared.FACTS).write_text(json.dumps({"hpo": "thesis"}))
    marked = folder / ("d" * 32)  # of ours, with something of theirs in it
    marked.mkdir()
    (marked / prepared.FACTS).write_text(json.dumps({cache.MARK: prepared.FORMAT}))
    (marked / "precious.txt").write_text("mine")
    for entry in folder.iterdir():
        os.utime(entry, (0, 0), follow_symlinks=False)
    before = sorted(folder.rglob("*"))

    for n in range(prepared.KEPT + 3):
        prepared.training(written(tmp_path / f"{n}.npz", seed=n), environ)

    assert set(before) <= set(folder.rglob("*"))
    assert (elsewhere / prepared.FACTS).exists()
    assert len(entries(environ)) == 7 + prepared.KEPT


def test_entries_of_before_there_was_a_mark_go_too(tmp_path: Path, environ: Environment) -> None:
    facts = {"name": "cifar10", "n_classes": 10, "image_shape": [3, 32, 32], "digests": ["", ""]}
    old = tmp_path / "cache" / "prepared" / ("e" * 32)
    old.mkdir(parents=True)
    (old / prepared.FACTS).write_text(json.dumps(facts))
    (old / prepared.IMAGES).write_bytes(b"118 MB")
    os.utime(old, (0, 0))

    for n in range(prepared.KEPT):
        prepared.training(written(tmp_path / f"{n}.npz", seed=n), environ)

    assert not old.exists()


def test_a_kill_while_images_are_prepared_leaves_nothing_for_long(
    tmp_path: Path, environ: Environment
) -> None:
    program = (
        "import os, signal, sys; from hpo.data import prepared; from hpo.data.source import Source\n"
        "import numpy as np; saved = np.save\n"
        "def save(file, array, **rest):\n"
        "    saved(file, array, **rest); file.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
        "np.save = save\n"
        "prepared.training(Source(spec='npz:' + sys.argv[1], name='birds'), os.environ)\n"
    )
    source = written(tmp_path / "birds.npz")
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", program, tmp_path / "birds.npz"], env=os.environ | environ
        )
        assert done.returncode == -signal.SIGKILL
        (left,) = entries(environ)
        assert left.name.startswith(cache.UNFINISHED)

    assert is_mapped(prepared.training(source, environ).images)
    (entry,) = entries(environ)
    assert not entry.name.startswith(cache.UNFINISHED)


def test_who_cannot_have_the_folder_does_without(
    tmp_path: Path, environ: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "PATIENCE", 0.05)
    folder = cache.opened(tmp_path / "cache" / "prepared")
    source = written(tmp_path / "birds.npz")
    with cache.held(folder):
        assert not is_mapped(prepared.training(source, environ).images)
    assert is_mapped(prepared.training(source, environ).images)
