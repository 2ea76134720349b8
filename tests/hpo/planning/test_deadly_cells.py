"""A cell whose workers die again and again goes alone in the end, and is then left."""

from collections.abc import Callable

import pytest

from hpo.commands import running
from hpo.commands.request import Order
from hpo.database import fleet, rows, tables
from hpo.database.storage import Storage
from hpo.mirror.study import OpenStudy
from hpo.planning.plan import ALONE_AFTER, plan, retry
from hpo.testing import Recorder
from model.data import digits
from tests.hpo import stores
from tests.hpo.workers.lost import FOUR, SQLITE

pytestmark = pytest.mark.usefixtures("quick_beats")


storage = stores.of_each_kind


@pytest.fixture
def study(storage: Storage) -> OpenStudy:
    return running.submit(Order(FOUR, digits()), storage)[0]


def die(storage: Storage, study: OpenStudy, cell: int, times: int, saved: int) -> None:
    """Let workers die at a cell so many times, and plan it again each time."""
    this = (tables.attempts.c.cell == cell) & (tables.attempts.c.state == "waiting")
    values = {"state": "failed", "reason": fleet.DIED, "saved": saved, "in_optuna": False}
    for _ in range(times):
        storage.write(lambda c: c.execute(tables.attempts.update().where(this).values(values)))
        plan(study)


@pytest.fixture
def run(storage: Storage) -> Callable[[], running.Outcome]:
    return lambda: running.run(Order(FOUR, digits()), storage, Recorder(), lambda: False)


def test_a_cell_whose_workers_died_ten_times_is_left_until_it_is_forgiven(
    storage: Storage, study: OpenStudy, run: Callable[[], running.Outcome]
) -> None:
    die(storage, study, cell=1, times=10, saved=20)

    outcome = run()
    assert (outcome.n_counted, outcome.n_missing) == (3, 1)
    (reason,) = outcome.after.failed.values()
    assert reason == "its process died 10 times before it got further"

    assert retry(study) == 1
    assert run().n_missing == 0


@SQLITE
def test_deaths_after_progress_are_counted_anew(
    storage: Storage, study: OpenStudy, run: Callable[[], running.Outcome]
) -> None:
    for saved in (0, 20, 40):
        die(storage, study, cell=1, times=9, saved=saved)
    assert run().n_missing == 0


@SQLITE
def test_a_cell_that_kills_its_workers_goes_alone_in_the_end(
    storage: Storage, study: OpenStudy
) -> None:
    die(storage, study, cell=1, times=ALONE_AFTER, saved=0)
    waiting = storage.write(lambda c: rows.attempts_of(c, study.uuid, states=["waiting"]))
    assert [attempt.alone for attempt in waiting] == [False, True, False, False]
