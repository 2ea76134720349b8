"""A storage that cannot be used: one clear sentence, status 1, no traceback, nothing lost."""

import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest

from tests.hpo.cli.remains import left

Command = Callable[..., Any]


def a_text(folder: Path) -> str:
    (folder / "text.db").write_text("this is not a database, whatever its name may say\n" * 20)
    return "sqlite:///text.db"


def a_cut_database(folder: Path) -> str:
    with closing(sqlite3.connect(folder / "cut.db")) as connection:
        connection.execute("create table t (x)")
        connection.executemany("insert into t values (?)", [("x" * 1000,)] * 100)
        connection.commit()
    path = folder / "cut.db"
    path.write_bytes(path.read_bytes()[:5000])
    return "sqlite:///cut.db"


def of_a_stranger(*tables: str, views: tuple[str, ...] = ()) -> Callable[[Path], str]:
    def made(folder: Path) -> str:
        with closing(sqlite3.connect(folder / "theirs.db")) as connection:
            for table in tables:
                connection.execute(f"create table {table} (version_num)")
            for view in views:
                connection.execute(f"create view {view} as select * from gone")
        return "sqlite:///theirs.db"

    return made


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            a_text,
            r"^hpo: text\.db is not an SQLite database, or is damaged\. Name another one with",
        ),
        (
            of_a_stranger("places", "visits"),
            r"^hpo: theirs\.db is a database of another program \(it holds places, visits\)\. Name an",
        ),
        (
            of_a_stranger("alembic_version", "experiments", "runs", "tags"),
            r"^hpo: theirs\.db is a database of .* \(it holds alembic_version, experiments, runs, \.\.\.\)",
        ),
        (
            of_a_stranger("studies", "patients"),
            r"^hpo: theirs\.db is a database of another program \(it holds patients, studies\)\.",
        ),
        (
            of_a_stranger(views=("trials", "totals")),
            r"^hpo: theirs\.db is a database of another program \(it holds totals, trials\)\.",
        ),
        (
            of_a_stranger(views=("totals",)),
            r"^hpo: theirs\.db is a database of another program \(it holds totals\)\.",
        ),
        (a_cut_database, r"^hpo: cut\.db is .*damaged\."),
        (
            lambda at: "sqlite:///missing/hpo.db",
            r"^hpo: There is no folder .*missing for the database hpo\.db\. Make it first\.$",
        ),
        (
            lambda at: f"sqlite:///{at.parent}",
            r"^hpo: .* is a folder; the database must be a file in it, for example .*/hpo\.db\.$",
        ),
        (
            lambda at: "mysql://somebody@there/x",
            r"^hpo: 'mysql://somebody@there/x' is a mysql database; hpo works with SQLite and Post",
        ),
        (
            lambda at: "hpo.db",
            r"^hpo: 'hpo\.db' is not a database URL\. Expected for example sqlite:///hpo\.db or",
        ),
        (lambda at: "", r"^hpo: '' is not a database URL\. Expected for example sqlite:///hpo\.db"),
        (lambda at: "sqlite://", r"^hpo: 'sqlite://' would be gone with the process\. Name a file"),
        pytest.param(
            lambda at: "postgresql+psycopg://me@127.0.0.1:9/x",  # nobody listens on port 9
            r"^hpo: .*postgresql\+psycopg://me@127\.0\.0\.1:9/x (cannot be reached|needs a driver)",
            marks=pytest.mark.long,  # it waits for 15 s
        ),
    ],
)
def test_a_storage_that_cannot_be_used(
    make: Callable[[Path], str],
    sentence: str,
    command: Command,
    write_study: Command,
    workplace: Path,
) -> None:
    url = make(workplace)
    before = {path.name: path.read_bytes() for path in workplace.iterdir()}

    told = command("run", write_study(), "--data", "digits", "--storage", url).sentence

    assert re.search(sentence, told)
    (workplace / "tiny.py").unlink()
    assert {path.name: path.read_bytes() for path in workplace.iterdir()} == before


@pytest.mark.parametrize(
    "scheme",
    ["mysql", "nonsense", pytest.param("postgresql+psycopg", marks=pytest.mark.long)],
)
def test_a_password_in_the_storage_is_not_told(
    scheme: str, command: Command, write_study: Command
) -> None:
    url = f"{scheme}://me:s3cret@127.0.0.1:9/x"

    answer = command("run", write_study(), "--data", "digits", "--storage", url)

    assert answer.sentence
    assert "s3cret" not in answer.err


@pytest.mark.parametrize(
    "arguments", [["status"], ["list"], ["best", "x"], ["delete", "x", "--yes"]]
)
def test_looking_into_a_database_that_is_not_there_makes_none(
    arguments: list[str], command: Command, workplace: Path
) -> None:
    told = command(*arguments).sentence

    assert told == (
        "hpo: No database at hpo.db. `hpo run coarse` makes one, or name another with --storage."
    )
    assert left(workplace) == set()


def test_a_table_of_a_stranger_with_the_name_of_ours_is_told(
    command: Command, workplace: Path, write_study: Command
) -> None:
    with closing(sqlite3.connect(workplace / "hpo.db")) as connection:
        connection.execute("create table hpo_studies (x)")

    told = command("run", write_study(), "--data", "digits").sentence

    assert "has a table with the name of one of hpo's that is not as hpo makes it" in told
    assert "Use another --storage" in told


def test_a_database_of_something_else_is_told_from_ours(command: Command, workplace: Path) -> None:
    with closing(sqlite3.connect(workplace / "hpo.db")) as connection:
        connection.execute("create table cookies (x)")

    told = command("status").sentence

    assert told == (
        "hpo: hpo.db is a database, but hpo has not written to it yet; `hpo run coarse` does."
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "tiny.py", "--data", "digits"],
        ["run", "tiny.py", "--data", "digits", "--dry-run"],
        ["status"],
        ["delete", "tiny-digits", "--yes"],
    ],
)
def test_a_database_that_a_newer_hpo_wrote_is_left_alone(
    arguments: list[str], command: Command, write_study: Command, workplace: Path
) -> None:
    command("run", write_study(), "--data", "digits")
    with closing(sqlite3.connect(workplace / "hpo.db")) as connection, connection:
        connection.execute("update hpo_meta set value = '999' where key = 'schema_version'")

    told = command(*arguments).sentence

    assert re.fullmatch(
        r"hpo: hpo\.db was written by a newer hpo \(schema 999; this one knows \d+\)\. "
        r"Upgrade hpo, or use another --storage\.",
        told,
    )
    with closing(sqlite3.connect(workplace / "hpo.db")) as connection:
        assert connection.execute("select count(*) from hpo_studies").fetchone() == (1,)


def test_a_study_that_somebody_else_made_is_left_alone(
    command: Command, write_study: Command, workplace: Path
) -> None:
    url = "sqlite:///hpo.db"
    storage = optuna.storages.RDBStorage(url)
    study = optuna.create_study(storage=storage, study_name="tiny-digits")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    storage.engine.dispose()

    told = command("run", write_study(), "--data", "digits").sentence
    deleted = command("delete", "tiny-digits", "--yes").sentence

    assert told == deleted
    assert told == (
        "hpo: The study 'tiny-digits' in this storage was not made by hpo, and is left untouched. "
        "Give ours another name with --name, or use another --storage."
    )
    assert len(optuna.load_study(storage=storage, study_name="tiny-digits").trials) == 2
    storage.engine.dispose()
    # under another name there is room for both
    answer = command("run", "tiny.py", "--data", "digits", "--name", "ours")
    assert answer.out.startswith("ours: 3 of 3 done")


def test_a_storage_that_is_read_only(
    command: Command, write_study: Command, mounted: Callable[[str], Path]
) -> None:
    folder = mounted("size=4m")
    url = f"sqlite:///{folder}/hpo.db"
    command("run", write_study(), "--data", "digits", "--storage", url)
    mounted("ro")

    run = ("run", write_study("other"), "--data", "digits", "--storage")

    told = command(*run, url).sentence
    assert re.search(r"hpo\.db cannot be (written: the file or its folder is read|opened)", told)
    told = command(*run, f"sqlite:///{folder}/new.db").sentence
    assert re.search(r"new\.db cannot be opened\. May you", told)


def test_what_is_on_a_read_only_disk_can_be_looked_at(
    command: Command, write_study: Command, mounted: Callable[[str], Path]
) -> None:
    database = mounted("size=4m") / "hpo.db"
    url = f"sqlite:///{database}"
    command("run", write_study(), "--data", "digits", "--storage", url)
    shutil.copy(database, "hpo.db")
    before = command("export", "tiny-digits").out
    mounted("ro")

    answer = command("export", "tiny-digits", "--storage", url)

    assert (answer.status, answer.out) == (0, before), answer.err


@pytest.mark.parametrize(
    "size", [pytest.param("200k", marks=pytest.mark.long), "500k"]
)  # full while it is made, and while it is used
def test_a_full_disk_loses_nothing(
    size: str, command: Command, write_study: Command, mounted: Callable[[str], Path]
) -> None:
    url = f"sqlite:///{mounted(f'size={size}')}/hpo.db"
    grid = f"Values({tuple(i / 1000 for i in range(1, 101))})"
    run = ("run", write_study("wide", grid=grid), "--data", "digits", "--storage", url)

    told = command(*run).sentence
    mounted("size=32m")
    again = command(*run)

    assert re.search(r"hpo: No space left for .*hpo\.db\. Free some and run the same command", told)
    assert again.status == 0
    assert again.out.startswith("wide-digits: 100 of 100 done")
