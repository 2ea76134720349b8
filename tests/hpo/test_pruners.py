"""Pruners by name: what may be said, what is refused, and what Optuna makes of it."""

import dataclasses

import optuna
import pytest

from hpo import pruners
from hpo.definition import StudyDefinition
from hpo.errors import DefinitionChanged, InvalidDefinition
from hpo.experiment import Experiment
from hpo.grids import Values
from hpo.resolution import resolve
from hpo.study import OpenStudy, compare
from hpo.tables import StoredStudy
from hpo.trainer import facts
from model.data import digits

PLAIN = StudyDefinition(name="plain", grid=Values((1e-3, 1e-2)))


def test_a_pruner_has_its_usual_parameters() -> None:
    assert pruners.parse("halving").parameters == {"eta": 2}
    assert pruners.parse("none").parameters == {}


def test_parameters_are_set_after_a_colon() -> None:
    pruning = pruners.parse("percentile:percentile=50,n_startup_trials=2")
    assert pruning.parameters["percentile"] == 50
    assert pruning.parameters["n_startup_trials"] == 2
    assert pruning.parameters["n_min_trials"] == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("odd", "There is no pruner 'odd'; choose one of none, halving, median"),
        ("halving:rate=2", "no parameter 'rate'; it has eta. Write, for example, halving:eta=2"),
        ("none:eta=2", "The pruner none has no parameter 'eta'; it has none"),
        ("halving:eta=two", "parameter eta must be a number, got 'two'"),
        ("halving:eta=1", "eta of halving must be above 1, got 1"),
        ("halving:eta=nan", "eta of halving must be above 1, got nan"),
        ("", "There is no pruner ''"),
    ],
)
def test_what_is_no_pruner_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(InvalidDefinition, match=sentence):
        dataclasses.replace(PLAIN, pruner=text)


def test_what_optuna_refuses_is_said_in_a_sentence() -> None:
    with pytest.raises(InvalidDefinition, match="The pruner percentile: .*percentile"):
        pruners.optuna_pruner(pruners.parse("percentile:percentile=200"))


@pytest.mark.parametrize("name", [n for n in pruners.KNOWN if pruners.parse(n).is_optunas])
def test_every_name_stands_for_a_pruner_of_optuna(name: str) -> None:
    assert isinstance(pruners.optuna_pruner(pruners.parse(name)), optuna.pruners.BasePruner)


def test_the_notebook_prunes_nothing() -> None:
    halved = dataclasses.replace(PLAIN, pruner="halving")
    assert halved.in_protocol("notebook").pruner == "none"
    with pytest.raises(InvalidDefinition, match="The notebook protocol prunes nothing"):
        dataclasses.replace(PLAIN.in_protocol("notebook"), pruner="halving")


def test_an_older_definition_had_no_pruner_and_is_not_continued_with_one() -> None:
    experiment = resolve(PLAIN, facts(digits(), PLAIN))
    stored = experiment.to_json()
    del stored["definition"]["pruner"]
    old = Experiment.from_json(stored)
    assert old.definition.pruner == "none"
    halved = dataclasses.replace(
        experiment, definition=dataclasses.replace(experiment.definition, pruner="halving")
    )
    with pytest.raises(DefinitionChanged, match="pruner: stored none, asked for halving"):
        compare(OpenStudy(StoredStudy("u", "plain", old), 1), halved)
