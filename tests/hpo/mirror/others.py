"""What others do to the trials of a study with Optuna's own tools, and what is shown afterwards."""

from collections.abc import Callable

import optuna
import pytest
from optuna.trial import TrialState

from hpo.commands import running
from hpo.commands.doctor import examine
from hpo.commands.request import Order
from hpo.database import outcomes
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.definition.study import StudyDefinition
from hpo.mirror.study import OpenStudy
from hpo.testing import Recorder
from model.data import digits

NAME = "four-digits"
FOUR = StudyDefinition(
    name="four", grid=Values((1e-4, 1e-3, 1e-2, 1e-1)), n_s=10, n_cycles=2, batch_size=100
)


def run(
    storage: Storage, watcher: Recorder | None = None, definition: StudyDefinition = FOUR
) -> OpenStudy:
    watcher = watcher or Recorder()
    done = running.run(Order(definition, digits()), storage, watcher, watcher.stop)
    return done.study


opened_by_others: list[optuna.storages.RDBStorage] = []


def theirs(url: str, name: str = NAME) -> optuna.Study:
    """The study as a script of somebody's own opens it."""
    backend = optuna.storages.RDBStorage(url)
    opened_by_others.append(backend)
    return optuna.load_study(study_name=name, storage=backend)


def texts(url: str, *, wrong: bool = True) -> list[str]:
    return [f.text for f in examine(url) if f.is_wrong is wrong]


def shows_ours(storage: Storage, study: OpenStudy, url: str) -> None:
    """Optuna, freshly opened, has the results of ours and calls our best one the best."""
    results = storage.write(lambda c: outcomes.results_of(c, study.uuid))
    fresh = theirs(url)
    complete = [
        t for t in fresh.trials if t.state is TrialState.COMPLETE and "cell" in t.user_attrs
    ]
    assert sorted((t.user_attrs["cell"], t.value) for t in complete) == sorted(
        (r.slot.cell, r.value) for r in results
    )
    for trial in complete:
        assert trial.params == study.experiment.cells[trial.user_attrs["cell"]]
        assert sorted(trial.intermediate_values) == [1, 2]
        assert trial.intermediate_values[2] == trial.value
    best = fresh.best_trial
    assert best.value == max(r.value for r in results if r.value is not None)
    assert best.user_attrs["attempt"] == 0
    assert texts(url) == []
    assert examine(url, repair=True) == examine(url)


def tell_best(own: optuna.Study) -> None:
    own.tell(own.ask().number, 0.999)


def tell_all(own: optuna.Study) -> None:
    for trial in own.trials:
        own._storage.set_trial_state_values(trial._trial_id, TrialState.COMPLETE, [0.999])


def fail_zombies(own: optuna.Study) -> None:
    for trial in own.trials:
        if not trial.state.is_finished():
            own._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)


def prune(own: optuna.Study) -> None:
    trial = own.ask()
    trial.report(0.9, 2)
    own.tell(trial, state=TrialState.PRUNED)


def optimize(own: optuna.Study) -> None:
    own.optimize(lambda trial: 0.9 + trial.suggest_float("x", 0, 0.09), n_trials=6)


def optimize_and_fail(own: optuna.Study) -> None:
    def objective(trial: optuna.Trial) -> float:
        raise ValueError

    own.optimize(objective, n_trials=3, catch=(ValueError,))


def take_and_leave(own: optuna.Study) -> None:
    own.ask().report(0.97, 2)


def tell_what_is_infinite(own: optuna.Study) -> None:
    own.tell(own.ask(), float("inf"))


def only_in_long_tests(some: list[Callable[..., object]]) -> list[object]:
    return [pytest.param(one, marks=pytest.mark.exhaustive) for one in some]


OTHERS = [
    tell_all,
    fail_zombies,
    optimize,
    *only_in_long_tests(
        [tell_best, prune, optimize_and_fail, take_and_leave, tell_what_is_infinite]
    ),
]
