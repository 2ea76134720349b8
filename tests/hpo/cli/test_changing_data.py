"""Data that change under a run: what is trained is what was fingerprinted, or nothing is."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpo.machine import cache
from hpo.workers import pool, worker


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    try:
        cache.opened(tmp_path / "probe")
    except cache.Untrusted as error:
        pytest.skip(f"no cache is trusted here: {error}")
    monkeypatch.setenv("HPO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def replaced(path: Path) -> None:
    """Put another file in its place."""
    other = path.with_name("other.npz")
    in_place(other)
    other.replace(path)


def in_place(path: Path) -> None:
    """Write other images of the same size, with the times of before."""
    before = path.stat() if path.exists() else None
    rng = np.random.default_rng(7)
    images = rng.integers(0, 256, (200, 4, 4), dtype=np.uint8)
    np.savez(path, images=images, labels=rng.integers(0, 3, 200))
    if before:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def before_training(
    monkeypatch: pytest.MonkeyPatch, module: Any, change: Callable[[], object]
) -> None:
    """Have something happen once the study is settled and nothing of it is trained."""
    usual = module.work

    def work(*args: Any, **rest: Any) -> None:
        change()
        usual(*args, **rest)

    monkeypatch.setattr(
        "hpo.commands.running.work" if module is worker else "hpo.workers.pool.work", work
    )


@pytest.mark.parametrize(
    ("n_workers", "change"),
    [
        ("1", in_place),
        ("2", replaced),
        pytest.param("2", in_place, marks=pytest.mark.long),
        pytest.param("2", Path.unlink, marks=pytest.mark.long),
    ],
)
def test_a_file_that_is_exchanged_under_a_run_changes_no_result(
    command: Callable[..., Any],
    write_study: Callable[..., str],
    write_npz: Callable[..., str],
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    n_workers: str,
    change: Callable[[Path], object],
) -> None:
    study, data = write_study(), write_npz()
    run = ("run", study, "--data", data, "--workers", n_workers)
    assert command(*run, "--workers", "1", "--name", "undisturbed").status == 0
    module = worker if n_workers == "1" else pool
    before_training(monkeypatch, module, lambda: change(workplace / data))
    assert command(*run, "--name", "disturbed").status == 0

    exports = [
        json.loads(command("export", name).out)["trials"] for name in ("undisturbed", "disturbed")
    ]
    assert exports[0] == exports[1]


def test_without_a_cache_a_run_on_an_exchanged_file_ends_in_a_sentence(
    command: Callable[..., Any],
    write_study: Callable[..., str],
    write_npz: Callable[..., str],
    workplace: Path,
    own_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own_cache.write_text("in the way")
    study, data = write_study(), write_npz()
    with monkeypatch.context() as patch:
        before_training(patch, pool, lambda: replaced(workplace / data))
        failed = command("run", study, "--data", data, "--workers", "2")
    assert "images of mine were changed while they were used" in failed.sentence
    assert json.loads(command("export", "tiny-mine").out)["trials"] == []

    write_npz()  # brought back
    assert command("run", study, "--data", data, "--workers", "1").status == 0


def test_images_that_are_written_to_in_the_cache_are_trained_no_further(
    command: Callable[..., Any],
    write_study: Callable[..., str],
    write_npz: Callable[..., str],
    own_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def spoil() -> None:
        (images,) = own_cache.rglob("images.npy")
        with images.open("r+b") as file:
            file.seek(200)
            file.write(b"\0" * 500)

    study, data = write_study(), write_npz()
    with monkeypatch.context() as patch:
        before_training(patch, worker, spoil)
        failed = command("run", study, "--data", data, "--workers", "1")
    assert "they were written to" in failed.sentence
    assert json.loads(command("export", "tiny-mine").out)["trials"] == []

    again = command("run", study, "--data", data, "--workers", "1")
    assert again.status == 0, again.err


def test_test_images_from_beside_other_training_images_are_not_looked_at(
    command: Callable[..., Any],
    write_study: Callable[..., str],
    write_npz: Callable[..., str],
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    test = {
        "test_images": rng.integers(0, 256, (30, 4, 4), dtype=np.uint8),
        "test_labels": rng.integers(0, 3, 30),
    }
    data = write_npz(**test)
    run = ("run", write_study("last", evaluates_test=True), "--data", data, "--workers", "1")
    with monkeypatch.context() as patch:
        before_training(
            patch, worker, lambda: write_npz(images=test["test_images"].repeat(7, 0)[:200], **test)
        )
        failed = command(*run)
    assert "images of mine were changed while they were used" in failed.sentence
    assert not (workplace / "last-mine-model").exists()

    write_npz(**test)  # brought back
    again = command(*run)
    assert again.status == 0
    assert "nothing was trained" in again.err
    assert (workplace / "last-mine-model").exists()
