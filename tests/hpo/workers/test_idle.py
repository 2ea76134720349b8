"""Who waits reads and does not write; who is over leaves no row that nobody needs."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

import hpo
from hpo.commands import running
from hpo.commands.request import Order
from hpo.database import housekeeping, idle, rows, tables
from hpo.database.leases import ABANDONED, held
from hpo.database.storage import Storage
from hpo.experiment.records import Attempt
from hpo.machine.process import this_worker
from hpo.mirror import deleting
from hpo.mirror.study import OpenStudy
from hpo.training.progress import Silent
from hpo.training.trainer import Trainer
from hpo.workers.claims import claim
from hpo.workers.membership import Membership
from hpo.workers.worker import work
from model.data import digits

pytestmark = pytest.mark.sqlite_first

TWO = hpo.StudyDefinition(name="two", grid=hpo.Values((1e-3, 1e-2)), n_s=5, n_cycles=2)
ELSEWHERE = this_worker() | {"pid": 2**22 + 7, "boot": "of another machine", "host": "far-away"}
Statements = Callable[..., Any]


@pytest.fixture
def storage(url: str) -> Iterator[Storage]:
    opened = Storage(url)
    yield opened
    opened.close()


@pytest.fixture
def study(storage: Storage) -> OpenStudy:
    return running.submit(Order(TWO, digits()), storage)[0]


def insert(storage: Storage, identity: dict[str, Any], silent_for: float, name: str) -> str:
    """Let a worker be in the database that was last heard so long ago, idle and with a lease."""
    worker = f"worker {name}"

    def action(connection: Connection) -> None:
        beat = rows.now(connection) - silent_for
        who = json.dumps(identity | {"id": worker})
        values = {"id": worker, "identity": who, "started_at": beat, "heartbeat_at": beat}
        connection.execute(tables.workers.insert().values(grace=60.0, **values))
        lease = {"token": f"token {name}", "holder": json.dumps(identity), "expires_at": beat + 60}
        connection.execute(tables.leases.insert().values(name=f"plan {name}", **lease))
        idle.say_idle(connection, "a study", worker)

    storage.write(action)
    return worker


def left(storage: Storage) -> list[str]:
    """Return the rows of workers and leases, by name."""
    names = sa.union_all(sa.select(tables.workers.c.id), sa.select(tables.leases.c.name))
    return sorted(storage.read(lambda c: c.execute(names).scalars().all()))


def wait(url: str, study: OpenStudy, member: Membership, until: Callable[[], bool]) -> None:
    """Work for a study in which nothing waits."""
    storage = Storage(url)
    study = replace(study, storage=storage)
    trainer = Trainer(study.experiment, digits())
    work(study, trainer, Silent(), until, member)
    storage.close()


def n_idle(storage: Storage, study: OpenStudy) -> int:
    return storage.read(lambda c: idle.n_idle(c, study.uuid))


# --- waiting


def test_a_waiting_worker_only_looks(
    storage: Storage, study: OpenStudy, url: str, statements: Statements
) -> None:
    with Storage(url) as of_idle, Membership(storage) as busy, Membership(storage) as member:
        claim(study, 2, busy.identity)
        trainer = Trainer(study.experiment, digits())
        over = threading.Event()
        threading.Timer(3.0, over.set).start()
        with statements(of_idle.engine) as found:
            work(replace(study, storage=of_idle), trainer, Silent(), over.is_set, member)
    reads = [text for text in found if text.startswith("SELECT")]
    assert len(reads) >= 10
    assert found.count("COMMIT") == 3  # it finds nothing to claim, says so once, and takes it back
    tail = [text for text in found[-21:-1] if not text.startswith(("BEGIN", "select set_config"))]
    is_look = ["hpo_workers.idle_at" in text for text in tail if text.startswith("SELECT")]
    assert is_look[:6] in ([True, False] * 3, [False, True] * 3)  # two statements a look


def test_an_idle_worker_is_known_while_its_heart_beats(
    storage: Storage, study: OpenStudy, url: str
) -> None:
    with Membership(storage) as busy, Membership(storage) as member:
        claim(study, 2, busy.identity)
        over = threading.Event()
        thread = threading.Thread(target=wait, args=(url, study, member, over.is_set))
        thread.start()
        soon(lambda: n_idle(storage, study) == 1)

        forgotten = tables.workers.update().values(idle_at=None)  # as when it was silent for long
        storage.write(lambda c: c.execute(forgotten))
        soon(lambda: n_idle(storage, study) == 1)

        assert storage.write(lambda c: n_idle_after_silence(c, study)) == 0
        over.set()
        thread.join()
    assert left(storage) == [busy.id]  # which gave back nothing of what it holds


def n_idle_after_silence(connection: Connection, study: OpenStudy) -> int:
    connection.execute(tables.workers.update().values(heartbeat_at=1.0))
    return idle.n_idle(connection, study.uuid)


def soon(happens: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.02)


# --- what is left


@pytest.mark.parametrize("workers", [1, 2])
def test_a_finished_run_leaves_no_rows_of_workers_and_leases(url: str, workers: int) -> None:
    hpo.run(TWO, data="digits", storage=url, workers=workers)
    with Storage(url) as storage:
        assert left(storage) == []


def test_the_next_run_removes_what_dead_workers_left(
    storage: Storage, url: str, killed_process: dict[str, Any]
) -> None:
    insert(storage, killed_process, 1.0, "killed")
    insert(storage, ELSEWHERE, ABANDONED + 100, "silent for days")
    living = insert(storage, ELSEWHERE, 0.0, "living")

    hpo.run(TWO, data="digits", storage=url)
    assert left(storage) == ["plan living", living]


def test_a_run_after_one_that_was_killed_leaves_nothing(storage: Storage, url: str) -> None:
    endless = hpo.StudyDefinition(name="endless", grid=hpo.Values((1e-3, 1e-2)), n_s=5, n_cycles=1)
    study, _ = running.submit(Order(endless, digits()), storage)
    child = os.fork()
    if child == 0:  # pragma: no cover - ended by a signal
        os._exit(asleep_with_a_claim(url, study))
    soon(lambda: bool(claimed(storage, study)))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert len(left(storage)) == 1

    hpo.run(endless, data="digits", storage=url)
    assert left(storage) == []


def asleep_with_a_claim(url: str, study: OpenStudy) -> int:
    storage = Storage(url)  # the parent's connections are the parent's
    with Membership(storage) as member:
        claim(replace(study, storage=storage), 2, member.identity)
        time.sleep(60)
    return 1


def claimed(storage: Storage, study: OpenStudy) -> list[Attempt]:
    return storage.read(lambda c: rows.attempts_of(c, study.uuid, states=["running"]))


def test_deleting_a_study_removes_the_dead_workers_that_held_it(
    storage: Storage, study: OpenStudy, killed_process: dict[str, Any]
) -> None:
    worker = insert(storage, killed_process, 1.0, "killed")
    claim(study, 2, killed_process | {"id": worker})
    storage.write(housekeeping.sweep)
    assert left(storage) == [worker]  # because it holds cells

    deleting.delete(storage, study.stored.name)
    assert left(storage) == []


def test_sweeping_beside_the_living_takes_nothing_of_theirs(
    storage: Storage, study: OpenStudy
) -> None:
    with Membership(storage) as member, held(storage, "plan something"):
        storage.write(lambda c: idle.say_idle(c, study.uuid, member.id))
        before = left(storage)
        storage.write(housekeeping.sweep)
        assert left(storage) == before
        assert len(before) == 2
