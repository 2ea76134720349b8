"""Pruners by name: what may be said, what is refused, and what Optuna makes of it."""

import dataclasses
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.definition import pruning as pruners
from hpo.definition.grids import Values
from hpo.definition.study import StudyDefinition
from hpo.errors import DefinitionChanged, InvalidDefinition
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import StoredStudy
from hpo.experiment.resolution import resolve
from hpo.mirror.study import compare
from hpo.search.optuna_pruners import optuna_pruner
from hpo.training.trainer import facts
from model.data import digits

PLAIN = StudyDefinition(name="plain", grid=Values((1e-3, 1e-2)))


def test_a_pruner_has_its_usual_parameters() -> None:
    assert pruners.parse("halving").parameters == {"eta": 2, "confidence": 0}
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
        (
            "halving:rate=2",
            "no parameter 'rate'; it has eta, confidence. Write, for example",
        ),
        ("none:eta=2", "The pruner none has no parameter 'eta'; it has none"),
        ("halving:eta=two", "parameter eta must be a number, got 'two'"),
        ("halving:eta=1", "eta of halving must be above 1, got 1"),
        ("halving:confidence=1", "confidence of halving must be a number from 0 to 0.9999, got 1"),
        ("halving:eta=nan", "eta of halving must be above 1, got nan"),
        ("", "There is no pruner ''"),
    ],
)
def test_what_is_no_pruner_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(InvalidDefinition, match=sentence):
        dataclasses.replace(PLAIN, pruner=text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "percentile:percentile=200",
            "percentile of percentile must be a number from 0 to 100, got 2",
        ),
        (
            "percentile:percentile=-1",
            "percentile of percentile must be a number from 0 to 100, got -",
        ),
        ("percentile:percentile=nan", "from 0 to 100, got nan"),
        ("median:n_startup_trials=inf", "n_startup_trials of median must be a whole number from 0"),
        ("median:n_startup_trials=2.5", "a whole number from 0 to 1e+06, got 2.5"),
        ("median:n_warmup_steps=-1", "n_warmup_steps of median must be a whole number from 0"),
        ("median:n_min_trials=0", "n_min_trials of median must be a whole number from 1"),
        ("async-halving:reduction_factor=1", "reduction_factor of async-halving must be a whole n"),
        ("async-halving:reduction_factor=1e308", "from 2 to 1e+06, got 1e+308"),
        (
            "async-halving:min_resource=0",
            "min_resource of async-halving must be a whole number fro",
        ),
        ("async-halving:min_early_stopping_rate=-2", "from 0 to 100, got -2"),
        (
            "hyperband:min_resource=3",
            "max_resource of hyperband must be at least min_resource, got",
        ),
        ("hyperband:max_resource=nan", "max_resource of hyperband must be a whole number"),
        ("threshold:lower=inf", "lower of threshold must be a number from 0 to 1, got inf"),
        ("threshold:lower=-0.1", "lower of threshold must be a number from 0 to 1, got -0.1"),
        ("patient:patience=-1", "patience of patient must be a whole number from 0"),
        ("patient:min_delta=nan", "min_delta of patient must be a number from 0 to 1, got nan"),
        ("wilcoxon:p_threshold=2", "p_threshold of wilcoxon must be a number from 0 to 1, got 2"),
        ("halving:eta=inf", "eta of halving must be a number from 1 to 1e+06, got inf"),
        ("halving:eta=1e400", "eta of halving must be a number from 1 to 1e+06, got inf"),
        ("halving:eta=0", "eta of halving must be above 1, got 0"),
        ("halving:eta=2,eta=3", "The pruner halving is given eta twice. Give it once."),
        ("halving:eta=1_0", "parameter eta must be a number, got '1_0'"),
        ("halving:eta= 2", "parameter eta must be a number, got ' 2'"),
        ("halving:eta=٣", "parameter eta must be a number"),
        ("halving:eta", "parameter eta must be a number, got ''"),
        (5, "There is no pruner 5; choose one of none"),
        (["halving"], "There is no pruner ['halving']; choose one of none"),
    ],
)
def test_values_that_no_pruner_can_have_are_refused_where_the_study_is_defined(
    text: Any, sentence: str
) -> None:
    with pytest.raises(InvalidDefinition) as refused:
        dataclasses.replace(PLAIN, pruner=text)

    assert sentence in str(refused.value)


@given(st.data())
def test_whatever_is_accepted_optuna_accepts_too(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([n for n in pruners.KNOWN if pruners.parse(n).is_optunas]))
    told = []
    for key in data.draw(st.sets(st.sampled_from(sorted(pruners.KNOWN[name])))):
        least, most = pruners.RANGES.get(key, pruners.A_COUNT)
        is_real = key in pruners.REAL
        inside = st.floats(least, most) if is_real else st.integers(int(least), int(most))
        told.append(f"{key}={data.draw(inside)!r}")
    try:
        pruning = pruners.parse(f"{name}:{','.join(told)}")
    except InvalidDefinition as error:
        assert "at least min_resource" in str(error)  # noqa: PT017  # the one rule about two of them
        return

    assert isinstance(optuna_pruner(pruning), optuna.pruners.BasePruner)


@pytest.mark.parametrize("name", [n for n in pruners.KNOWN if pruners.parse(n).is_optunas])
def test_every_name_stands_for_a_pruner_of_optuna(name: str) -> None:
    assert isinstance(optuna_pruner(pruners.parse(name)), optuna.pruners.BasePruner)


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
        compare(StoredStudy("u", "plain", old), halved)
