"""One lease has one holder at a time, and a dead or silent one does not keep it."""

import itertools
import json
import subprocess
import sys
import threading
import time

import pytest
import sqlalchemy as sa

from hpo.database import fleet, leases, rows, tables
from hpo.database.leases import held
from hpo.database.storage import Interrupted, Storage
from hpo.machine.process import this_worker
from tests.hpo import stores

pytestmark = pytest.mark.sqlite_first

NAME = "plan a study"


storage = stores.of_each_kind


def put(storage: Storage, holder: dict[str, object], expires_in: float) -> None:
    """Let somebody hold the lease."""

    def insert(connection: sa.Connection) -> None:
        expiry = rows.now(connection) + expires_in
        values = {"name": NAME, "token": "theirs", "expires_at": expiry}
        connection.execute(tables.leases.insert().values(**values, holder=json.dumps(holder)))

    storage.write(insert)


def present(storage: Storage) -> list[str]:
    query = sa.select(tables.leases.c.name)
    return list(storage.write(lambda connection: connection.execute(query).scalars().all()))


def elsewhere() -> dict[str, object]:
    """Return a holder of whom this host knows nothing."""
    return this_worker() | {"boot": "another machine"}


class Counter:
    """Notices when two are in the block at once."""

    def __init__(self) -> None:
        self.inside = self.most = self.n_entries = 0
        self.guard = threading.Lock()

    def __enter__(self) -> None:
        with self.guard:
            self.inside += 1
            self.n_entries += 1
            self.most = max(self.most, self.inside)
        time.sleep(0.01)

    def __exit__(self, *_: object) -> None:
        with self.guard:
            self.inside -= 1


def test_two_threads_are_never_inside_at_once(url: str) -> None:
    counter = Counter()
    errors: list[BaseException] = []

    def enter() -> None:
        storage = Storage(url)
        try:
            for _ in range(5):
                with held(storage, NAME), counter:
                    pass
        except BaseException as error:
            errors.append(error)
        finally:
            storage.close()

    Storage(url).close()
    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert errors == []
    assert (counter.most, counter.n_entries) == (1, 20)


def test_two_leases_do_not_wait_for_each_other(storage: Storage) -> None:
    with held(storage, NAME), held(storage, "another"):
        assert sorted(present(storage)) == ["another", NAME]
    assert present(storage) == []


PROCESS = """
import sys, time
from hpo.database.leases import held
from hpo.database.storage import Storage
storage = Storage(sys.argv[1])
for _ in range(5):
    with held(storage, "plan a study"):
        began = time.time()
        time.sleep(0.02)
        print(began, time.time(), flush=True)
storage.close()
"""


def test_two_processes_are_never_inside_at_once(url: str) -> None:
    Storage(url).close()
    processes = [
        subprocess.Popen([sys.executable, "-c", PROCESS, url], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    told = [process.communicate(timeout=60)[0] for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0]
    times = sorted(tuple(map(float, line.split())) for text in told for line in text.splitlines())
    assert len(times) == 15
    for (_, end), (begin, _) in itertools.pairwise(times):
        assert end <= begin


def test_a_lease_is_given_back_also_after_an_error(storage: Storage) -> None:
    with pytest.raises(ZeroDivisionError), held(storage, NAME):
        raise ZeroDivisionError
    assert present(storage) == []


def test_what_a_dead_process_of_this_host_holds_is_taken_at_once(
    storage: Storage, killed_process: dict[str, object]
) -> None:
    put(storage, killed_process, expires_in=1000)

    began = time.monotonic()
    with held(storage, NAME):
        pass
    assert time.monotonic() - began < fleet.patience_of(fleet.GRACE)


@pytest.mark.usefixtures("quick_beats")
@pytest.mark.parametrize(
    ("clues", "expires_in"),
    [
        ({"boot": "another machine"}, -0.1),  # just expired
        ({"boot": "another machine"}, -1e8),  # years ago
        ({"boot": "another machine"}, 3600),  # the clock was set back by an hour
        (
            {"pid": 2**22 + 1},
            50,
        ),  # its process is gone, if it was one of this machine and no twin's
        ({"ticks": 1}, 50),  # and so if another has its id now
    ],
)
def test_a_lease_that_seems_free_is_taken_when_its_holder_misses_a_beat(
    storage: Storage, clues: dict[str, object], expires_in: float
) -> None:
    put(storage, this_worker() | clues, expires_in)

    began = time.monotonic()
    with held(storage, NAME):
        waited = time.monotonic() - began
    assert waited >= fleet.patience_of(fleet.GRACE)
    assert present(storage) == []


@pytest.mark.usefixtures("quick_beats")
@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_a_step_of_the_databases_clock_gives_no_lease_to_two(
    url: str, step: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = threading.Event()
    storage, other = Storage(url), Storage(url, stopped.is_set)
    real = rows.now
    with held(storage, NAME):
        monkeypatch.setattr(rows, "now", lambda connection: real(connection) + step)
        # As another process: what it knows of the holder is its row.
        elsewhere_now = {"boot": "another", "pid_namespace": "", "pid": 1, "host": "other"}
        monkeypatch.setattr(leases, "this_worker", lambda: elsewhere_now)
        threading.Timer(4 * fleet.patience_of(fleet.GRACE), stopped.set).start()
        with pytest.raises(Interrupted), held(other, NAME):
            pass
    with held(storage, NAME):  # and it locks the name for nobody
        pass
    storage.close()
    other.close()


@pytest.mark.usefixtures("quick_beats")
def test_a_holder_that_lost_its_lease_waits_for_it_before_it_goes_on(storage: Storage) -> None:
    with held(storage, NAME) as renew:
        theirs = {"token": "theirs", "holder": json.dumps(elsewhere())}
        storage.write(lambda c: c.execute(tables.leases.update().values(theirs)))
        gone = tables.leases.delete().where(tables.leases.c.token == "theirs")
        threading.Timer(0.5, lambda: storage.write(lambda c: c.execute(gone))).start()
        time.sleep(2 * fleet.BEAT)
        renew()
        token = sa.select(tables.leases.c.token)
        assert storage.write(lambda c: c.execute(token).scalars().all()) != ["theirs"]


@pytest.mark.usefixtures("quick_beats")
def test_it_is_said_for_whom_is_waited(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(leases, "PATIENCE", 0.1)
    put(storage, elsewhere() | {"host": "far-away", "pid": 17}, expires_in=-5)
    with held(storage, NAME):
        pass
    told = capsys.readouterr().err
    assert told.count("Waiting for process 17 on far-away") == 1
    assert "60 s at the latest" in told


@pytest.mark.usefixtures("quick_beats")
def test_leases_that_nobody_holds_are_swept(
    storage: Storage, killed_process: dict[str, object]
) -> None:
    put(storage, killed_process, expires_in=10)
    with held(storage, "ours"):
        storage.write(leases.sweep)
        assert present(storage) == ["ours"]


def test_what_this_process_could_not_give_back_does_not_hold_it_up(storage: Storage) -> None:
    put(storage, this_worker(), expires_in=1000)

    began = time.monotonic()
    with held(storage, NAME):
        pass
    assert time.monotonic() - began < 2


def test_a_living_holder_is_waited_for_and_a_wish_to_stop_is_answered(url: str) -> None:
    stopped = threading.Event()
    storage = Storage(url, stopped.is_set)
    put(storage, elsewhere(), expires_in=1000)
    threading.Timer(0.3, stopped.set).start()

    began = time.monotonic()
    with pytest.raises(Interrupted), held(storage, NAME):
        pass
    assert 0.2 < time.monotonic() - began < 2
    query = sa.select(tables.leases.c.token)
    stopped.clear()
    assert storage.write(lambda c: c.execute(query).scalars().all()) == ["theirs"]
    storage.close()


def test_a_holder_that_lost_its_lease_does_not_release_the_next_one(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "DURATION", -1.0)  # it expires as soon as it is taken
    with held(storage, NAME):
        theirs = {"token": "theirs"}
        storage.write(lambda c: c.execute(tables.leases.update().values(theirs)))
    assert present(storage) == [NAME]
