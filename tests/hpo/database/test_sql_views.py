"""The views for programs that know SQL: what they show, of which studies, in both databases."""

import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from hpo.commands import running
from hpo.commands.doctor import examine
from hpo.commands.request import Order
from hpo.database import sql_views, tables
from hpo.database.reader import read_once
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.definition.ranges import Real, WholeEpochs
from hpo.definition.spaces import Space
from hpo.definition.study import StudyDefinition
from hpo.training.progress import Silent
from hpo.views.export import to_json
from model.data import digits

GRID = StudyDefinition(name="small", grid=Values((1e-4, 1e-2, 1e-1)), n_s=6, replicates=2)
SEARCH = StudyDefinition(
    name="search",
    space=Space(
        lambda_=Real(1e-4, 1e-2),
        n_s=WholeEpochs(1, 2),
        normalisation=("image", "feature"),
        hidden=(20, 30),
        batch_size=(50, 100),
        budget=900,
        width=2,
        sampler="random",
    ),
    n_cycles=1,
)


def trained(url: str, *definitions: StudyDefinition) -> list[dict[str, Any]]:
    """Train studies, and return their exports."""
    found = []
    with Storage(url) as storage:
        for definition in definitions:
            outcome = running.run(Order(definition, digits()), storage, Silent(), lambda: False)
            study = outcome.study.stored
            found.append(json.loads(storage.read(lambda c, s=study: to_json(c, s))))
    return found


def asked(url: str, query: str) -> list[dict[str, Any]]:
    """Ask as a program would that knows nothing of us."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        rows = [dict(row._mapping) for row in connection.execute(sa.text(query))]
    engine.dispose()
    return rows


def test_trials_and_curves_of_a_grid_are_those_of_its_export(url: str) -> None:
    (told,) = trained(url, GRID)
    accuracies = [v for t in told["trials"] for v in t["curve"]["validation"]["accuracy"]]

    rows = asked(url, f"select * from {sql_views.TRIALS} order by cell, replicate")
    points = asked(url, f"select * from {sql_views.CURVES} order by cell, replicate, n_updates")

    assert [(r["study"], r["cell"], r["replicate"], r["lambda"], r["value"]) for r in rows] == [
        ("small-digits", t["cell"], t["replicate"], t["params"]["lambda"], t["value"])
        for t in told["trials"]
    ]
    assert [row["state"] for row in rows] == [t["state"] for t in told["trials"]]
    recipe = {(r["n_s"], r["n_cycles"], r["hidden"], r["batch_size"]) for r in rows}
    assert recipe == {(6, 2, 50, 100)}
    rest = {(r["eta_max"], r["normalisation"], r["eta_min_share"]) for r in rows}
    assert rest == {(0.1, "image", None)}
    assert [point["validation_accuracy"] for point in points] == accuracies
    assert {point["lambda"] for point in points if point["cell"] == 1} == {1e-2}
    assert set(tables.CURVE_COLUMNS) < set(points[0])


@pytest.mark.sqlite_first
def test_each_parameter_of_a_search_is_a_column(url: str) -> None:
    (told,) = trained(url, SEARCH)

    rows = asked(url, f"select * from {sql_views.TRIALS} order by cell")

    assert [{name: row[name] for name in told["trials"][0]["params"]} for row in rows] == [
        trial["params"] for trial in told["trials"]
    ]
    assert [row["n_s"] for row in rows] == [None] * len(rows), "it is in epochs of each cell's own"


@pytest.mark.sqlite_first
def test_what_waits_and_what_runs_has_a_row_without_a_value(url: str) -> None:
    with Storage(url) as storage:
        running.submit(Order(GRID, digits()), storage)

    rows = asked(url, f"select state, value, n_updates from {sql_views.TRIALS}")

    assert rows == [{"state": "waiting", "value": None, "n_updates": 0}] * 6
    assert asked(url, f"select * from {sql_views.CURVES}") == []


def test_a_study_whose_definition_is_damaged_harms_no_other(url: str) -> None:
    with Storage(url) as storage:
        running.submit(Order(GRID, digits()), storage)
        running.submit(Order(replace(GRID, name="harmed"), digits()), storage)
    engine = sa.create_engine(url)
    for text in ("{", "[1]", '{"cells": 3}', '{"cells": [{"lambda": "x"}, 1]}'):
        with engine.begin() as connection:
            harmed = tables.studies.c.name == "harmed-digits"
            connection.execute(tables.studies.update().where(harmed).values(experiment=text))

        rows = asked(url, f"select study, lambda from {sql_views.TRIALS} order by study, cell")

        assert [row["lambda"] for row in rows] == [None] * 6 + [1e-4] * 2 + [1e-2] * 2 + [1e-1] * 2
        assert asked(url, f"select * from {sql_views.CURVES}") == []
    engine.dispose()


@pytest.mark.sqlite_first
def test_a_database_from_before_gets_them_when_it_is_next_written(url: str) -> None:
    trained(url, GRID)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for name in (sql_views.CURVES, sql_views.TRIALS):
            connection.execute(sa.text(f"drop view {name}"))
        connection.execute(tables.meta.delete().where(tables.meta.c.key == sql_views.KEY))
    engine.dispose()
    read_once(url, lambda _: None)  # who only looks makes nothing

    Storage(url).close()

    assert len(asked(url, f"select * from {sql_views.TRIALS}")) == 6


@pytest.mark.sqlite_first
def test_who_built_on_them_does_not_keep_the_database_from_opening(url: str) -> None:
    trained(url, GRID)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text(f"create view mine as select study from {sql_views.TRIALS}"))
        old = tables.meta.update().where(tables.meta.c.key == sql_views.KEY).values(value="older")
        connection.execute(old)
    engine.dispose()

    Storage(url).close()

    assert len(asked(url, "select * from mine")) == 6


@pytest.mark.sqlite_first
def test_neither_doctor_nor_the_list_of_tables_minds_them(url: str) -> None:
    trained(url, GRID)

    assert not [finding for finding in examine(url) if finding.is_wrong]
    engine = sa.create_engine(url)
    names = sa.inspect(engine).get_table_names()
    engine.dispose()
    assert not {sql_views.TRIALS, sql_views.CURVES} & set(names)


def test_a_thousand_curves_are_read_in_a_moment(tmp_path: Path) -> None:
    """The text of a study is taken apart once, not for every row."""
    url = f"sqlite:///{tmp_path / 'hpo.db'}"
    trained(url, GRID)
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    with sqlite3.connect(tmp_path / "hpo.db") as connection:
        (text,) = connection.execute("select experiment from hpo_studies").fetchone()
        told = json.loads(text)
        told["cells"] = [{"lambda": 1e-3 * (1 + i)} for i in range(500)]
        connection.execute("update hpo_studies set experiment = ?", (json.dumps(told),))
        query = f"select count(*) from {sql_views.CURVES}"
        columns = [r[1] for r in connection.execute("pragma table_info(hpo_results)")]
        kept = ", ".join(name for name in columns if name not in ("cell", "replicate"))
        connection.executescript(
            f"""
            with recursive n(i) as (select 3 union all select i + 1 from n where i < 499)
            insert into hpo_results (cell, replicate, {kept})
            select i, 0, {kept} from hpo_results, n where cell = 0 and replicate = 0;
            """
        )
        connection.set_progress_handler(count, 10_000)
        connection.execute(query).fetchone()
        assert connection.execute(f"select count(*) from {sql_views.TRIALS}").fetchone() == (503,)
    assert steps < 200, f"{steps * 10_000:,} steps of SQLite for 503 rows"
