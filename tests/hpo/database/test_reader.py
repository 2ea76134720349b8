"""What a reader sees is of one moment, whatever others write meanwhile."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from hpo.database import tables
from hpo.database.reader import Reader
from hpo.database.storage import Storage
from hpo.errors import StorageError

A, B = tables.meta, tables.leases  # two tables whose rows a writer keeps equal in number


def counted(connection: Connection, table: sa.Table) -> int:
    n: int = connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
    return n


def both(connection: Connection, number: int) -> None:
    """Add a row to both tables."""
    row = {"token": "", "holder": "{}", "expires_at": 0.0}
    connection.execute(A.insert().values(key=f"row {number}", value=""))
    connection.execute(B.insert().values(name=f"row {number}", **row))


@pytest.mark.parametrize("kind", [Reader, Storage])
def test_what_is_committed_in_the_middle_of_a_view_is_not_in_it(
    url: str, kind: type[Reader | Storage]
) -> None:
    storage = Storage(url)
    looking = kind(url)

    def view(connection: Connection) -> list[tuple[int, int]]:
        seen = []
        for number in range(3):
            n_of_a = counted(connection, A)
            storage.write(partial(both, number=number))
            seen.append((n_of_a, counted(connection, B)))
        return seen

    assert looking.read(view) == [(2, 0)] * 3  # versions of schema and views are in the first table
    assert looking.read(lambda c: (counted(c, A), counted(c, B))) == (5, 3)
    looking.close()
    storage.close()


@contextmanager
def writer(url: str) -> Iterator[None]:
    """Write to both tables all the time."""
    over = threading.Event()

    def work() -> None:
        with Storage(url) as storage:
            number = 0
            while not over.is_set():
                storage.write(partial(both, number=number))
                number += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_two_tables_agree_however_often_one_looks_while_another_writes(url: str) -> None:
    Storage(url).close()
    reader = Reader(url)
    with writer(url):
        seen = [reader.read(lambda c: (counted(c, A), counted(c, B))) for _ in range(100)]
        while reader.read(lambda c: counted(c, B)) < 3:
            pass
    assert {a - b for a, b in seen} == {2}
    reader.close()


def test_a_storage_that_only_reads_does_not_wait_for_who_writes(url: str) -> None:
    storage, other = Storage(url), Storage(url)
    with other.engine.begin() as connection:
        both(connection, 1)
        assert storage.read(lambda c: counted(c, B)) == 0
    assert storage.read(lambda c: counted(c, B)) == 1
    storage.close()
    other.close()


def test_a_server_that_is_not_there_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("hpo.database.waiting.time.sleep", pauses.append)
    with pytest.raises(StorageError, match="cannot be reached"):
        Reader("postgresql://ann@127.0.0.1:1/hpo")
    assert len(pauses) <= 2


def test_many_threads_look_at_once_each_with_a_connection_of_its_own(url: str) -> None:
    Storage(url).close()
    reader = Reader(url)
    start, failed = threading.Barrier(8), list[BaseException]()

    def look(connection: Connection) -> None:
        many = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000)"
        for _ in range(2):
            assert len(connection.execute(sa.text(f"{many} select i from n")).all()) == 20_000

    def looking() -> None:
        start.wait()
        try:
            for _ in range(3):
                reader.read(look)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=looking) for _ in range(start.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reader.close()

    assert not failed
