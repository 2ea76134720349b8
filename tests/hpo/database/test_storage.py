"""Opening databases rightly, refusing wrong ones, and readers that cannot write."""

import re
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from hpo.database import tables
from hpo.database.reader import Reader
from hpo.database.storage import Interrupted, Storage, checked_url, explain, is_transient
from hpo.errors import StorageError


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'hpo.db'}"


def test_a_new_database_gets_our_tables_and_their_version(url: str) -> None:
    storage = Storage(url)

    def stored(connection: sa.Connection) -> str:
        version = tables.meta.c.key == "schema_version"
        return connection.execute(sa.select(tables.meta.c.value).where(version)).scalar_one()

    assert storage.write(stored) == str(tables.SCHEMA_VERSION)
    storage.close()


def test_our_tables_leave_optunas_revision_alone(url: str) -> None:
    import optuna

    optuna.storages.RDBStorage(url).engine.dispose()
    before = sqlite3.connect(url.removeprefix("sqlite:///"))
    revision = before.execute("select * from alembic_version").fetchall()

    Storage(url).close()

    assert before.execute("select * from alembic_version").fetchall() == revision
    before.close()


def test_sqlite_is_in_wal_mode_with_transactions_that_begin_immediate(url: str) -> None:
    storage = Storage(url)
    with storage.engine.begin() as connection:
        modes = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "busy_timeout")
        ]
        other = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")  # nothing was written yet, but the lock is held
        other.close()

    assert modes == ["wal", 1, 200]
    storage.close()


def test_a_busy_database_is_waited_for(url: str) -> None:
    storage = Storage(url)
    other = sqlite3.connect(
        url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False
    )
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(0.7, lambda: other.execute("COMMIT")).start()

    began = time.monotonic()
    storage.write(lambda connection: connection.execute(sa.text("select 1")).scalar_one())

    assert time.monotonic() - began > 0.4
    other.close()
    storage.close()


def test_a_signal_is_answered_while_the_database_is_busy(url: str) -> None:
    stopped = threading.Event()
    storage = Storage(url, stopped.is_set)
    other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    stopped.set()

    began = time.monotonic()
    with pytest.raises(Interrupted):
        storage.write(lambda connection: None)
    assert time.monotonic() - began < 1
    other.close()
    storage.close()


def test_a_reader_cannot_write(url: str) -> None:
    Storage(url).close()
    reader = Reader(url)

    with pytest.raises(StorageError, match="read-only"):
        reader.read(lambda connection: connection.execute(tables.meta.delete()))


def test_a_reader_sees_what_is_written_while_a_writer_holds_the_lock(url: str) -> None:
    storage = Storage(url)
    reader = Reader(url)
    with storage.engine.begin() as connection:
        connection.execute(tables.meta.insert().values(key="half", value="written"))
        seen = reader.read(lambda c: c.execute(sa.select(tables.meta.c.key)).scalars().all())

    assert sorted(seen) == ["schema_version", "views"]
    storage.close()


def test_a_reader_makes_no_database(url: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No database at .* `hpo run coarse` makes one"):
        Reader(url)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("hpo.db", "'hpo.db' is not a database URL. Expected for example sqlite:///hpo.db"),
        ("mysql://host/name", "is a mysql database; hpo works with SQLite and PostgreSQL"),
        ("sqlite://", "would be gone with the process. Name a file"),
        ("sqlite:///:memory:", "would be gone with the process. Name a file"),
    ],
)
def test_a_url_that_names_no_database_of_ours_is_refused(url: str, sentence: str) -> None:
    with pytest.raises(StorageError, match=re.escape(sentence)):
        checked_url(url)


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("These are notes. " * 100)

    with pytest.raises(StorageError, match=r"notes\.txt is not an SQLite database"):
        Storage(f"sqlite:///{file}")
    assert file.read_text() == "These are notes. " * 100
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_is_missing_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(
        StorageError, match=r"There is no folder .*missing for the database hpo\.db"
    ):
        Storage(f"sqlite:///{tmp_path / 'missing' / 'hpo.db'}")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="is a folder; the database must be a file in it"):
        Storage(f"sqlite:///{tmp_path}")


@pytest.mark.parametrize("opened", [Storage, Reader])
def test_a_database_of_a_newer_schema_is_refused(url: str, opened: type) -> None:
    storage = Storage(url)
    newer = {"value": str(tables.SCHEMA_VERSION + 1)}
    storage.write(lambda connection: connection.execute(tables.meta.update().values(newer)))
    storage.close()

    with pytest.raises(StorageError, match="written by a newer hpo .* Upgrade hpo"):
        opened(url)


def test_a_failing_transaction_leaves_nothing(url: str) -> None:
    storage = Storage(url)

    def half(connection: sa.Connection) -> None:
        connection.execute(tables.meta.insert().values(key="half", value=""))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        storage.write(half)
    half_written = tables.meta.select().where(tables.meta.c.key == "half")
    assert storage.write(lambda connection: connection.execute(half_written).all()) == []
    storage.close()


def test_errors_that_are_not_the_databases_are_not_explained() -> None:
    assert explain(ValueError("x"), "sqlite:///hpo.db") is None
    assert not is_transient(ValueError("database is fine"))


def test_a_database_that_cannot_be_opened_is_let_go_at_once(tmp_path: Path) -> None:
    path = tmp_path / "hpo.db"
    url = f"sqlite:///{path}"
    Storage(url).close()
    with closing(sqlite3.connect(path)) as connection:
        where = "select rootpage from sqlite_master where name = 'hpo_meta'"
        page = connection.execute(where).fetchone()[0] - 1
        size = connection.execute("pragma page_size").fetchone()[0]
    damaged = bytearray(path.read_bytes())
    damaged[page * size : page * size + 16] = b"\xff" * 16
    path.write_bytes(damaged)

    with pytest.raises(StorageError, match="damaged") as refused:
        Storage(url)

    with closing(sqlite3.connect(path, timeout=0)) as connection:
        connection.execute("pragma journal_mode=delete")  # raises while it is open elsewhere
    assert refused.value.__traceback__ is not None  # which keeps alive what was not closed
