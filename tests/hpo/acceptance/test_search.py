"""One process searches: plan, claim, train, write, tell, and the record that Optuna keeps."""

import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.trial import TrialState

from hpo.commands import running
from hpo.commands.request import Order
from hpo.database import outcomes, rows, tables
from hpo.database.storage import Storage
from hpo.definition.grids import AroundBest, Best, Values
from hpo.definition.study import StudyDefinition
from hpo.errors import DefinitionChanged, ForeignStudy, NoResult, ParentUnfinished, StudyNotFound
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Slot, StoredStudy
from hpo.machine.process import this_worker
from hpo.mirror import deleting, study
from hpo.mirror import states as record
from hpo.mirror.study import OpenStudy
from hpo.planning.plan import plan
from hpo.training.phases import Phases
from hpo.training.trainer import Trainer
from hpo.views.export import to_json
from hpo.workers.claims import claim, give_back
from hpo.workers.grid_sampler import GridSampler
from hpo.workers.worker import work
from model.data import digits

LAMBDAS = (1e-4, 1e-3, 1e-2, 1e-1)
SMALL = StudyDefinition(name="small", grid=Values(LAMBDAS), n_s=20, n_cycles=2, batch_size=50)


class Silent:
    """Watches and says nothing; stops the training after so many log points."""

    def __init__(self, stop_after: float = math.inf) -> None:
        self.results: dict[Slot, float | None] = {}
        self.n_points = 0
        self.warnings: list[str] = []
        self.stop_after = stop_after

    def stop(self) -> bool:
        return self.n_points >= self.stop_after

    def began(self, title: str, experiment: Experiment, n_missing: int) -> None:
        pass

    def claimed(self, slots: Sequence[Slot], n_updates: int) -> None:
        pass

    def advanced(self, slot: Slot, n_updates: int, accuracy: float) -> None:
        self.n_points += 1

    def ended(self, slot: Slot, outcome: str, value: float | None) -> None:
        assert slot not in self.results
        self.results[slot] = value

    def spent(self, phases: Phases) -> None: ...

    def warn(self, text: str) -> None:
        self.warnings.append(text)


Run = Callable[..., running.Outcome]


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    opened = Storage(f"sqlite:///{tmp_path / 'hpo.db'}")
    yield opened
    opened.close()


@pytest.fixture
def run(storage: Storage) -> Run:
    def run_small(
        definition: StudyDefinition = SMALL, watcher: Silent | None = None, **options: str
    ) -> running.Outcome:
        watcher = watcher or Silent()
        return running.run(Order(definition, digits()), storage, watcher, watcher.stop, **options)

    return run_small


def trials(storage: Storage, name: str) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name=name, storage=storage.optuna).trials


def exported(storage: Storage, opened: OpenStudy) -> str:
    return storage.write(lambda connection: to_json(connection, opened.stored))


def opened(storage: Storage, name: str = "small-digits") -> OpenStudy:
    found = study.find(storage, name)
    assert found is not None
    return found


def created(storage: Storage, definition: StudyDefinition = SMALL) -> OpenStudy:
    name, _, experiment = running.prepare(Order(definition, digits()), storage)
    return study.create(storage, name, experiment)


def test_a_run_counts_every_cell_once(storage: Storage, run: Run) -> None:
    outcome = run()

    results = storage.write(lambda c: outcomes.results_of(c, outcome.study.uuid))
    assert [r.slot for r in results] == [Slot(cell, 0) for cell in range(4)]
    assert {r.outcome for r in results} == {"complete"}
    assert outcome.n_missing == 0


def test_optuna_shows_parameters_values_and_cycle_ends(storage: Storage, run: Run) -> None:
    outcome = run()

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


def test_a_second_run_trains_nothing(run: Run) -> None:
    run()
    watcher = Silent()
    again = run(watcher=watcher)

    assert watcher.n_points == 0
    assert again.before.n_counted == 4


def test_an_interrupted_run_gives_its_trials_back(storage: Storage, run: Run) -> None:
    outcome = run(watcher=Silent(stop_after=30))

    assert outcome.n_missing == 4
    states = storage.write(lambda c: rows.attempts_of(c, outcome.study.uuid))
    assert {a.state for a in states} == {"waiting"}
    assert {t.state for t in trials(storage, "small-digits")} == {TrialState.WAITING}


def test_an_interrupted_study_ends_with_the_bytes_of_one_that_was_not(
    storage: Storage, run: Run, tmp_path: Path
) -> None:
    run(watcher=Silent(stop_after=30))
    run(watcher=Silent(stop_after=100))
    interrupted = exported(storage, run().study)

    other = Storage(f"sqlite:///{tmp_path / 'other.db'}")
    whole = running.run(Order(SMALL, digits()), other, Silent(), lambda: False).study

    assert interrupted == exported(other, whole)
    assert len(trials(storage, "small-digits")) == 4
    other.close()


def test_a_result_does_not_depend_on_who_shares_the_stack(storage: Storage, run: Run) -> None:
    together = json.loads(exported(storage, run().study))["trials"]
    alone = dataclasses.replace(SMALL, name="alone", grid=Values(LAMBDAS[2:3]))
    entry = json.loads(exported(storage, run(alone).study))["trials"][0]

    assert entry | {"cell": 2} == together[2]


def test_replicates_have_seeds_of_their_own_and_may_grow(storage: Storage, run: Run) -> None:
    run()
    watcher = Silent()
    grown = run(dataclasses.replace(SMALL, replicates=2), watcher=watcher)

    assert set(watcher.results) == {Slot(cell, 1) for cell in range(4)}
    entries = json.loads(exported(storage, grown.study))["trials"]
    first, second = (e for e in entries if e["cell"] == 0)
    assert first["curve"] != second["curve"]


def test_a_cell_that_diverges_is_counted_and_its_neighbours_go_on(
    storage: Storage, run: Run
) -> None:
    wild = dataclasses.replace(SMALL, name="wild", grid=Values((0.0,)), eta_max=1e15, n_s=15)
    outcome = run(wild)

    (result,) = storage.write(lambda c: outcomes.results_of(c, outcome.study.uuid))
    assert (result.outcome, result.value) == ("diverged", None)
    (trial,) = trials(storage, "wild-digits")
    assert trial.state is TrialState.FAIL
    assert trial.user_attrs["outcome"] == "diverged"
    assert run(wild).before.n_counted == 1  # never tried again
    entry = json.loads(exported(storage, outcome.study))["trials"][0]
    assert entry["curve"]["validation"]["cost"][-1] is None


def test_only_the_best_cells_keep_their_weights(storage: Storage, run: Run) -> None:
    outcome = run()

    results = storage.write(lambda c: outcomes.results_of(c, outcome.study.uuid))
    kept = storage.write(lambda c: c.execute(sa.select(tables.checkpoints.c.cell)).scalars().all())
    ranked = sorted(results, key=lambda r: (-(r.value or 0), r.slot.cell))
    assert sorted(kept) == sorted(r.slot.cell for r in ranked[:3])


# --- definitions and parents


def test_another_definition_under_the_same_name_is_refused_with_the_difference(run: Run) -> None:
    run()
    with pytest.raises(DefinitionChanged, match="n_cycles: stored 2, asked for 3"):
        run(dataclasses.replace(SMALL, n_cycles=3))
    with pytest.raises(DefinitionChanged, match="seed: stored 0, asked for 1"):
        run(dataclasses.replace(SMALL, seed=1))
    with pytest.raises(DefinitionChanged, match="grid: stored .*0.1.*asked for"):
        run(dataclasses.replace(SMALL, grid=Values((1e-4, 1e-3, 1e-2, math.nextafter(0.1, 1)))))


def test_a_study_of_somebody_else_is_left_untouched(storage: Storage, run: Run) -> None:
    optuna.create_study(study_name="small-digits", storage=storage.optuna).add_trial(
        optuna.trial.create_trial(value=1.0)
    )
    with pytest.raises(ForeignStudy, match="was not made by hpo, and is left untouched"):
        run()
    assert len(trials(storage, "small-digits")) == 1


def test_a_derived_study_needs_a_finished_parent(run: Run) -> None:
    child = dataclasses.replace(SMALL, name="child", parent="small", grid=AroundBest(n=3))
    with pytest.raises(ParentUnfinished, match="needs the finished study 'small-digits'"):
        run(child)
    run(watcher=Silent(stop_after=30))
    with pytest.raises(ParentUnfinished, match="4 of its 4 cells are missing. Run `hpo run small`"):
        run(child)


def test_a_derived_study_stays_with_the_cell_it_was_derived_from(
    storage: Storage, run: Run
) -> None:
    parent = run().study
    child = dataclasses.replace(SMALL, name="child", parent="small", grid=Best())
    chosen = run(child).study.experiment.parent
    assert chosen is not None

    def crown_another(connection: sa.Connection) -> None:
        other = (chosen.cell + 1) % 4
        table = tables.results
        at = rows.at(table, parent.uuid, Slot(other, 0))
        connection.execute(table.update().where(at).values(value=1.0))

    storage.write(crown_another)

    assert run(child).study.experiment.parent == chosen


def test_a_deleted_study_leaves_no_row_and_its_name_is_free(storage: Storage, run: Run) -> None:
    uuid = run().study.uuid
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
    assert run().study.uuid != uuid
    with pytest.raises(StudyNotFound, match="No study named 'nothing'"):
        deleting.delete(storage, "nothing")


def test_a_study_that_died_while_it_was_created_is_taken_up(storage: Storage, run: Run) -> None:
    _, _, experiment = running.prepare(Order(SMALL, digits()), storage)
    row = StoredStudy("a uuid", "small-digits", experiment)
    storage.write(lambda c: rows.insert_study(c, row))
    assert run().study.uuid == row.uuid

    half = dataclasses.replace(SMALL, name="half")
    _, _, experiment = running.prepare(Order(half, digits()), storage)
    row = StoredStudy("another uuid", "half-digits", experiment)
    storage.write(lambda c: rows.insert_study(c, row))
    storage.optuna.create_new_study([optuna.study.StudyDirection.MAXIMIZE], "half-digits")
    assert run(half).study.uuid == row.uuid


# --- plans, claims and the record


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


def test_a_claim_is_running_for_everybody_and_cannot_be_claimed_again(storage: Storage) -> None:
    made = created(storage)
    plan(made)
    first = claim(made, 3, this_worker())
    second = claim(made, 3, this_worker())

    assert first is not None
    assert second is not None
    assert (sorted(first.attempts), sorted(second.attempts)) == ([0, 1, 2], [3])
    assert claim(made, 3, this_worker()) is None
    assert {t.state for t in trials(storage, "small-digits")} == {TrialState.RUNNING}
    give_back(made, first)
    assert sorted(t.state for t in trials(storage, "small-digits")) == sorted(
        [TrialState.WAITING] * 3 + [TrialState.RUNNING]
    )


def test_a_worker_that_lost_its_claim_writes_nothing(storage: Storage) -> None:
    made = created(storage)
    plan(made)

    class Thief(Silent):
        def advanced(self, slot: Slot, n_updates: int, accuracy: float) -> None:
            super().advanced(slot, n_updates, accuracy)
            if self.n_points == 10:  # somebody else holds the cells from now on
                taken = {"token": "another"}
                storage.write(lambda c: c.execute(tables.attempts.update().values(taken)))

        def spent(self, phases: Phases) -> None: ...

        def warn(self, text: str) -> None:
            super().warn(text)
            self.stop_after = 0  # else it would wait for what the other one holds

    watcher = Thief()
    work(
        made,
        Trainer(made.experiment, digits()),
        watcher,
        watcher.stop,
        this_worker() | {"id": "me"},
    )

    assert watcher.results == {}
    assert "given to another worker" in watcher.warnings[0]
    assert storage.write(lambda c: outcomes.results_of(c, made.uuid)) == []
    assert storage.write(lambda c: outcomes.curves_of(c, made.uuid)) == {}


def test_the_trials_of_a_dead_process_come_back_as_retries(
    storage: Storage, run: Run, killed_process: dict[str, Any]
) -> None:
    made = created(storage)
    plan(made)
    claim(made, 2, killed_process)

    outcome = run()

    assert outcome.before.n_recovered == 2
    assert outcome.n_missing == 0
    shown = trials(storage, "small-digits")
    assert [t.state for t in shown].count(TrialState.FAIL) == 2
    retries = [t for t in shown if "retry_of" in t.user_attrs]
    assert {t.user_attrs["cell"] for t in retries} == {0, 1}
    assert {t.state for t in retries} == {TrialState.COMPLETE}


def test_the_record_catches_up_after_a_kill_between_the_two_commits(
    storage: Storage, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(record, "_show_result", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run()
    assert run().n_missing == 0
    assert [t.state for t in trials(storage, "small-digits")] == [TrialState.COMPLETE] * 4


# --- the sampler, for a user's own objective


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


def test_a_finished_grid_is_not_walked_again(storage: Storage, run: Run) -> None:
    made = run().study
    own = optuna.load_study(
        study_name="small-digits", storage=storage.optuna, sampler=GridSampler(made)
    )
    with pytest.raises(NoResult, match="Every cell of 'small-digits' is done"):
        own.optimize(lambda trial: 0.0, n_trials=1)
    results = storage.write(lambda c: outcomes.results_of(c, made.uuid))
    assert len(results) == 4


def test_a_run_is_quick_to_find_that_nothing_is_left(storage: Storage, run: Run) -> None:
    run()
    watcher = Silent()
    began = time.monotonic()
    work(
        opened(storage),
        Trainer(opened(storage).experiment, digits()),
        watcher,
        watcher.stop,
        this_worker() | {"id": "me"},
    )
    assert watcher.n_points == 0
    assert time.monotonic() - began < 5
