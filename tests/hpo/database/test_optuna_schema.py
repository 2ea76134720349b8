"""Optuna's tables: made by us as by Optuna itself, and left alone where they are of another revision."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory
from optuna.storages import _rdb

from hpo.database import optuna_schema, optuna_tables
from hpo.database.storage import Storage
from hpo.errors import StorageError


def test_they_are_those_that_optuna_makes(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.db", tmp_path / "theirs.db"
    Storage(f"sqlite:///{ours}").close()
    optuna.storages.RDBStorage(f"sqlite:///{theirs}").engine.dispose()

    made, expected = made_in(ours), made_in(theirs)
    assert {name: sql for name, sql in made.items() if name in expected} == expected
    assert all("hpo_" in name for name in made if name not in expected)
    for query in ("select * from version_info", "select * from alembic_version"):
        assert rows(ours, query) == rows(theirs, query)


def made_in(path: Path) -> dict[str, str]:
    return dict(rows(path, "select name, sql from sqlite_master"))


def rows(path: Path, query: str) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def test_in_postgresql_too(postgresql_url: str) -> None:
    def columns(schema: str) -> list[tuple[str, ...]]:
        with engine.connect() as connection:
            query = (
                "select table_name, column_name, data_type, udt_name, character_maximum_length, "
                "is_nullable "
                f"from information_schema.columns where table_schema = '{schema}' "
                "and table_name not like 'hpo%' order by table_name, ordinal_position"
            )
            indexes = f"select indexname, indexdef from pg_indexes where schemaname = '{schema}'"
            found = [tuple(row) for row in connection.execute(sa.text(query))]
            return found + sorted(
                (name, text.replace(f"{schema}.", ""))
                for name, text in connection.execute(sa.text(indexes))
                if "hpo_" not in name
            )

    engine = sa.create_engine(postgresql_url)
    with engine.begin() as connection:
        connection.execute(sa.text("create schema theirs"))
    Storage(postgresql_url).close()
    address = sa.make_url(postgresql_url).update_query_dict({"options": "-c search_path=theirs"})
    theirs = address.render_as_string(hide_password=False)
    optuna.storages.RDBStorage(theirs).engine.dispose()

    made = columns("public")
    assert made == columns("theirs")
    assert len(made) > 60
    engine.dispose()


def test_those_of_an_optuna_that_we_do_not_know_are_made_by_its_own_models(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optuna_tables, "REVISION", "v3.0.0.d")
    Storage(url).close()

    storage = optuna.storages.RDBStorage(url)
    storage.engine.dispose()


def test_optuna_opens_them(url: str) -> None:
    Storage(url).close()

    storage = optuna.storages.RDBStorage(url)

    assert storage.get_all_studies() == []
    storage.remove_session()
    storage.engine.dispose()


def test_the_newest_revision_is_that_of_alembic() -> None:
    scripts = ScriptDirectory(str(Path(_rdb.__file__).parent / "alembic"))

    assert optuna_schema.revisions()[-1] == scripts.get_current_head()
    assert set(optuna_schema.revisions()) == {s.revision for s in scripts.walk_revisions()}


@pytest.mark.parametrize(
    ("revision", "advice"),
    [("v3.0.0.d", "with `optuna storage upgrade --storage"), ("v9.0.0.a", "Upgrade optuna, or")],
)
def test_those_of_another_revision_are_refused_and_left_as_they_are(
    url: str, revision: str, advice: str
) -> None:
    optuna.storages.RDBStorage(url).engine.dispose()
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(optuna_tables.revision.update().values(version_num=revision))

    with pytest.raises(StorageError, match=f"in revision '{revision}', .* {advice}"):
        Storage(url)

    with engine.connect() as connection:
        found = connection.execute(sa.select(optuna_tables.revision.c.version_num)).scalars().all()
        assert not sa.inspect(connection).has_table("hpo_meta")
    engine.dispose()
    assert found == [revision]


@pytest.mark.parametrize("name", ["studies", "trials"])
def test_nothing_is_made_beside_a_table_of_a_stranger_that_has_one_of_their_names(
    url: str, name: str
) -> None:
    engine = sa.create_engine(url)
    key = f"{'study' if name == 'studies' else 'trial'}_id"
    with engine.begin() as connection:
        connection.execute(sa.text(f"create table {name} ({key} integer primary key, title text)"))

    with pytest.raises(StorageError, match=rf" .*\(.*{name}.*\)\. .*another.* --storage"):
        Storage(url)

    assert sa.inspect(engine).get_table_names() == [name]
    engine.dispose()


def test_what_another_tool_left_half_made_is_made_whole(tmp_path: Path) -> None:
    path = tmp_path / "hpo.db"
    optuna.storages.RDBStorage(f"sqlite:///{path}").engine.dispose()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("drop table alembic_version; drop table trial_values")

    Storage(f"sqlite:///{path}").close()

    assert rows(path, "select count(*) from alembic_version") == [(1,)]
    assert rows(path, "select count(*) from version_info") == [(1,)]
    assert rows(path, "select count(*) from trial_values") == [(0,)]


def test_of_two_that_saw_none_one_makes_them(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, looks = optuna_schema.are_made, []

    def overtaken(connection: sa.Connection, where: str) -> bool:
        looks.append(real(connection, where))
        if len(looks) == 1:
            Storage(postgresql_url).close()  # before we have the lock
        return looks[-1]

    monkeypatch.setattr(optuna_schema, "are_made", overtaken)
    Storage(postgresql_url).close()

    assert looks == [False, False, False, True]


def test_those_that_optuna_makes_in_the_same_moment_are_taken(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tries = optuna_schema.make, []

    def overtaken(connection: sa.Connection, where: str) -> None:
        tries.append(connection)
        optuna.storages.RDBStorage(postgresql_url).engine.dispose()
        real(connection, where)

    monkeypatch.setattr(optuna_schema, "make", overtaken)
    Storage(postgresql_url).close()

    assert len(tries) == 1


def test_who_finds_them_does_without_importing_optuna(url: str) -> None:
    Storage(url).close()
    script = (
        "import sys; from hpo.database.storage import Storage; Storage(sys.argv[1]).close(); "
        "sys.exit('optuna' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script, url], check=False).returncode == 0
