"""PostgreSQL behind a pooler, with a search path, with rights missing, and held by others."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from hpo.commands.request import Order
from hpo.database import postgresql, tables
from hpo.database.reader import Reader, read_once
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.definition.study import StudyDefinition
from hpo.errors import StorageError
from hpo.machine.signals import Interrupted
from hpo.views.overview import listing, status
from tests.hpo import poolers

pooled = poolers.pooled
strangled = poolers.strangled
SCRIPT = Path(sys.executable).with_name("hpo")
HALVED = """
from hpo.definition.grids import Logarithmic
from hpo.definition.study import StudyDefinition

STUDY = StudyDefinition(
    name="halved", grid=Logarithmic(-5, -1, 6), n_s=10, n_cycles=3, pruner="halving"
)
"""
THREE = StudyDefinition(name="three", grid=Values((1e-4, 1e-3)), n_s=10, n_cycles=1)


def test_a_study_is_run_through_a_pooler_of_transactions(pooled: str) -> None:
    from hpo.commands import running
    from hpo.views.story import Story
    from model.data import digits

    with Storage(pooled) as storage, Storage(pooled) as other:
        outcome = running.run(Order(THREE, digits()), storage, Story(), lambda: False)
        assert outcome.after.is_complete
        assert other.read(lambda c: c.execute(sa.select(tables.results.c.cell)).scalars().all())
    assert "three-digits" in read_once(pooled, listing)
    engine = sa.create_engine(storage.url, **postgresql.options(pooled))
    with engine.connect() as connection:
        for name in ("lock_timeout", "idle_in_transaction_session_timeout"):
            assert connection.execute(sa.text(f"show {name}")).scalar_one() == "0"  # nothing stays
        left = connection.execute(
            sa.text("select count(*) from pg_locks where locktype = 'advisory'")
        )
        assert left.scalar_one() == 0
    engine.dispose()


def test_nobody_who_holds_a_connection_asks_for_another(strangled: str, tmp_path: Path) -> None:
    (tmp_path / "halved.py").write_text(HALVED)
    command = [SCRIPT, "run", "halved.py", "--data", "digits", "--workers", "2"]
    both = [
        subprocess.Popen([*command, "--storage", strangled], cwd=tmp_path, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    told = [process.communicate(timeout=120)[1] for process in both]

    assert [process.returncode for process in both] == [0, 0], told
    assert read_once(strangled, status).splitlines()[1].split()[:3] == ["halved-digits", "6", "6"]


@pytest.mark.parametrize("by", ["PGOPTIONS", "URL"])
def test_a_search_path_is_that_of_writers_and_readers(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    run(postgresql_url, "create schema mine")
    option = "-c search_path=mine"
    url = postgresql_url
    if by == "URL":
        address = sa.make_url(url).update_query_dict({"options": option})
        url = address.render_as_string(hide_password=False)
    else:
        monkeypatch.setenv("PGOPTIONS", option)
    Storage(url).close()
    Reader(url).close()
    query = "select table_schema from information_schema.tables where table_name in ('hpo_meta', 'trials')"
    assert run(postgresql_url, query) == ["mine", "mine"]


def run(url: str, statement: str) -> list[str]:
    """Run a statement outside of a transaction, and return its first column."""
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        done = connection.exec_driver_sql(statement)
        found = list(done.scalars()) if done.returns_rows else []
    engine.dispose()
    return found


def test_a_user_who_may_not_make_tables_is_told_so(postgresql_url: str) -> None:
    run(postgresql_url, "revoke create on schema public from public")
    run(postgresql_url, "drop role if exists hpo_guest")
    run(postgresql_url, "create role hpo_guest login")
    guest = sa.make_url(postgresql_url).set(username="hpo_guest")
    with pytest.raises(StorageError, match="does not let this user do that"):
        Storage(guest.render_as_string(hide_password=False))


def test_a_server_that_only_lets_read_is_told_to_be_one(postgresql_url: str) -> None:
    name = sa.make_url(postgresql_url).database
    run(postgresql_url, f"alter database {name} set default_transaction_read_only = on")
    with pytest.raises(StorageError, match="only lets us read; is it a replica"):
        Storage(postgresql_url)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_store_every_text_is_refused(
    postgresql_url: str, encoding: str
) -> None:
    name = f"{sa.make_url(postgresql_url).database}_{encoding.lower()}"
    run(
        postgresql_url,
        f"create database {name} encoding '{encoding}' locale 'C' template template0",
    )
    url = sa.make_url(postgresql_url).set(database=name).render_as_string(hide_password=False)
    try:
        with pytest.raises(StorageError, match=f"stores text as {encoding}; hpo needs UTF8"):
            Storage(url)
    finally:
        run(postgresql_url, f"drop database {name} with (force)")


@pytest.mark.parametrize("database", ["nowhere", "no where"])
def test_a_database_that_is_not_there_is_told_at_once(postgresql_url: str, database: str) -> None:
    url = sa.make_url(postgresql_url).set(database=database)
    began = time.monotonic()
    with pytest.raises(StorageError, match="does not exist"):
        Storage(url.render_as_string(hide_password=False))
    assert time.monotonic() - began < postgresql.OPEN_FOR


def test_an_opening_that_another_one_holds_up_ends_with_a_signal(postgresql_url: str) -> None:
    engine = sa.create_engine(postgresql_url)
    stopped = threading.Event()
    told: list[str] = []
    with engine.begin() as connection:
        connection.execute(sa.text(f"select pg_advisory_xact_lock({postgresql.OPENING})"))
        threading.Timer(0.3, stopped.set).start()
        with pytest.raises(Interrupted):
            Storage(postgresql_url, stopped.is_set, notify=told.append)
    engine.dispose()
    Storage(postgresql_url).close()


def test_an_opening_that_is_held_up_for_ever_is_given_up_with_a_sentence(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "GIVEN_UP_AFTER", 0.1)
    engine = sa.create_engine(postgresql_url)
    with engine.begin() as connection:
        connection.execute(sa.text(f"select pg_advisory_xact_lock({postgresql.OPENING})"))
        with pytest.raises(StorageError, match="Another process has been making tables"):
            Storage(postgresql_url)
    engine.dispose()
