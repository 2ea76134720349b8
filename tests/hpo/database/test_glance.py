"""A finished study starts no process; the glance that tells so is a guess that never fails."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hpo.database.glance import is_done
from hpo.workers import member

URL = "sqlite:///hpo.db"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the processes that are started."""
    pids: list[int] = []
    start = member._start

    def counting() -> member.Member:
        process, pipe = start()
        pids.append(process.pid)
        return process, pipe

    monkeypatch.setattr(member, "_start", counting)
    return pids


def test_a_finished_study_starts_no_process(
    command: Callable[..., Any], write_study: Any, started: list[int]
) -> None:
    study = write_study()
    command("run", study, "--data", "digits")

    assert command("run", study, "--data", "digits", "--workers", "30").status == 0
    assert started == []


def test_no_more_processes_are_started_early_than_there_are_cores(
    command: Callable[..., Any], write_study: Any, started: list[int], monkeypatch: Any
) -> None:
    monkeypatch.setattr("hpo.machine.cores.usable_cores", lambda: 2)

    command("run", write_study(), "--data", "none.npz", "--workers", "30")

    assert len(started) == 2


def test_a_study_with_something_to_do_is_not_done(
    command: Callable[..., Any], write_study: Any, workplace: Path
) -> None:
    study = write_study()
    assert not is_done(URL, "tiny")  # there is no database
    command("submit", study, "--data", "digits")
    with closing(sqlite3.connect(workplace / "hpo.db")) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    assert not is_done(URL, "tiny")
    command("run", study, "--data", "digits")
    with closing(sqlite3.connect(workplace / "hpo.db")) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    assert is_done(URL, "tiny")
    assert not is_done(URL, "other")


@pytest.mark.parametrize("content", [b"", b"text" * 1000, b"SQLite format 3\0" + bytes(4000)])
def test_a_file_that_is_no_database_of_ours_tells_nothing(workplace: Path, content: bytes) -> None:
    (workplace / "hpo.db").write_bytes(content)

    for url in (URL, "sqlite:///", "sqlite:///.", "postgresql://x/y", "sqlite:///a\0b"):
        assert not is_done(url, "tiny")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--workers", "1000000000"), "1000000000 processes are too many for this machine; "),
        (("--workers", "0"), "Invalid value for '--workers'"),
        (("--grace", "nan"), "Invalid value for '--grace'"),
        (("--grace", "inf"), "Invalid value for '--grace'"),
        (("--grace", "0"), "Invalid value for '--grace'"),
        (("--grace", "1e9"), "Invalid value for '--grace'"),
        (("--replicates", "1000000000"), "replicates must be at most 10,000, got 1000000000."),
        (("--seed", "1" + "0" * 30), "The seed must be 0 to 4294967295, got 1000"),
        (("--cell", "-1"), "Invalid value for '--cell'"),
    ],
)
def test_numbers_of_options_have_ranges_that_are_checked_before_anything_is_stored(
    command: Callable[..., Any], write_study: Any, workplace: Path, options: Any, sentence: str
) -> None:
    told = command("run", write_study(), "--data", "digits", *options).sentence

    assert sentence in told
    assert not (workplace / "hpo.db").exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--images", "1000000000"),
        ("--hidden", "1000000000"),
        ("--seed", "4294967296"),
        ("--lambda", "nan"),
        ("--lambda", "-1"),
        ("--lambda", "inf"),
    ],
)
def test_a_check_of_gradients_has_ranges_too(
    command: Callable[..., Any], options: tuple[str, str]
) -> None:
    assert (
        options[0].strip("-") in command("check-gradients", "--data", "digits", *options).sentence
    )
