"""All studies at a glance, in a number of statements that does not grow with them."""

from collections.abc import Callable
from typing import Any

import pytest

import hpo
from hpo.commands.desk import Desk
from hpo.commands.studies import submit
from hpo.database.reader import Reader
from hpo.database.storage import Storage
from hpo.training.progress import Silent
from hpo.views import overview
from model.data import digits

Statements = Callable[..., Any]
SMALL = hpo.StudyDefinition(name="small", grid=hpo.Values((1e-3, 1e-2)), n_s=5, n_cycles=1)


@pytest.fixture
def filled(url: str) -> str:
    """A database with a finished study, and later ones that wait."""
    hpo.run(SMALL, data="digits", storage=url, name="first")
    return url


def n_for_status(url: str, statements: Statements) -> int:
    reader = Reader(url)
    with statements(reader.engine) as found:
        told = reader.read(overview.status)
    reader.close()
    assert "first" in told
    return len(found)


@pytest.mark.sqlite_first
def test_status_asks_as_much_of_many_studies_as_of_one(filled: str, statements: Statements) -> None:
    before = n_for_status(filled, statements)
    for number in range(8):
        submit(SMALL, data="digits", storage=filled, name=f"more-{number}", replicates=4)
    assert n_for_status(filled, statements) == before


@pytest.mark.sqlite_first
def test_an_idle_look_for_work_asks_as_much_of_many_studies_as_of_one(
    filled: str, statements: Statements
) -> None:
    with Storage(filled) as storage:
        desk = Desk(storage, digits(), [], [], Silent())
        assert desk.with_work() == []
        with statements(storage.engine) as one:
            assert desk.with_work() == []
        for number in range(6):
            hpo.run(SMALL, data="digits", storage=filled, name=f"more-{number}")
        assert desk.with_work() == []
        with statements(storage.engine) as many:
            assert desk.with_work() == []
        assert len(many) == len(one)
        assert not any("BEGIN IMMEDIATE" in statement for statement in many)
