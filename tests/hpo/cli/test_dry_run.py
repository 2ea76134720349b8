"""``--dry-run`` says what a run would do, and changes nothing anywhere."""

import json
import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa

Tree = dict[str, tuple[int, int, bytes]]
DIGITS = ("--data", "digits", "--dry-run")


def tree(*folders: Path) -> Tree:
    """Return every file and folder with its time of change, mode and content."""
    found = {}
    for folder in folders:
        for path in [folder, *folder.rglob("*")]:
            facts = path.lstat()
            content = path.read_bytes() if stat.S_ISREG(facts.st_mode) else b""
            found[str(path)] = (facts.st_mtime_ns, facts.st_mode, content)
    return found


def tables(url: str) -> list[str]:
    engine = sa.create_engine(url)
    names = sa.inspect(engine).get_table_names()
    engine.dispose()
    return names


@pytest.fixture
def untouched(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., Any]
) -> Callable[..., Any]:
    """Run a command beside which no file, folder or time of change may differ."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HPO_CACHE", str(home / "cache"))
    monkeypatch.setenv("HOME", str(home))

    def run(*arguments: str | Path) -> Any:
        before = tree(workplace, home)
        answer = command(*arguments)
        assert tree(workplace, home) == before
        assert "Traceback" not in answer.err
        return answer

    return run


def test_a_new_study_in_no_database(untouched: Any, write_study: Any) -> None:
    told = untouched("run", write_study(), *DIGITS).out

    assert told.startswith("tiny-digits: 3 cells, 0 of them done")


def test_json_is_for_a_run_that_is_not_made(untouched: Any, write_study: Any) -> None:
    study = write_study()

    told = json.loads(untouched("run", study, *DIGITS, "--format", "json").out)
    refused = untouched("run", study, "--data", "digits", "--format", "json").sentence

    assert (told["study"], len(told["cells"])) == ("tiny-digits", 3)
    assert "--format json goes with --dry-run" in refused


def test_a_study_that_stands_in_a_database(
    untouched: Any, command: Any, write_study: Any, workplace: Path
) -> None:
    study = write_study(pruner="halving")
    command("run", study, "--data", "digits")

    told = untouched("run", study, *DIGITS).out

    assert told.startswith("tiny-digits: 3 cells, 3 of them done")
    grown = untouched("run", study, *DIGITS, "--pruner", "none").sentence
    assert "pruner: stored halving, asked for none" in grown


def test_what_waits_in_a_log_is_seen_too(
    untouched: Any, command: Any, write_study: Any, workplace: Path
) -> None:
    study = write_study()
    command("run", study, "--data", "digits")
    with closing(sqlite3.connect(workplace / "hpo.db", isolation_level=None)) as writer:
        writer.execute("pragma wal_autocheckpoint = 0")
        writer.execute("delete from hpo_results where cell = 2")
        assert (workplace / "hpo.db-wal").stat().st_size > 0

        assert "3 cells, 2 of them done" in untouched("run", study, *DIGITS).out


def test_a_study_that_another_tool_renamed_is_looked_at_and_not_followed(
    command: Any, write_study: Any, url: str
) -> None:
    study = write_study()
    command("run", study, "--data", "digits", "--storage", url)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("update studies set study_name = 'theirs'"))
    recorded = sa.text("select optuna_name from hpo_studies")

    answer = command("run", study, *DIGITS, "--storage", url, "--name", "theirs")

    assert answer.out.startswith("theirs: 3 cells, 3 of them done"), answer.err
    with engine.connect() as connection:
        assert connection.execute(recorded).scalar_one() == "tiny-digits"
    engine.dispose()


def test_a_derived_study_finds_its_parent(untouched: Any, command: Any, write_study: Any) -> None:
    command("run", write_study(name="base"), "--data", "digits")
    derived = write_study(name="next", grid="AroundBest(3)", parent="base")

    assert untouched("run", derived, *DIGITS).out.startswith("next-digits: 3 cells, 0 of them done")
    other = write_study(name="lost", grid="Best()", parent="nobody")
    assert "needs the finished study 'nobody-digits'" in untouched("run", other, *DIGITS).sentence


def test_a_database_of_somebody_else_gets_no_tables(
    untouched: Any, write_study: Any, url: str
) -> None:
    storage = optuna.storages.RDBStorage(url)
    optuna.create_study(storage=storage, study_name="theirs")
    storage.remove_session()
    storage.engine.dispose()
    before = tables(url)

    answer = untouched("run", write_study(), *DIGITS, "--storage", url)

    assert answer.out.startswith("tiny-digits: 3 cells, 0 of them done")
    assert "holds nothing of ours yet; a run makes its tables there." in answer.err
    assert tables(url) == before


def test_an_empty_database_stays_empty(untouched: Any, write_study: Any, url: str) -> None:
    assert tables(url) == []  # which makes the file, if it is one

    assert untouched("run", write_study(), *DIGITS, "--storage", url).status == 0
    assert tables(url) == []


def test_a_study_on_a_server_is_looked_at(
    untouched: Any, command: Any, write_study: Any, postgresql_url: str
) -> None:
    study = write_study()
    command("run", study, "--data", "digits", "--storage", postgresql_url)

    told = untouched("run", study, *DIGITS, "--storage", postgresql_url).out

    assert told.startswith("tiny-digits: 3 cells, 3 of them done")


def test_images_that_are_not_here_are_not_fetched(untouched: Any, write_study: Any) -> None:
    for spec in ("cifar10", "auto"):
        told = untouched("run", write_study(), "--data", spec, "--dry-run").out
        assert told.startswith(
            "CIFAR-10 is not on this machine: the run would first download 170 MB"
        )


def test_prepared_images_are_not_kept(untouched: Any, write_study: Any, write_npz: Any) -> None:
    images = write_npz()

    assert untouched("run", write_study(), "--data", images, "--dry-run").status == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--storage", "sqlite:///none/hpo.db"), "There is no folder none for the database hpo.db"),
        (("--storage", "sqlite:///."), "is a folder"),
        (("--storage", "sqlite:///text.db"), "text.db is not an SQLite database, or is damaged"),
        (("--storage", "mysql://x/y"), "hpo works with SQLite and PostgreSQL"),
        (("--storage", "nonsense"), "is not a database URL"),
        (("--data", "none.npz"), "No data at 'none.npz'"),
        (("--name", "a b"), "A study's name has letters, digits, - and _, got 'a b'"),
        (("--replicates", "1000000000"), "replicates must be at most 10,000, got 1000000000"),
        (("--pruner", "median:n_startup_trials=inf"), "n_startup_trials of median must be a whole"),
    ],
)
def test_what_cannot_be_is_a_sentence(
    untouched: Any, write_study: Any, workplace: Path, words: tuple[str, ...], sentence: str
) -> None:
    (workplace / "text.db").write_text("no database, but long enough to look like one" * 20)

    assert sentence in untouched("run", write_study(), *DIGITS, *words).sentence


def test_a_database_that_somebody_holds_is_looked_at(
    untouched: Any, command: Any, write_study: Any, workplace: Path
) -> None:
    study = write_study()
    command("run", study, "--data", "digits")
    with closing(sqlite3.connect(workplace / "hpo.db", isolation_level=None)) as holder:
        holder.execute("begin exclusive")

        assert "3 of them done" in untouched("run", study, *DIGITS).out


def test_a_folder_that_cannot_be_written_to_is_no_hindrance(
    untouched: Any, command: Any, write_study: Any, workplace: Path
) -> None:
    study = write_study()
    command("run", study, "--data", "digits")
    workplace.chmod(0o555)
    try:
        assert "3 of them done" in untouched("run", study, *DIGITS).out
    finally:
        workplace.chmod(0o755)


def test_a_package_of_studies_is_left_without_compiled_code(
    untouched: Any, write_study: Any, workplace: Path
) -> None:
    package = workplace / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "helper.py").write_text("N = 3\n")
    os.replace(write_study(name="own"), package / "own.py")
    with (package / "own.py").open("a") as file:
        file.write("from mine.helper import N\n")

    answer = untouched("run", "mine.own", *DIGITS)

    assert answer.status in (0, 1)  # whether a dotted path starts here is not for this test
    assert untouched("run", "mine/own.py", *DIGITS).status in (0, 1)
