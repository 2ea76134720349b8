"""A worker trains what is claimed, writes nothing that it lost, and goes on with what was left."""

import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from hpo.commands import joining, running
from hpo.commands.doctor import examine
from hpo.commands.request import Order
from hpo.database import outcomes, rows, tables
from hpo.database.storage import Storage
from hpo.errors import StudyDeleted
from hpo.experiment.records import Slot
from hpo.machine.process import this_worker
from hpo.mirror import deleting
from hpo.planning.plan import plan
from hpo.testing import Recorder
from hpo.training.phases import Phases
from hpo.training.trainer import Trainer
from hpo.views.story import Story
from hpo.workers import worker
from hpo.workers.claims import claim, resume
from hpo.workers.gauge import Gauge
from hpo.workers.membership import Membership
from hpo.workers.worker import work
from model.data import digits
from tests.hpo.reading import exported
from tests.hpo.small_grid import SMALL, RunGrid, created, opened, run
from tests.hpo.small_search import JOINT, RunSearch, Watcher, exported_search, opened_search


def test_a_cell_that_was_lost_at_its_end_takes_nothing_from_the_others(
    storage: Storage, undisturbed_search: str, run_search: RunSearch
) -> None:
    running.submit(Order(JOINT, digits()), storage)
    made = opened_search(storage)
    held = claim(made, 16, this_worker())
    assert held is not None
    lengths = {cell: made.experiment.recipe(cell).n_updates for cell in held.attempts}
    lost = min(lengths, key=lambda cell: (lengths[cell], cell))
    slot = held.attempts[lost].slot
    take = (
        tables.attempts.update()
        .where(rows.at(tables.attempts, made.uuid, slot))
        .values(state="waiting", token=None)
    )
    storage.write(lambda connection: connection.execute(take))
    watcher, told = Watcher(), []
    watcher.warn = told.append  # type: ignore[method-assign]
    resume(made, held, watcher)

    one_trainer = Trainer(made.experiment, digits())
    worker._train(made, one_trainer, held, watcher, watcher.stop, Membership(storage), Phases(0.0))

    (warning,) = told
    assert warning.startswith(f"Cells [{lost}] were given to another worker")
    assert {s.cell for s in watcher.results} == set(lengths) - {lost}
    run_search()
    assert exported_search(storage) == undisturbed_search


def test_a_search_that_is_deleted_while_it_runs_is_not_trained_again(
    storage: Storage, run_search: RunSearch
) -> None:
    class Deleter(Watcher):
        def advanced(self, slot: Slot, n_updates: int, accuracy: float) -> None:
            super().advanced(slot, n_updates, accuracy)
            if self.n_points == 50:
                deleting.delete(storage, "mine-digits")

        def warn(self, text: str) -> None: ...

    with pytest.raises(StudyDeleted, match="'mine-digits' was deleted while"):
        run_search(watcher=Deleter())

    assert storage.write(lambda c: c.execute(tables.attempts.select()).all()) == []


def test_what_was_proposed_and_never_planned_is_found_by_a_worker(
    storage: Storage, undisturbed_search: str
) -> None:
    running.submit(Order(JOINT, digits()), storage)
    made = opened_search(storage)
    forget = tables.attempts.delete().where(tables.attempts.c.study == made.uuid)
    storage.write(lambda connection: connection.execute(forget))  # killed between two commits

    joining.join(storage, digits(), [], Story(), lambda: False, watch=False, grace=60)

    assert exported_search(storage) == undisturbed_search


def test_a_worker_goes_on_with_a_search_that_was_left_between_two_generations(
    storage: Storage, undisturbed_search: str
) -> None:
    running.submit(Order(JOINT, digits()), storage)
    made, watcher = opened_search(storage), Watcher()
    while held := claim(made, 16, this_worker()):
        resume(made, held, watcher)
        one_trainer = Trainer(made.experiment, digits())
        worker._train(
            made, one_trainer, held, watcher, watcher.stop, Membership(storage), Phases(0.0)
        )
    assert opened_search(storage).experiment == made.experiment  # nothing is running or waiting now

    joining.join(storage, digits(), [], Story(), lambda: False, watch=False, grace=60)

    assert exported_search(storage) == undisturbed_search


# --- plans, claims and the record


def test_a_worker_that_lost_its_claim_writes_nothing(storage: Storage) -> None:
    made = created(storage)
    plan(made)

    class Thief(Recorder):
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
    with Membership(storage) as member:
        work(made, Trainer(made.experiment, digits()), watcher, watcher.stop, member)

    assert watcher.results == {}
    assert "given to another worker" in watcher.warnings[0]
    assert storage.write(lambda c: outcomes.results_of(c, made.uuid)) == []
    assert storage.write(lambda c: outcomes.curves_of(c, made.uuid)) == {}


# --- the sampler, for a user's own objective


def test_a_run_is_quick_to_find_that_nothing_is_left(storage: Storage, run_grid: RunGrid) -> None:
    run_grid()
    watcher = Recorder()
    began = time.monotonic()
    with Membership(storage) as member:
        trainer = Trainer(opened(storage).experiment, digits())
        work(opened(storage), trainer, watcher, watcher.stop, member)
    assert watcher.n_points == 0
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("stop_after", [6, 10, 50])
def test_who_is_told_to_stop_saves_the_last_log_point_and_the_bits_stay(
    storage: Storage, run_grid: RunGrid, tmp_path: Path, stop_after: int
) -> None:
    told: dict[int, int] = {}

    class Watching(Recorder):
        def advanced(self, slot: Slot, n_updates: int, accuracy: float) -> None:
            super().advanced(slot, n_updates, accuracy)
            told[slot.cell] = n_updates

    study = run_grid(watcher=Watching(stop_after=stop_after)).study
    saved = sa.select(tables.checkpoints.c.cell, sa.func.max(tables.checkpoints.c.n_updates))
    reached = storage.read(lambda c: c.execute(saved.group_by(tables.checkpoints.c.cell)).all())
    assert dict(map(tuple, reached)) == told
    assert any(n_updates % (2 * SMALL.n_s) for n_updates in told.values())

    run_grid()
    with Storage(f"sqlite:///{tmp_path / 'other.db'}") as other:
        assert exported(storage, study) == exported(other, run(other).study)
    assert [f.text for f in examine(storage.url) if f.is_wrong] == []


def test_a_log_point_that_is_far_away_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "TO_A_LOG_POINT", 0.2)
    is_told = False
    patience = worker._Patience(lambda: is_told, Gauge())
    time.sleep(0.3)
    assert not patience()
    is_told = True
    assert not patience()
    time.sleep(0.3)
    assert patience()
