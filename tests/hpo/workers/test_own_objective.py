"""An objective of a user's own walks our cells, once and in their order."""

import math
from dataclasses import replace

import optuna
import pytest
from optuna.trial import TrialState

from hpo.commands import running
from hpo.commands.request import Order
from hpo.database import outcomes
from hpo.database.storage import Storage
from hpo.errors import NoResult
from hpo.workers.grid_sampler import GridSampler
from model.data import digits
from tests.hpo.small_grid import LAMBDAS, RunGrid, created, trials
from tests.hpo.small_search import JOINT, QUICK, opened_search


def test_optimize_walks_the_grid_once_in_its_order(storage: Storage) -> None:
    made = created(storage)
    own = optuna.load_study(
        study_name="small-digits", storage=storage.optuna, sampler=GridSampler(made)
    )
    seen: list[float] = []

    def objective(trial: optuna.Trial) -> float:
        seen.append(trial.suggest_float("lambda", min(LAMBDAS), max(LAMBDAS), log=True))
        return -abs(seen[-1] - 1e-2)

    own.optimize(objective, n_trials=50)

    assert tuple(seen) == LAMBDAS
    assert own.best_params == {"lambda": 1e-2}
    results = storage.write(lambda c: outcomes.results_of(c, made.uuid))
    assert [r.slot.cell for r in results] == [0, 1, 2, 3]


def test_a_cell_whose_objective_failed_is_given_back(storage: Storage) -> None:
    made = created(storage)
    failing = True

    def objective(trial: optuna.Trial) -> float:
        value = trial.suggest_float("lambda", min(LAMBDAS), max(LAMBDAS), log=True)
        if failing and value == LAMBDAS[1]:
            raise ValueError
        return value

    for _ in range(2):
        own = optuna.load_study(
            study_name="small-digits", storage=storage.optuna, sampler=GridSampler(made)
        )
        own.optimize(objective, n_trials=50, catch=(ValueError,))
        failing = False

    complete = [t for t in trials(storage, "small-digits") if t.state is TrialState.COMPLETE]
    assert sorted(t.params["lambda"] for t in complete) == list(LAMBDAS)
    assert len(trials(storage, "small-digits")) == 5


def test_a_finished_grid_is_not_walked_again(storage: Storage, run_grid: RunGrid) -> None:
    made = run_grid().study
    own = optuna.load_study(
        study_name="small-digits", storage=storage.optuna, sampler=GridSampler(made)
    )
    with pytest.raises(NoResult, match="Every cell of 'small-digits' is done"):
        own.optimize(lambda trial: 0.0, n_trials=1)
    results = storage.write(lambda c: outcomes.results_of(c, made.uuid))
    assert len(results) == 4


def test_a_search_of_ones_own_objective_ends_with_the_budget(storage: Storage) -> None:
    definition = replace(JOINT, space=QUICK)
    made, _ = running.submit(Order(definition, digits()), storage)
    sampler = GridSampler(made)
    own = optuna.load_study(study_name="mine-digits", storage=storage.optuna, sampler=sampler)

    own.optimize(
        lambda trial: 1 - abs(math.log10(trial.suggest_float("lambda", 1e-4, 0.1, log=True)) + 2)
    )

    after = opened_search(storage).experiment
    assert after.search is not None
    assert after.search.is_over
    assert len(own.trials) == after.n_slots
    best = max(after.search.finalists, key=lambda cell: -abs(math.log10(after.lambdas[cell]) + 2))
    assert own.best_params == after.cells[best]
