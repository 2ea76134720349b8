"""Our declaration of Optuna's tables against its own models, and what its API makes of our rows."""

import datetime
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa
from optuna.storages._rdb import models
from optuna.trial import TrialState

from hpo.commands import running
from hpo.commands.request import Order
from hpo.database import optuna_tables
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.definition.study import StudyDefinition
from hpo.views.story import Story
from model.data import digits

TINY = StudyDefinition(name="tiny", grid=Values((1e-3, 1e-2)), n_s=5, n_cycles=2)


@pytest.mark.parametrize("name", optuna_tables.metadata.tables)
def test_our_declaration_of_a_table_is_optunas(name: str) -> None:
    ours = optuna_tables.metadata.tables[name]
    theirs = models.BaseModel.metadata.tables[name]
    assert ours.columns.keys() == theirs.columns.keys()
    for column in ours.columns:
        other = theirs.columns[column.name].type
        if isinstance(column.type, sa.Enum):
            assert isinstance(other, sa.Enum)
            assert column.type.enums == other.enums
            assert column.type.name == other.name
        else:
            assert column.type.python_type is other.python_type


def test_we_know_every_table_that_has_rows_of_a_study_or_a_trial() -> None:
    children = {"studies": set(), "trials": set()}
    for table in models.BaseModel.metadata.tables.values():
        for key in table.foreign_keys:
            children[key.column.table.name].add(table.name)

    assert {table.name for table in optuna_tables.OF_STUDY} | {"trials"} == children["studies"]
    assert {table.name for table in optuna_tables.OF_TRIAL} == children["trials"]


STEP = datetime.timedelta(seconds=5)  #: by which the clock may be set while a trial is trained


def test_optuna_reads_our_trials_as_if_it_had_written_them(tmp_path: Path) -> None:
    storage = Storage(f"sqlite:///{tmp_path / 'hpo.db'}")
    before = datetime.datetime.now()
    running.run(Order(TINY, digits()), storage, Story(), lambda: False)
    after = datetime.datetime.now()

    study = optuna.load_study(study_name="tiny-digits", storage=storage.optuna)
    assert [trial.number for trial in study.trials] == [0, 1]
    for trial, value in zip(study.trials, (1e-3, 1e-2), strict=True):
        assert trial.state is TrialState.COMPLETE
        assert trial.params == {"lambda": value}
        low, high = 1e-3, 1e-2
        assert trial.distributions["lambda"] == optuna.distributions.FloatDistribution(
            low, high, log=True
        )
        assert list(trial.intermediate_values) == [1, 2]
        assert trial.value == trial.intermediate_values[2]
        assert trial.datetime_start is not None
        assert trial.datetime_complete is not None
        assert before - STEP <= trial.datetime_start <= trial.datetime_complete <= after + STEP
        trial._validate()  # Optuna's own check
    storage.close()
