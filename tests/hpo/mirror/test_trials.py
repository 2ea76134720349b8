"""The trials that Optuna shows: one for every attempt, with its parameters and its ends of cycles."""

import json
import time
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from hpo.database import rows, tables
from hpo.database.storage import Storage
from hpo.machine.process import this_worker
from hpo.mirror import moves
from hpo.planning.plan import plan
from hpo.workers.claims import claim, give_back
from tests.hpo.reading import exported
from tests.hpo.small_grid import LAMBDAS, RunGrid, created, trials
from tests.hpo.small_search import RunSearch


def test_optuna_shows_parameters_values_and_cycle_ends(storage: Storage, run_grid: RunGrid) -> None:
    outcome = run_grid()

    shown = trials(storage, "small-digits")
    document = json.loads(exported(storage, outcome.study))
    assert [t.state for t in shown] == [TrialState.COMPLETE] * 4
    assert [t.params for t in shown] == [{"lambda": value} for value in LAMBDAS]
    assert [t.value for t in shown] == [entry["value"] for entry in document["trials"]]
    for trial, entry in zip(shown, document["trials"], strict=True):
        accuracy = dict(
            zip(entry["curve"]["update"], entry["curve"]["validation"]["accuracy"], strict=True)
        )
        assert trial.intermediate_values == {1: accuracy[40], 2: accuracy[80]}
        assert trial.user_attrs["cell"] == entry["cell"]
        assert trial.user_attrs["outcome"] == "complete"


def test_planning_again_adds_nothing(storage: Storage) -> None:
    made = created(storage)
    for _ in range(3):
        plan(made)

    assert len(storage.write(lambda c: rows.attempts_of(c, made.uuid))) == 4
    assert len(trials(storage, "small-digits")) == 4


def test_a_planner_that_died_before_it_noted_its_trials_leaves_no_second_ones(
    storage: Storage,
) -> None:
    made = created(storage)
    plan(made)
    forgotten = {"trial_id": None, "in_optuna": False}
    storage.write(lambda c: c.execute(tables.attempts.update().values(forgotten)))

    plan(made)

    assert len(trials(storage, "small-digits")) == 4


@pytest.mark.parametrize("step", ["_moved", "_add_steps", "_add_attributes", "_add_values"])
def test_a_result_and_what_optuna_shows_of_it_commit_together(
    storage: Storage, run_grid: RunGrid, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    real = getattr(moves, step)

    def killed(connection: Any, *arguments: object) -> Any:
        if connection.execute(tables.results.select()).first():
            raise KeyboardInterrupt
        return real(connection, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(moves, step, killed)
        with pytest.raises(KeyboardInterrupt):
            run_grid()
    shown = {t.state for t in trials(storage, "small-digits")}
    assert shown <= {TrialState.WAITING, TrialState.RUNNING}
    assert storage.read(lambda c: c.execute(tables.results.select()).all()) == []

    assert run_grid().n_missing == 0
    assert [t.state for t in trials(storage, "small-digits")] == [TrialState.COMPLETE] * 4


def test_optuna_shows_the_parameters_of_every_trial(
    storage: Storage, run_search: RunSearch
) -> None:
    experiment = run_search().study.experiment
    assert experiment.search is not None

    shown = optuna.load_study(study_name="mine-digits", storage=storage.optuna).trials

    assert len(shown) == experiment.n_slots
    for trial in shown:
        cell = trial.user_attrs["cell"]
        assert trial.params == experiment.cells[cell]
        is_compared = cell in experiment.search.finalists
        assert trial.state == (TrialState.COMPLETE if is_compared else TrialState.PRUNED)
        assert list(trial.intermediate_values) == [1, 2]
    distributions = shown[0].distributions
    assert distributions["n_s"] == optuna.distributions.IntDistribution(12, 36, step=12)
    assert distributions["lambda"].log  # type: ignore[attr-defined]
    assert distributions["normalisation"] == optuna.distributions.CategoricalDistribution(
        ("image", "feature")
    )


def test_a_duration_is_the_time_that_workers_held_a_trial(
    storage: Storage, run_grid: RunGrid
) -> None:
    made = created(storage)
    plan(made)
    held = claim(made, 4, this_worker())
    assert held is not None
    time.sleep(0.5)
    give_back(made, held)
    time.sleep(2.0)  # as at a rung

    run_grid()

    seconds = [a.seconds for a in storage.read(lambda c: rows.attempts_of(c, made.uuid))]
    shown = trials(storage, "small-digits")
    assert [t.duration and t.duration.total_seconds() for t in shown] == pytest.approx(
        seconds, abs=0.1
    )
    assert min(seconds) > 0.5
    assert max(seconds) < 2.0
