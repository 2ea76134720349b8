"""A study is ours alone, under one name and one definition."""

import dataclasses
import math
from dataclasses import replace

import optuna
import pytest
import sqlalchemy as sa

from hpo.commands import running
from hpo.commands.request import Order
from hpo.database import rows, tables
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.errors import DefinitionChanged, ForeignStudy, StudyNotFound
from hpo.experiment.records import StoredStudy
from hpo.mirror import deleting, study
from model.data import digits
from tests.hpo.small_grid import SMALL, RunGrid, trials
from tests.hpo.small_search import JOINT, SPACE, RunSearch, Watcher


def test_another_definition_under_the_same_name_is_refused_with_the_difference(
    run_grid: RunGrid,
) -> None:
    run_grid()
    with pytest.raises(DefinitionChanged, match="n_cycles: stored 2, asked for 3"):
        run_grid(dataclasses.replace(SMALL, n_cycles=3))
    with pytest.raises(DefinitionChanged, match="seed: stored 0, asked for 1"):
        run_grid(dataclasses.replace(SMALL, seed=1))
    with pytest.raises(DefinitionChanged, match="grid: stored .*0.1.*asked for"):
        run_grid(
            dataclasses.replace(SMALL, grid=Values((1e-4, 1e-3, 1e-2, math.nextafter(0.1, 1))))
        )


def test_a_study_of_somebody_else_is_left_untouched(storage: Storage, run_grid: RunGrid) -> None:
    optuna.create_study(study_name="small-digits", storage=storage.optuna).add_trial(
        optuna.trial.create_trial(value=1.0)
    )
    with pytest.raises(ForeignStudy, match="was not made by hpo, and is left untouched"):
        run_grid()
    assert len(trials(storage, "small-digits")) == 1


def test_a_deleted_study_leaves_no_row_and_its_name_is_free(
    storage: Storage, run_grid: RunGrid
) -> None:
    uuid = run_grid().study.uuid
    deleting.delete(storage, "small-digits")

    def rows(connection: sa.Connection) -> int:
        counted = (tables.attempts, tables.results, tables.curves, tables.checkpoints)
        return sum(
            connection.execute(
                sa.select(sa.func.count()).select_from(t).where(t.c.study == uuid)
            ).scalar_one()
            for t in counted
        )

    assert storage.write(rows) == 0
    assert study.names(storage) == []
    assert run_grid().study.uuid != uuid
    with pytest.raises(StudyNotFound, match="No study named 'nothing'"):
        deleting.delete(storage, "nothing")


def test_a_study_that_died_while_it_was_created_is_taken_up(
    storage: Storage, run_grid: RunGrid
) -> None:
    _, _, experiment = running.prepare(Order(SMALL, digits()), storage)
    row = StoredStudy("a uuid", "small-digits", experiment)
    storage.write(lambda c: rows.insert_study(c, row))
    assert run_grid().study.uuid == row.uuid

    half = dataclasses.replace(SMALL, name="half")
    _, _, experiment = running.prepare(Order(half, digits()), storage)
    row = StoredStudy("another uuid", "half-digits", experiment)
    storage.write(lambda c: rows.insert_study(c, row))
    storage.optuna.create_new_study([optuna.study.StudyDirection.MAXIMIZE], "half-digits")
    assert run_grid(half).study.uuid == row.uuid


def test_a_sampler_of_another_name_is_another_study(run_search: RunSearch) -> None:
    run_search(watcher=Watcher(1))

    with pytest.raises(DefinitionChanged, match="space sampler: stored curves, asked for random"):
        run_search(replace(JOINT, space=replace(SPACE, sampler="random")))
