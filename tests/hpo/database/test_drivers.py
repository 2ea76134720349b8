"""A driver that is missing or too old: one sentence from every command, before anything is written."""

import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpo.database import drivers
from hpo.database.reader import Reader
from hpo.database.storage import Storage
from hpo.errors import StorageError

SERVERS = ["postgresql://ann:pa55word@db.example/hpo", "postgresql+psycopg:///hpo"]
#: Every command that has --storage, with what it needs beside.
COMMANDS = [
    ("run", "tiny.py", "--data", "digits"),
    ("run", "tiny.py", "--data", "digits", "--dry-run"),
    ("submit", "tiny.py", "--data", "digits"),
    ("worker", "--data", "digits"),
    ("best", "tiny"),
    ("status",),
    ("list",),
    ("export", "tiny"),
    ("plot", "tiny", "--out", "pictures"),
    ("delete", "tiny", "--yes"),
    ("retry", "tiny"),
    ("doctor",),
    ("doctor", "--repair"),
    ("copy", "tiny", "--to", "sqlite:///there.db"),
    ("backup", "backup.db"),
    ("queue",),
    ("cancel", "tiny"),
    ("serve", "--data", "digits"),
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_every_command_says_which_driver_is_missing(
    command: Callable[..., Any],
    write_study: Callable[..., str],
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
) -> None:
    write_study()
    monkeypatch.setitem(sys.modules, "psycopg", None)

    answer = command(*arguments, "--storage", SERVERS[0])

    assert "needs psycopg, which cannot be loaded" in answer.sentence
    assert answer.sentence.endswith("pip install 'psycopg[binary]' adds it.")
    assert "pa55word" not in answer.err
    assert [path.name for path in workplace.iterdir()] == ["tiny.py"]


@pytest.mark.parametrize("url", SERVERS)
@pytest.mark.parametrize("opened", [Storage, Reader])
def test_a_driver_without_its_c_library_is_told_of(
    monkeypatch: pytest.MonkeyPatch, url: str, opened: Callable[[str], object]
) -> None:
    def fails(name: str) -> None:
        raise ImportError("no pq wrapper available.\nAttempts made:\n- couldn't import psycopg 'c'")

    monkeypatch.setattr(drivers.importlib, "import_module", fails)

    with pytest.raises(StorageError, match=r"cannot be loaded \(no pq wrapper available\.\)\. pip"):
        opened(url)


@pytest.mark.parametrize("version", [(3, 34, 1), (3, 31, 0), (3, 7, 17), (2, 8, 17)])
@pytest.mark.parametrize("opened", [Storage, Reader])
def test_an_old_sqlite_is_refused_before_anything_is_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    version: tuple[int, ...],
    opened: Callable[[str], object],
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
    monkeypatch.setattr(sqlite3, "sqlite_version", ".".join(map(str, version)))

    told = rf"This Python has SQLite {version[0]}\.{version[1]}.*hpo needs 3\.35 or newer"
    with pytest.raises(StorageError, match=told):
        opened(f"sqlite:///{tmp_path / 'hpo.db'}")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("version", [(3, 35, 0), (3, 50, 4), (4, 0, 0)])
def test_a_new_sqlite_is_not_refused(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...]
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)

    drivers.check_driver("sqlite:///hpo.db")


@pytest.mark.parametrize("name", ["sqlalchemy", "optuna", "filelock"])
def test_a_library_that_is_missing_altogether_is_a_sentence(
    command: Callable[..., Any],
    write_study: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("hpo.definition.lookup.definition", fails)

    answer = command("run", write_study(), "--data", "digits")

    assert answer.sentence.startswith(
        f"hpo: A library that hpo needs cannot be loaded: No module named '{name}'"
    )
