"""Who is dead is found out, soon and whatever clocks and machines do; who beats is never buried."""

import json
import time
from typing import Any

import pytest

from hpo.commands import running
from hpo.commands.request import Order
from hpo.database import fleet, rows, tables
from hpo.database.fleet import bury, living
from hpo.database.holders import holders
from hpo.database.storage import Storage
from hpo.machine.process import this_worker
from hpo.mirror.study import OpenStudy
from hpo.workers.claims import claim
from hpo.workers.membership import Membership
from hpo.workers.silence import wait_for
from model.data import digits
from tests.hpo import stores
from tests.hpo.workers.lost import (
    ELSEWHERE,
    FOUR,
    OF_OLD,
    SQLITE,
    TWIN,
    YEAR,
    patience,
    put,
    states,
)

pytestmark = [pytest.mark.usefixtures("quick_beats"), pytest.mark.sqlite_first]


BEARABLE = 0.8  #: seconds between beats of a thread that has to come in time on a busy machine


storage = stores.of_each_kind


@pytest.fixture
def study(storage: Storage) -> OpenStudy:
    return running.submit(Order(FOUR, digits()), storage)[0]


def watch(storage: Storage, study: OpenStudy, seconds: float) -> bool:
    """Look at those who hold cells, as a waiting worker does; tell whether some died."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if storage.write(lambda c: holders(c, study.uuid)).some_died:
            return True
        time.sleep(0.02)
    return False


def test_a_killed_process_of_this_machine_is_dead_at_once(
    storage: Storage, study: OpenStudy, killed_process: dict[str, Any]
) -> None:
    put(storage, study, killed_process, silent_for=0.1)

    assert len(storage.write(lambda c: bury(c, study.uuid))) == 2
    assert storage.write(lambda c: bury(c, study.uuid)) == []
    assert states(storage, study)[:2] == [("failed", fleet.DIED)] * 2
    assert storage.write(living) == []


@SQLITE
@pytest.mark.parametrize(
    ("identity", "silent_for", "reason"),
    [
        (TWIN, 0.1, fleet.DIED),  # its process seems gone, if this is not a twin
        (this_worker() | {"ticks": 1}, 0.1, fleet.DIED),  # another process has its id
        (ELSEWHERE, 61.0, fleet.SILENT),
        (ELSEWHERE, 600.1, fleet.SILENT),
        (OF_OLD, YEAR, fleet.SILENT),
        (OF_OLD, 20 * YEAR, fleet.SILENT),
        (ELSEWHERE, -3600.0, fleet.SILENT),  # the clock was set back since
        (ELSEWHERE, -YEAR, fleet.SILENT),
    ],
)
def test_who_seems_dead_is_dead_when_a_beat_is_missed(
    storage: Storage,
    study: OpenStudy,
    identity: dict[str, Any],
    silent_for: float,
    reason: str,
) -> None:
    put(storage, study, identity, silent_for)
    assert storage.write(lambda c: bury(c, study.uuid)) == []  # one look is not enough

    assert watch(storage, study, seconds=20)
    assert len(storage.write(lambda c: bury(c, study.uuid))) == 2
    assert states(storage, study) == [("failed", reason)] * 2 + [("waiting", None)] * 2
    assert storage.write(living) == []


@SQLITE
def test_who_is_not_heard_for_a_whole_grace_is_dead_whatever_the_clock_says(
    storage: Storage, study: OpenStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(storage, study, ELSEWHERE, silent_for=0.0, grace=1.0)
    moment = storage.write(rows.now)
    monkeypatch.setattr(rows, "now", lambda _: moment)  # a clock that stands still
    assert not watch(storage, study, seconds=0.5)
    assert watch(storage, study, seconds=20)


@SQLITE
@pytest.mark.parametrize("silent_for", [0.0, 30.0, 59.0])
def test_who_is_within_its_grace_is_waited_for(
    storage: Storage, study: OpenStudy, silent_for: float
) -> None:
    put(storage, study, ELSEWHERE, silent_for)
    assert not watch(storage, study, seconds=2 * patience())


@pytest.mark.parametrize(
    ("identity", "step"),
    [
        (TWIN, 3600.0),
        (ELSEWHERE, -YEAR),
        pytest.param(TWIN, -YEAR, marks=pytest.mark.long),
        pytest.param(ELSEWHERE, 3600.0, marks=pytest.mark.long),
    ],
)
def test_who_beats_lives_whatever_clocks_and_kernels_say(
    storage: Storage,
    study: OpenStudy,
    monkeypatch: pytest.MonkeyPatch,
    identity: dict[str, Any],
    step: float,
) -> None:
    monkeypatch.setattr(fleet, "BEAT", BEARABLE)
    real = rows.now
    with Membership(storage) as member:
        who = identity | {"id": member.id}
        member.identity = who
        stored = tables.workers.update().values(identity=json.dumps(who))
        storage.write(lambda c: c.execute(stored))
        claim(study, 2, who)
        assert not watch(storage, study, seconds=patience() / 2)
        monkeypatch.setattr(rows, "now", lambda connection: real(connection) + step)
        assert not watch(storage, study, seconds=2 * patience())
        assert storage.write(lambda c: bury(c, study.uuid)) == []
        assert [worker.id for worker in storage.write(living)] == [member.id]


@SQLITE
def test_time_in_which_nobody_looked_is_no_silence(
    storage: Storage, study: OpenStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a sleep of the whole machine, or of all its containers."""
    monkeypatch.setattr(fleet, "BEAT", 2.0)
    put(storage, study, ELSEWHERE, silent_for=61.0)
    storage.write(lambda c: holders(c, study.uuid))
    awake = time.monotonic
    monkeypatch.setattr("hpo.machine.sightings.time.monotonic", lambda: awake() + 8 * 3600)
    assert not storage.write(lambda c: holders(c, study.uuid)).some_died


def test_who_was_swept_and_wakes_keeps_what_it_claims(
    storage: Storage, study: OpenStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "BEAT", BEARABLE)
    with Membership(storage) as member:
        storage.write(lambda c: c.execute(tables.workers.delete()))
        claim(study, 2, member.identity)
        assert not watch(storage, study, seconds=2 * patience())
    # What is held by somebody of whom there is no row comes back.
    storage.write(lambda c: c.execute(tables.workers.delete()))
    assert watch(storage, study, seconds=20)


def test_rows_that_nobody_needs_are_swept(storage: Storage, study: OpenStudy) -> None:
    with Membership(storage):
        pass  # left
    put(storage, study, ELSEWHERE | {"pid": 1}, silent_for=61.0, n_held=0)
    put(storage, study, ELSEWHERE | {"pid": 2}, silent_for=30.0, n_held=0)
    put(storage, study, OF_OLD | {"pid": 3}, silent_for=YEAR, n_held=1)

    storage.write(fleet.sweep)
    assert [worker.identity["pid"] for worker in storage.write(living)] == [3, 2]  # 3 holds a cell
    assert watch(storage, study, seconds=20)
    storage.write(lambda c: bury(c, study.uuid))
    assert [worker.identity["pid"] for worker in storage.write(living)] == [2]


@SQLITE
@pytest.mark.parametrize("damage", ["nothing", "[]", "{}", '{"pid": "x"}', ""])
def test_a_row_of_a_worker_that_nobody_can_read_is_judged_by_its_silence(
    storage: Storage, study: OpenStudy, damage: str
) -> None:
    put(storage, study, ELSEWHERE, silent_for=0.0, n_held=1)
    broken = tables.workers.update().values(identity=damage)
    storage.write(lambda c: c.execute(broken))
    assert storage.write(living)[0].is_alive
    wait_for(storage.write(living)[0])
    storage.write(lambda c: c.execute(tables.workers.update().values(heartbeat_at=1.0)))
    assert watch(storage, study, seconds=20)


def test_who_dies_notes_how_far_its_cell_was(
    storage: Storage, study: OpenStudy, killed_process: dict[str, Any]
) -> None:
    put(storage, study, killed_process, silent_for=0.0, n_held=1)
    content = {"sha256": "", "content": b"", "study": study.uuid, "cell": 0, "replicate": 0}
    row = tables.checkpoints.insert().values(content | {"n_updates": 20})
    storage.write(lambda c: c.execute(row))
    storage.write(lambda c: bury(c, study.uuid))
    found = storage.write(lambda c: rows.attempts_of(c, study.uuid, states=["failed"]))
    assert [attempt.saved for attempt in found] == [20]
