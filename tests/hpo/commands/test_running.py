"""A run trains every cell once, whatever interrupts it and whoever shares a stack."""

import dataclasses
import json
from pathlib import Path

from optuna.trial import TrialState

from hpo.commands import running
from hpo.commands.request import Order
from hpo.database import outcomes, rows
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.experiment.records import Slot
from model.data import digits
from tests.hpo.reading import exported
from tests.hpo.small_grid import LAMBDAS, SMALL, Once, RunGrid, trials


def test_a_run_counts_every_cell_once(storage: Storage, run_grid: RunGrid) -> None:
    outcome = run_grid()

    results = storage.write(lambda c: outcomes.results_of(c, outcome.study.uuid))
    assert [r.slot for r in results] == [Slot(cell, 0) for cell in range(4)]
    assert {r.outcome for r in results} == {"complete"}
    assert outcome.n_missing == 0


def test_a_second_run_trains_nothing(run_grid: RunGrid) -> None:
    run_grid()
    watcher = Once()
    again = run_grid(watcher=watcher)

    assert watcher.n_points == 0
    assert again.before.n_counted == 4


def test_an_interrupted_run_gives_its_trials_back(storage: Storage, run_grid: RunGrid) -> None:
    outcome = run_grid(watcher=Once(stop_after=30))

    assert outcome.n_missing == 4
    states = storage.write(lambda c: rows.attempts_of(c, outcome.study.uuid))
    assert {a.state for a in states} == {"waiting"}
    assert {t.state for t in trials(storage, "small-digits")} == {TrialState.WAITING}


def test_an_interrupted_study_ends_with_the_bytes_of_one_that_was_not(
    storage: Storage, run_grid: RunGrid, tmp_path: Path
) -> None:
    run_grid(watcher=Once(stop_after=30))
    run_grid(watcher=Once(stop_after=100))
    interrupted = exported(storage, run_grid().study)

    other = Storage(f"sqlite:///{tmp_path / 'other.db'}")
    whole = running.run(Order(SMALL, digits()), other, Once(), lambda: False).study

    assert interrupted == exported(other, whole)
    assert len(trials(storage, "small-digits")) == 4
    other.close()


def test_a_result_does_not_depend_on_who_shares_the_stack(
    storage: Storage, run_grid: RunGrid
) -> None:
    together = json.loads(exported(storage, run_grid().study))["trials"]
    alone = dataclasses.replace(SMALL, name="alone", grid=Values(LAMBDAS[2:3]))
    entry = json.loads(exported(storage, run_grid(alone).study))["trials"][0]

    assert entry | {"cell": 2} == together[2]


def test_replicates_have_seeds_of_their_own_and_may_grow(
    storage: Storage, run_grid: RunGrid
) -> None:
    run_grid()
    watcher = Once()
    grown = run_grid(dataclasses.replace(SMALL, replicates=2), watcher=watcher)

    assert set(watcher.results) == {Slot(cell, 1) for cell in range(4)}
    entries = json.loads(exported(storage, grown.study))["trials"]
    first, second = (e for e in entries if e["cell"] == 0)
    assert first["curve"] != second["curve"]
