"""Studies that are halved: the same whatever the number of workers, their stacks and their deaths."""

import dataclasses
import itertools
import json
import os
import signal
import traceback
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.trial import TrialState
from sqlalchemy import event
from sqlalchemy.engine import Engine

from hpo.commands import doctor, running
from hpo.commands.request import Order
from hpo.database import decisions
from hpo.database.storage import Storage
from hpo.definition.grids import Logarithmic, Values
from hpo.experiment.records import Slot
from hpo.planning.plan import plan, retry
from hpo.views.story import Story
from model.data import digits
from tests.hpo.planning.halved import HALVED, entries, exported, read, run

pytestmark = pytest.mark.sqlite_first


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The export of a run by one worker that nothing disturbed."""
    url = f"sqlite:///{tmp_path_factory.mktemp('undisturbed') / 'hpo.db'}"
    return exported(url, run(url))


# --- whole studies


def test_a_study_is_halved_at_the_end_of_each_cycle(undisturbed: str) -> None:
    trials = json.loads(undisturbed)["trials"]
    assert [trial["cell"] for trial in trials] == list(range(10))
    cycles = [trial["cycles"] for trial in trials]
    assert sorted(cycles) == [1] * 5 + [2] * 2 + [3] * 3
    for trial in trials:
        assert trial["state"] == ("complete" if trial["cycles"] == 3 else "pruned")
        assert trial["curve"]["update"][-1] == 20 * trial["cycles"]
        assert trial["value"] == trial["curve"]["validation"]["accuracy"][-1]
    after = {trial["cell"]: trial["curve"]["validation"]["accuracy"][9 * 2 + 1] for trial in trials}
    chosen = sorted(after, key=lambda cell: (-after[cell], cell))[:5]
    assert sorted(t["cell"] for t in trials if t["cycles"] > 1) == sorted(chosen)


def test_forty_percent_of_the_updates_of_fine_are_saved(undisturbed: str) -> None:
    cycles = [trial["cycles"] for trial in json.loads(undisturbed)["trials"]]
    assert sum(cycles) == 18  # of 30


@pytest.mark.parametrize("n_workers", [1, 2, pytest.param(4, marks=pytest.mark.long)])
def test_the_number_of_workers_changes_nothing(url: str, undisturbed: str, n_workers: int) -> None:
    assert exported(url, run(url, n_workers=n_workers)) == undisturbed


def test_narrow_stacks_do_not_block_each_other(
    tmp_path: Any, undisturbed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "hpo.training.trainer.WIDTH", 3
    )  # one worker, ten cells: four stacks a rung
    url = f"sqlite:///{tmp_path / 'hpo.db'}"
    assert exported(url, run(url)) == undisturbed


def test_a_survivor_ends_with_the_bits_of_a_run_without_a_pruner(tmp_path: Any) -> None:
    whole = f"sqlite:///{tmp_path / 'whole.db'}"
    cut = f"sqlite:///{tmp_path / 'cut.db'}"
    unpruned = entries(whole, run(whole, dataclasses.replace(HALVED, pruner="none")))
    for entry in entries(cut, run(cut)):
        if entry["state"] == "complete":
            assert entry == unpruned[entry["cell"]]


def test_optuna_shows_cut_trials_as_pruned(tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path / 'hpo.db'}"
    study = run(url)
    storage = Storage(url)
    shown = optuna.load_study(study_name="halved-digits", storage=storage.optuna)
    expected = {entry["cell"]: entry for entry in entries(url, study)}
    for trial in shown.trials:
        entry = expected[trial.user_attrs["cell"]]
        complete = entry["state"] == "complete"
        assert trial.state is (TrialState.COMPLETE if complete else TrialState.PRUNED)
        assert trial.last_step == entry["cycles"]
        assert trial.value == entry["value"]
    storage.close()
    assert [f.text for f in doctor.examine(url) if f.is_wrong] == []


def test_a_cell_stops_in_all_its_replicates_by_their_mean(url: str) -> None:
    study = run(url, dataclasses.replace(HALVED, replicates=2, grid=Logarithmic(-2, 0, 6)))
    cycles: dict[int, set[int]] = {}
    for entry in entries(url, study):
        cycles.setdefault(entry["cell"], set()).add(entry["cycles"])
    assert all(len(found) == 1 for found in cycles.values())
    assert sorted(min(found) for found in cycles.values()) == [1, 1, 1, 2, 3, 3]


def test_replicates_that_come_later_are_trained_for_the_survivors_alone(url: str) -> None:
    before = entries(url, run(url))
    study = run(url, dataclasses.replace(HALVED, replicates=2))
    after = entries(url, study)
    assert [entry for entry in after if entry["replicate"] == 0] == before
    added = {entry["cell"]: entry for entry in after if entry["replicate"] == 1}
    for entry in before:
        new = added[entry["cell"]]
        assert new["state"] == entry["state"]
        assert new["cycles"] == (3 if entry["state"] == "complete" else 0)


def test_a_study_whose_cells_all_diverge_ends(url: str) -> None:
    wild = dataclasses.replace(HALVED, grid=Values((0.0, 1e-12)), eta_max=1e11)
    states = {entry["state"] for entry in entries(url, run(url, wild))}
    assert states == {"diverged"}


def test_a_cell_that_fails_again_and_again_holds_nobody_up(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'hpo.db'}"
    from hpo.workers import worker

    original = worker._train

    def fails(*args: Any) -> None:
        if 0 in args[2].attempts:
            raise ValueError("cell 0 cannot be trained")
        original(*args)

    monkeypatch.setattr(worker, "_train", fails)
    storage = Storage(url)
    outcome = running.run(Order(HALVED, digits()), storage, Story(), lambda: False)
    storage.close()
    assert list(outcome.after.failed) == [Slot(0, 0)]
    assert outcome.n_counted == 9
    assert read(url, lambda c: 0 not in decisions.decided(c, outcome.study.uuid)[1])


@pytest.mark.parametrize("cell", [0, 4, 7])
def test_a_cell_that_is_forgiven_after_the_others_went_on_goes_on_if_it_is_good_enough(
    tmp_path: Any, undisturbed: str, monkeypatch: pytest.MonkeyPatch, cell: int
) -> None:
    url = f"sqlite:///{tmp_path / 'hpo.db'}"
    from hpo.workers import worker

    original = worker._train

    def fails(*args: Any) -> None:
        if cell in args[2].attempts:
            raise ValueError(f"cell {cell} cannot be trained")
        original(*args)

    storage = Storage(url)
    with monkeypatch.context() as patch:
        patch.setattr(worker, "_train", fails)
        study = running.run(Order(HALVED, digits()), storage, Story(), lambda: False).study
    before = {entry["cell"]: entry for entry in entries(url, study)}
    assert retry(study) == 1
    storage.close()

    after = {entry["cell"]: entry for entry in entries(url, run(url))}

    late = after.pop(cell)
    assert after == {c: before[c] for c in before if c != cell}
    tables = read(url, lambda c: decisions.accuracies(c, study.uuid))
    for cycle, n_kept in {1: 5, 2: 3}.items():
        value = late["curve"]["validation"]["accuracy"][20 * cycle - 1]
        others = {c: v for c, v in tables[cycle].items() if c != cell}
        n_ahead = sum(v > value for v in others.values())  # who ties goes on, too
        assert (late["cycles"] > cycle) == (n_ahead < n_kept)
        if late["cycles"] == cycle:
            break
    assert late["cycles"] == {0: 3, 4: 2, 7: 1}[cell]
    whole = json.loads(undisturbed)["trials"][cell]["curve"]["update"]
    assert late["curve"]["update"][:20] == whole[:20]


class Death:
    """The process is gone right after its n-th commit."""

    def __init__(self, n: int) -> None:
        self.n_left = n
        event.listen(Engine, "commit", self._at_commit)

    def _at_commit(self, connection: sa.Connection) -> None:
        self.n_left -= 1
        if self.n_left == 0:
            connection.connection.dbapi_connection.commit()  # type: ignore[union-attr]
            os._exit(9)


def dies(url: str, n: int) -> bool:
    """Run the study in a process that dies after its n-th commit; tell whether it came to that."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(60)
            Death(n)
            run(url)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 9)
    return code == 9


# --- deaths at a rung


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(9, marks=pytest.mark.long, id="sampled"),
        pytest.param(1, marks=pytest.mark.exhaustive, id="all"),
    ],
)
def test_a_death_between_any_two_commits_changes_no_decision(
    tmp_path: Any, undisturbed: str, step: int
) -> None:
    n_deaths = 0
    for n in itertools.count(1, step):
        url = f"sqlite:///{tmp_path / f'{n}.db'}"
        if not dies(url, n):
            break
        n_deaths += 1
        assert exported(url, run(url)) == undisturbed
        assert [f.text for f in doctor.examine(url) if f.is_wrong] == []
    assert n_deaths >= 35 / step


def test_a_death_changes_no_decision_on_postgresql(postgresql_url: str, undisturbed: str) -> None:
    for n in (30, 15):  # around its rungs, each time as it then stands
        assert dies(postgresql_url, n)
    assert exported(postgresql_url, run(postgresql_url)) == undisturbed


# --- Optuna's pruners


def test_planning_again_changes_no_decision(tmp_path: Any, undisturbed: str) -> None:
    url = f"sqlite:///{tmp_path / 'hpo.db'}"
    study = run(url)
    storage = Storage(url)
    again = plan(dataclasses.replace(study, storage=storage))
    storage.close()
    assert again.n_counted == again.n_slots == 10
    assert exported(url, study) == undisturbed
