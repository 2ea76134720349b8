"""A database of the first schema opens, goes on, and keeps what it held."""

import dataclasses
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from hpo.commands import doctor, running
from hpo.commands.request import Order
from hpo.database import digests, migrations, rows, tables
from hpo.database.reader import Reader, read_once
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.definition.study import StudyDefinition
from hpo.errors import DefinitionChanged, StorageError
from hpo.training.progress import Silent
from hpo.views.export import to_json
from model.data import digits

OLD = StudyDefinition(  # as in databases/make_schema_1.py
    name="old", grid=Values((1e-5, 1e-4, 1e-3, 1e-2, 0.05, 0.1)), n_s=20, n_cycles=2, batch_size=50
)
COUNTED = (0, 1, 2)  #: cells that had their result
HELD = 3  #: the cell that a process held when it was killed


NEWEST = tables.SCHEMA_VERSION - 1
OLDER = [pytest.param(version, marks=pytest.mark.long) for version in range(1, NEWEST)]


@pytest.fixture(params=[*OLDER, NEWEST])
def version(request: pytest.FixtureRequest) -> int:
    """Each schema that an hpo before this one wrote."""
    found: int = request.param
    return found


@pytest.fixture
def path(tmp_path: Path, version: int) -> Path:
    """A copy of the old database."""
    copy = tmp_path / f"schema-{version}.db"
    shutil.copy(Path(__file__).with_name("databases") / copy.name, copy)
    return copy


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


def asked(path: Path, query: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def run(url: str, definition: StudyDefinition = OLD) -> tuple[running.Outcome, str]:
    storage = Storage(url)
    outcome = running.run(Order(definition, digits()), storage, Silent(), lambda: False)
    text = storage.write(lambda connection: to_json(connection, outcome.study.stored))
    storage.close()
    return outcome, text


def schema(path: Path) -> dict[str, Any]:
    """Return what our tables look like, whichever way they were made."""
    engine = sa.create_engine(f"sqlite:///{path}")
    look = sa.inspect(engine)
    found = {
        name: (
            sorted((c["name"], str(c["type"]), c["nullable"]) for c in look.get_columns(name)),
            look.get_pk_constraint(name)["constrained_columns"],
            sorted((i["name"] or "", tuple(i["column_names"])) for i in look.get_indexes(name)),
        )
        for name in look.get_table_names()
        if name.startswith("hpo_")
    }
    engine.dispose()
    return found


def every_row_has_its_digest(url: str) -> list[bool]:
    sealed = (
        *tables.OF_STUDY[1:3],
        tables.studies,
        tables.rungs,
        tables.rung_bits,
        tables.test_looks,
    )
    return read_once(
        url,
        lambda connection: [
            digests.is_sound(table, row)
            for table in sealed
            for row in connection.execute(table.select())
        ],
    )


OLD_RESULTS = "select cell, attempt, outcome, value, cycles, n_updates, hits from hpo_results"
OLD_CURVES = (
    f"select cell, n_updates, {', '.join(tables.CURVE_COLUMNS)} from hpo_curves where cell < 3 "
    "order by cell, n_updates"
)


def test_the_fixture_is_of_the_old_schema(path: Path, version: int) -> None:
    stored = asked(path, "select value from hpo_meta where key = 'schema_version'")
    assert stored == [(str(version),)]
    assert asked(path, "select count(*) from hpo_results") == [(len(COUNTED),)]
    states = [row[0] for row in asked(path, "select state from hpo_attempts order by cell")]
    assert states == ["ended"] * 3 + ["running"] + ["waiting"] * 2


def test_an_old_study_goes_on_and_what_it_had_stays(url: str, path: Path) -> None:
    results, curves = asked(path, OLD_RESULTS), asked(path, OLD_CURVES)

    outcome, _ = run(url)

    assert outcome.before.n_counted == len(COUNTED)
    assert outcome.n_missing == 0
    assert asked(path, OLD_RESULTS)[:3] == results
    assert asked(path, OLD_CURVES) == curves
    assert all(every_row_has_its_digest(url))
    cells = asked(path, "select cell from hpo_results order by cell")
    assert cells == [(cell,) for cell in range(6)]
    assert [f.text for f in doctor.examine(url) if f.is_wrong] == []


def test_an_old_study_ends_as_a_new_one_does(url: str, path: Path, tmp_path: Path) -> None:
    _, new = run(f"sqlite:///{tmp_path / 'new.db'}")
    here = asked(tmp_path / "new.db", "select distinct environment from hpo_results")
    there = asked(path, "select distinct environment from hpo_results")
    if here != there:
        pytest.skip("the old database was made with other versions or kernels")

    assert run(url)[1] == new


def test_what_a_process_of_another_boot_held_is_trained_again(
    url: str, path: Path, version: int
) -> None:
    connection = sqlite3.connect(path)  # as after a restart, or on another machine
    connection.execute(
        'update hpo_attempts set worker = replace(worker, \'"boot": "\', \'"boot": "other \')'
    )
    connection.commit()
    connection.close()

    Storage(url).close()

    held = f"select state, token is null, in_optuna from hpo_attempts where cell = {HELD}"
    # Workers of schema 1 had no heartbeat, so nobody could tell whether that one lives.
    assert asked(path, held) == [("waiting", 1, 0) if version == 1 else ("running", 0, 1)]
    assert run(url)[0].n_missing == 0


def test_a_migrated_database_looks_like_a_new_one(url: str, path: Path, tmp_path: Path) -> None:
    Storage(url).close()
    Storage(f"sqlite:///{tmp_path / 'new.db'}").close()

    assert schema(path) == schema(tmp_path / "new.db")
    stored = asked(path, "select value from hpo_meta where key = 'schema_version'")
    assert stored == [(str(tables.SCHEMA_VERSION),)]


def test_optunas_revision_is_left_alone(url: str, path: Path) -> None:
    before = asked(path, "select * from alembic_version")
    Storage(url).close()
    assert asked(path, "select * from alembic_version") == before


def test_a_reader_of_an_old_database_says_what_to_do(url: str, path: Path, version: int) -> None:
    before = path.read_bytes()
    sentence = rf"older hpo \(schema {version}\)\. Any `hpo run` or `hpo doctor"
    with pytest.raises(StorageError, match=sentence):
        Reader(url)
    assert path.read_bytes() == before


def test_doctor_brings_an_old_database_up_to_date(url: str) -> None:
    with pytest.raises(StorageError, match="older hpo"):
        doctor.examine(url)
    doctor.examine(url, repair=True)
    assert [f.text for f in doctor.examine(url) if f.is_wrong] == []


@pytest.mark.parametrize("where", ["after the step", "before the record of it"])
def test_an_interrupted_migration_leaves_the_old_schema(
    url: str, path: Path, version: int, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    before = schema(path)

    class Power(Exception):
        pass

    def fails(*_: object, **__: object) -> None:
        raise Power

    with monkeypatch.context() as patched:
        if where == "after the step":
            step = migrations._STEPS[version]
            patched.setitem(migrations._STEPS, version, lambda c: fails(step(c)))
        else:
            patched.setattr(tables.meta, "insert", fails)
        with pytest.raises(Power):
            Storage(url)

    assert schema(path) == before
    stored = asked(path, "select value from hpo_meta where key = 'schema_version'")
    assert stored == [(str(version),)]
    assert asked(path, f"select state from hpo_attempts where cell = {HELD}") == [("running",)]
    assert run(url)[0].n_missing == 0


def test_a_definition_that_changed_is_refused_on_an_old_study_too(url: str) -> None:
    with pytest.raises(DefinitionChanged, match="n_cycles: stored 2, asked for 3"):
        run(url, dataclasses.replace(OLD, n_cycles=3))


def test_a_new_database_is_made_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError

    new = tmp_path / "new.db"
    with monkeypatch.context() as patched:
        patched.setattr(tables.meta, "insert", fails)
        with pytest.raises(ZeroDivisionError):
            Storage(f"sqlite:///{new}")
    assert schema(new) == {}

    storage = Storage(f"sqlite:///{new}")
    assert storage.write(rows.all_studies) == []
    storage.close()
