"""Workers live while their heart beats; what dead and silent ones held is freed."""

import json
import time

import pytest

from hpo.commands import running
from hpo.commands.request import Order
from hpo.database import rows, tables
from hpo.database.fleet import bury, living
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.definition.study import StudyDefinition
from hpo.machine.process import this_worker
from hpo.mirror.study import OpenStudy
from hpo.testing import until
from hpo.workers.claims import claim
from hpo.workers.membership import Membership
from model.data import digits
from tests.hpo import stores

pytestmark = pytest.mark.sqlite_first

FOUR = StudyDefinition(
    name="four", grid=Values((1e-4, 1e-3, 1e-2, 1e-1)), n_s=10, n_cycles=2, batch_size=100
)


storage = stores.of_each_kind


@pytest.fixture
def study(storage: Storage) -> OpenStudy:
    return running.submit(Order(FOUR, digits()), storage)[0]


def states(storage: Storage, study: OpenStudy) -> list[str]:
    found = storage.write(lambda c: rows.attempts_of(c, study.uuid))
    return [attempt.state for attempt in found]


def set_worker(storage: Storage, **values: object) -> None:
    storage.write(lambda c: c.execute(tables.workers.update().values(**values)))


def age(storage: Storage, seconds: float) -> None:
    """Let every heartbeat be older."""
    older = tables.workers.c.heartbeat_at - seconds
    set_worker(storage, heartbeat_at=older)


def test_a_worker_is_known_from_entering_to_leaving(storage: Storage) -> None:
    with Membership(storage, 30) as member:
        (known,) = storage.write(living)
        assert known.id == member.id
        assert known.identity == this_worker() | {"id": member.id}
        assert (known.grace, known.is_alive) == (30, True)
        assert known.silent_for < 5
    assert storage.write(lambda c: c.execute(tables.workers.select()).all()) == []


def test_a_heart_beats_several_times_in_a_grace_period(storage: Storage) -> None:
    with Membership(storage, 0.6):
        deadline = time.monotonic() + 2.0
        while time.monotonic() < deadline:
            (known,) = storage.write(living)
            assert known.is_alive, known.silent_for
            time.sleep(0.05)


def test_a_worker_of_another_host_seems_dead_after_its_own_grace(storage: Storage) -> None:
    with Membership(storage, 100) as member:
        elsewhere = member.identity | {"boot": "another"}
        set_worker(storage, identity=json.dumps(elsewhere))
        age(storage, 90)
        (known,) = storage.write(living)
        assert known.is_alive
        age(storage, 20)
        (known,) = storage.write(living)
        assert not known.is_alive


def test_nothing_of_a_living_worker_is_buried(storage: Storage, study: OpenStudy) -> None:
    with Membership(storage, 100) as member:
        claim(study, 2, member.identity)
        assert storage.write(lambda c: bury(c, study.uuid)) == []
    assert states(storage, study) == ["running"] * 2 + ["waiting"] * 2


def test_a_worker_whose_row_was_swept_while_it_was_silent_comes_back(
    storage: Storage, study: OpenStudy
) -> None:
    with Membership(storage, 0.6) as member:
        storage.write(lambda c: c.execute(tables.workers.delete()))  # as who sweeps does
        until(lambda: storage.write(living), seconds=5)
        claim(study, 1, member.identity)
        assert storage.write(lambda c: bury(c, study.uuid)) == []


@pytest.mark.long
def test_a_heart_goes_on_beating_while_the_database_is_held_for_a_moment(url: str) -> None:
    storage, other = Storage(url), Storage(url)
    with Membership(storage, 3.0):
        with other.engine.begin() as connection:
            connection.execute(tables.workers.update().values(grace=3.0))
            time.sleep(1.5)  # longer than a beat, shorter than the grace
        time.sleep(1.0)
        (known,) = storage.write(living)
        assert known.silent_for < 1.0
    storage.close()
    other.close()


def test_the_clock_is_the_databases(storage: Storage) -> None:
    first = storage.write(rows.now)
    time.sleep(0.05)
    second = storage.write(rows.now)
    assert 0.02 < second - first < 5
    assert abs(second - time.time()) < 60
