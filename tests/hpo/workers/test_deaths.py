"""Who is dead is found out, soon and whatever clocks and machines do; who beats is never buried."""

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hpo.commands import doctor, running
from hpo.commands.request import Order
from hpo.database import fleet, rows, tables
from hpo.database.fleet import bury, holders, living
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.definition.study import StudyDefinition
from hpo.machine.process import this_worker
from hpo.mirror.study import OpenStudy
from hpo.planning.plan import ALONE_AFTER, plan, retry
from hpo.training.trainer import Trainer
from hpo.views.story import Story
from hpo.workers.claims import claim
from hpo.workers.membership import Membership
from hpo.workers.silence import wait_for
from hpo.workers.worker import work
from model.data import digits

pytestmark = pytest.mark.usefixtures("quick_beats")
SQLITE = pytest.mark.parametrize("url", ["sqlite"], indirect=True)  # what no database decides

FOUR = StudyDefinition(
    name="four", grid=Values((1e-4, 1e-3, 1e-2, 1e-1)), n_s=10, n_cycles=2, batch_size=100
)
YEAR = 365 * 86400.0
BEARABLE = 0.3  #: seconds between beats of a thread that has to come in time on a busy machine
#: What one process may know of another: everything equal, as on a cloned machine, but for its id.
TWIN = this_worker() | {"pid": 2**22 + 7}
ELSEWHERE = TWIN | {"boot": "of another machine", "host": "far-away"}
OF_OLD = {  # as schema 3 had it
    "host": "vm",
    "boot": "166eea19",
    "pid_namespace": "pid:[4026531836]",
    "pid": 2224,
    "started": 1795716194.6,
}


@pytest.fixture
def storage(url: str) -> Iterator[Storage]:
    opened = Storage(url)
    yield opened
    opened.close()


@pytest.fixture
def study(storage: Storage) -> OpenStudy:
    return running.submit(Order(FOUR, digits()), storage)[0]


def put(
    storage: Storage,
    study: OpenStudy,
    identity: dict[str, Any],
    silent_for: float,
    grace: float = 60.0,
    n_held: int = 2,
) -> None:
    """Let a worker be in the database that was last heard so long ago and holds some cells."""
    who = identity | {"id": f"worker {identity['pid']}"}

    def insert(connection: Any) -> None:
        beat = rows.now(connection) - silent_for
        values = {"id": who["id"], "identity": json.dumps(who), "started_at": beat}
        values |= {"heartbeat_at": beat, "grace": grace}
        connection.execute(tables.workers.insert().values(values))

    storage.write(insert)
    if n_held:
        claim(study, n_held, who)


def states(storage: Storage, study: OpenStudy) -> list[tuple[str, str | None]]:
    found = storage.write(lambda c: rows.attempts_of(c, study.uuid))
    return [(attempt.state, attempt.reason) for attempt in found]


def watch(storage: Storage, study: OpenStudy, seconds: float) -> bool:
    """Look at those who hold cells, as a waiting worker does; tell whether some died."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if storage.write(lambda c: holders(c, study.uuid)).some_died:
            return True
        time.sleep(0.02)
    return False


def patience() -> float:
    return fleet.patience_of(fleet.GRACE)


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


# --- doctor


@SQLITE
@pytest.mark.parametrize("identity", [TWIN, ELSEWHERE, OF_OLD])
@pytest.mark.parametrize("silent_for", [700.0, YEAR, -7200.0])
def test_doctor_finds_nothing_wrong_with_a_dead_worker_that_holds_nothing(
    storage: Storage, study: OpenStudy, url: str, identity: dict[str, Any], silent_for: float
) -> None:
    put(storage, study, identity, silent_for, n_held=0)
    assert [f.text for f in doctor.examine(url) if f.is_wrong] == []


@SQLITE
@pytest.mark.parametrize("identity", [TWIN, OF_OLD])
def test_doctor_frees_what_a_dead_worker_of_whichever_machine_holds(
    storage: Storage, study: OpenStudy, url: str, identity: dict[str, Any]
) -> None:
    put(storage, study, identity, silent_for=YEAR)
    found = [f.text for f in doctor.examine(url) if f.is_wrong]
    assert found == ["1 workers died without leaving."]

    assert [f.text for f in doctor.examine(url, repair=True) if f.is_open] == []
    assert [f.text for f in doctor.examine(url) if f.is_wrong] == []
    assert storage.write(living) == []
    assert "running" not in dict(states(storage, study))


def test_doctor_finds_nothing_wrong_with_a_worker_that_beats_after_a_step_of_the_clock(
    storage: Storage, study: OpenStudy, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = rows.now
    monkeypatch.setattr(fleet, "BEAT", 0.3)
    with Membership(storage) as member:
        claim(study, 2, member.identity)
        monkeypatch.setattr(rows, "now", lambda connection: real(connection) + 3600)
        assert [f.text for f in doctor.examine(url) if f.is_wrong] == []


# --- waiting


class Told(Story):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@SQLITE
@pytest.mark.parametrize(
    ("identity", "silent_for", "until"),
    [
        (ELSEWHERE, 20.0, r"at [\d :-]+\."),
        (ELSEWHERE, 600.0, r"in \d+ s\."),
        (TWIN, 1.0, r"in \d+ s\."),
        (OF_OLD, YEAR, r"in \d+ s\."),
    ],
)
def test_a_worker_says_once_for_whom_it_waits_since_when_and_until_when(
    storage: Storage,
    study: OpenStudy,
    identity: dict[str, Any],
    silent_for: float,
    until: str,
) -> None:
    put(storage, study, identity, silent_for, n_held=4)
    told = Told()
    over = threading.Timer(patience() / 2 + 0.3, lambda: None)
    over.start()
    trainer = Trainer(study.experiment, digits())
    with Membership(storage) as member:
        work(study, trainer, told, lambda: not over.is_alive(), member.identity)

    (sentence,) = [text for text in told.warnings if text.startswith("Waiting")]
    who = rf"worker {identity['pid']} on {identity['host']}"
    since = r"silent since [\d :-]+\. Unless it is heard again, its cells are taken over "
    assert re.fullmatch(f"Waiting for {who}, {since}{until}", sentence)


# --- how often


def die(storage: Storage, study: OpenStudy, cell: int, times: int, saved: int) -> None:
    """Let workers die at a cell so many times, and plan it again each time."""
    this = (tables.attempts.c.cell == cell) & (tables.attempts.c.state == "waiting")
    values = {"state": "failed", "reason": fleet.DIED, "saved": saved, "in_optuna": False}
    for _ in range(times):
        storage.write(lambda c: c.execute(tables.attempts.update().where(this).values(values)))
        plan(study)


@pytest.fixture
def run(storage: Storage) -> Callable[[], running.Outcome]:
    return lambda: running.run(Order(FOUR, digits()), storage, Told(), lambda: False)


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


@SQLITE
def test_a_cell_that_kills_its_workers_goes_alone_in_the_end(
    storage: Storage, study: OpenStudy
) -> None:
    die(storage, study, cell=1, times=ALONE_AFTER, saved=0)
    waiting = storage.write(lambda c: rows.attempts_of(c, study.uuid, states=["waiting"]))
    assert [attempt.alone for attempt in waiting] == [False, True, False, False]


def test_the_identity_of_a_fork_is_its_own() -> None:
    here = this_worker()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, json.dumps(this_worker()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    there = json.loads(os.read(read, 4096))
    assert there["pid"] == child
    assert there["mark"] != here["mark"]
