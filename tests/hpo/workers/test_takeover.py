"""Who is far slower than the others, or does not move, loses its cells to who is idle; bits stay."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from hpo.commands import running
from hpo.commands.doctor import examine
from hpo.commands.request import Order
from hpo.database import outcomes, rows, tables
from hpo.database.holders import Held, holders
from hpo.database.storage import Storage
from hpo.experiment.records import Slot, State
from hpo.mirror.study import OpenStudy
from hpo.testing import Recorder, until
from hpo.training.trainer import Trainer
from hpo.workers import takeover
from hpo.workers.claims import Claim, claim
from hpo.workers.gauge import EVIDENCE, Gauge
from hpo.workers.membership import Membership
from hpo.workers.worker import work
from model.data import digits
from tests.hpo import stores
from tests.hpo.reading import exported
from tests.hpo.small_grid import SMALL, run

pytestmark = [pytest.mark.usefixtures("quick_beats"), pytest.mark.sqlite_first]
storage = stores.of_each_kind


@pytest.fixture
def study(storage: Storage) -> OpenStudy:
    return running.submit(Order(SMALL, digits()), storage)[0]


@pytest.fixture
def held(storage: Storage, study: OpenStudy) -> Iterator[Claim]:
    """A claim of a worker that seems to train it."""
    member = Membership(storage)
    member._thread = threading.Thread()  # whose heart a test plays
    member._thread.join = lambda timeout=None: None  # type: ignore[method-assign]
    member._thread.start = lambda: None  # type: ignore[method-assign]
    with member:
        found = claim(study, 4, member.identity)
        assert found is not None
        yield found


def seen(storage: Storage, study: OpenStudy, **told: float) -> list[Held]:
    """Let the only worker say how it gets on, and look at it."""
    storage.write(lambda c: c.execute(tables.workers.update().values(**told)))
    return storage.read(lambda c: holders(c, study.uuid)).claims


def waiting(storage: Storage, study: OpenStudy) -> int:
    return len(storage.read(lambda c: rows.attempts_of(c, study.uuid, states=[State.WAITING])))


def test_cells_of_a_worker_that_is_far_slower_wait_again(
    storage: Storage, study: OpenStudy, held: Claim
) -> None:
    found = seen(storage, study, pace=1.0, work_left=320.0)

    (line,) = takeover.from_slow(study, found, pace=0.01)

    assert "is far slower than the others; its cells 0, 1, 2, 3 go on elsewhere" in line
    assert waiting(storage, study) == 4
    assert [finding.text for finding in examine(storage.url) if finding.is_wrong] == []


@pytest.mark.parametrize(
    ("told", "pace"),
    [
        ({"pace": 1.0, "work_left": 320.0}, 0.5),  # not so much slower
        ({"pace": 1.0, "work_left": 320.0}, None),  # nobody knows what is slow
        ({"pace": 1.0, "work_left": 4.0}, 0.1),  # done before others were
        ({"pace": 0.0, "work_left": 320.0}, 0.01),  # tells nothing of itself
        ({"work_left": 320.0}, 0.01),
        ({"pace": -1.0, "work_left": 320.0}, 0.01),
    ],
)
def test_who_is_as_fast_as_others_or_nearly_done_keeps_its_cells(
    storage: Storage, study: OpenStudy, held: Claim, told: dict[str, float], pace: float | None
) -> None:
    assert takeover.from_slow(study, seen(storage, study, **told), pace) == []
    assert waiting(storage, study) == 0


def test_a_training_that_hangs_loses_its_cells_although_its_heart_beats(
    storage: Storage, study: OpenStudy, held: Claim
) -> None:
    moment = storage.read(rows.now)
    assert takeover.from_slow(study, seen(storage, study, moved_at=moment - 50), 0.01) == []

    (line,) = takeover.from_slow(study, seen(storage, study, moved_at=moment - 61), None)

    assert "has not moved for 61 s" in line
    assert waiting(storage, study) == 4


class Slow(Recorder):
    """Takes its time at every log point."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def advanced(self, slot: Slot, n_updates: int, accuracy: float) -> None:
        super().advanced(slot, n_updates, accuracy)
        time.sleep(self._seconds)


def trained(url: str, study: OpenStudy, told: Recorder, began: threading.Event) -> None:
    """Work for a study as a process of its own would."""
    with Storage(url) as own, Membership(own) as member:
        real = told.claimed

        def claimed(*what: Any) -> None:
            real(*what)
            began.set()

        told.claimed = claimed  # type: ignore[method-assign]
        of_own = replace(study, storage=own)
        work(of_own, Trainer(study.experiment, digits()), told, told.stop, member)


@pytest.mark.long
def test_a_study_with_a_slow_worker_is_done_by_others_and_has_the_same_bits(
    storage: Storage, study: OpenStudy, url: str, tmp_path: Any
) -> None:
    slow, quick, began = Slow(0.5), Slow(0.02), threading.Event()
    thread = threading.Thread(target=trained, args=(url, study, slow, began))
    thread.start()
    began.wait(30)
    time.sleep(2 * EVIDENCE)
    known = Gauge()
    known._pace = 1e-4

    def took() -> bool:
        claims = storage.read(lambda c: holders(c, study.uuid)).claims
        return bool(takeover.from_slow(study, claims, known.pace))

    until(took)
    trained(url, study, quick, threading.Event())
    thread.join(60)

    results = storage.read(lambda c: outcomes.results_of(c, study.uuid))
    assert len(results) == 4
    assert len(quick.results) >= 1
    assert [finding.text for finding in examine(storage.url) if finding.is_wrong] == []
    with Storage(f"sqlite:///{tmp_path / 'other.db'}") as other:
        assert exported(storage, study) == exported(other, run(other).study)


@pytest.mark.long
def test_a_holder_shares_at_a_log_point_within_a_cycle(
    storage: Storage, url: str, tmp_path: Any
) -> None:
    one_cycle = replace(SMALL, n_cycles=1)
    study = running.submit(Order(one_cycle, digits()), storage)[0]
    first, second, began = Slow(0.1), Slow(0.0), threading.Event()
    thread = threading.Thread(target=trained, args=(url, study, first, began))
    thread.start()
    began.wait(30)

    trained(url, study, second, threading.Event())
    thread.join(60)

    assert set(first.results) | set(second.results) == {Slot(cell, 0) for cell in range(4)}
    assert first.results
    assert second.results
    assert second.n_points < 20 * len(second.results)  # which go on from where they were
    with Storage(f"sqlite:///{tmp_path / 'other.db'}") as other:
        assert exported(storage, study) == exported(other, run(other, one_cycle).study)


def test_a_worker_learns_from_its_heart_that_its_cells_went_elsewhere(
    storage: Storage, study: OpenStudy
) -> None:
    told = Slow(0.05)
    taken: list[float] = []

    def take() -> None:
        away = {"token": "another", "worker_id": "another", "worker": '{"id": "another"}'}
        storage.write(lambda c: c.execute(tables.attempts.update().values(**away)))
        taken.append(time.monotonic())

    told.at, told.act = 8, take

    def stop() -> bool:
        return bool(taken) and time.monotonic() - taken[0] > 20

    with Storage(storage.url) as own, Membership(own) as member:
        trainer = Trainer(study.experiment, digits())
        thread = threading.Thread(
            target=work, args=(replace(study, storage=own), trainer, told, stop, member)
        )
        thread.start()
        until(lambda: bool(taken))
        until(lambda: member.gauge.token is None)
        assert told.n_points < 4 * 40  # it did not train to the end of what is not its own
        gone = sa.update(tables.attempts).values(state="ended")
        storage.write(lambda c: c.execute(gone))
        taken[0] -= 20
        thread.join(30)
    assert told.results == {}


def test_a_gauge_tells_the_time_of_an_update(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    gauge = Gauge()
    gauge.begin("a claim", 4, 400)
    assert (gauge.pace, gauge.work_left) == (None, 400)
    for _ in range(10):
        clock[0] += 0.2
        gauge.step()
    assert gauge.pace == pytest.approx(2.0 / 40)
    assert gauge.work_left == 360
    gauge.reached(40, 2, 180)
    assert (gauge.pace, gauge.work_left) == (pytest.approx(2.0 / 40), 180)
    gauge.end()
    assert (gauge.pace, gauge.work_left) == (pytest.approx(2.0 / 40), 0)
    gauge.turn()
    assert gauge.pace is None
