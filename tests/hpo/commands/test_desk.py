"""The queue of studies: who is served first, who is called off, who is passed by, and what is said."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

import hpo
from hpo.commands import joining, running
from hpo.commands.desk import Desk
from hpo.commands.request import Order
from hpo.database import outcomes, queue, rows
from hpo.database.storage import Storage
from hpo.errors import HpoError
from hpo.mirror import study as studies
from hpo.testing import Recorder
from hpo.views import overview, waiting
from hpo.workers.membership import Membership
from model.data import digits
from tests.hpo import stores
from tests.hpo.reading import exported
from tests.hpo.small_grid import SMALL, run

pytestmark = [pytest.mark.usefixtures("quick_beats"), pytest.mark.sqlite_first]
storage = stores.of_each_kind


def submitted(storage: Storage, name: str, priority: int = 0) -> str:
    study = running.submit(Order(SMALL, digits(), name=name), storage)[0]
    storage.write(lambda c: queue.prefer(c, study.uuid, priority))
    return study.uuid


def order(storage: Storage) -> list[str]:
    return [study.name for study in Desk(storage, digits(), [], [], Recorder()).with_work()]


def test_studies_are_served_by_priority_then_by_who_serves_them_then_by_age(
    storage: Storage,
) -> None:
    first = submitted(storage, "first")
    for name, priority in (("second", 0), ("urgent", 5), ("later", -5)):
        submitted(storage, name, priority)
    assert order(storage) == ["urgent", "first", "second", "later"]
    with Membership(storage) as member:
        member.turn_to(first)
        assert order(storage) == ["urgent", "second", "first", "later"]


def joined(storage: Storage, told: Recorder, *, looks: int = 0) -> int:
    return joining.join(storage, digits(), [], told, told.stop, watch=False, grace=60.0)


def test_a_worker_leaves_a_study_for_one_that_is_more_urgent(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpo.workers.outlook.LOOK_EVERY", 0.0)
    monkeypatch.setattr("hpo.training.trainer.WIDTH", 1)
    submitted(storage, "long")
    done: list[str] = []

    class Told(Recorder):
        def began(self, title: str, *_: object) -> None:
            done.append(title)

    told = Told(at=5, act=lambda: submitted(storage, "urgent", 5))
    assert joined(storage, told) == 8
    assert done == ["long", "urgent", "long"]


def test_of_two_workers_one_leaves_for_a_study_that_nobody_serves(storage: Storage) -> None:
    from hpo.database import tally

    first, second = submitted(storage, "first"), submitted(storage, "second")

    def is_neglected() -> bool:
        return storage.read(lambda c: tally.is_neglected_elsewhere(c, first))

    with Membership(storage) as one, Membership(storage) as two:
        one.turn_to(first)
        assert not is_neglected()
        two.turn_to(first)
        assert is_neglected()
        two.turn_to(second)
        assert not is_neglected()
        storage.write(lambda c: queue.cancel(c, second))
        two.turn_to(first)
        assert not is_neglected()


# --- called off


def test_nobody_trains_a_study_that_is_called_off_until_it_is_submitted_again(
    storage: Storage,
) -> None:
    uuid = submitted(storage, "off")
    hpo.cancel("off", storage=storage.url)
    assert joined(storage, Recorder()) == 0
    assert "called off" in storage.read(waiting.table)
    submitted(storage, "off")
    assert joined(storage, Recorder()) == 4
    assert storage.read(lambda c: len(outcomes.results_of(c, uuid))) == 4
    with pytest.raises(HpoError, match="No study named 'nothing'"):
        hpo.cancel("nothing", storage=storage.url)


@pytest.mark.long
def test_a_study_that_is_called_off_in_training_is_given_back_and_keeps_its_bits(
    storage: Storage, tmp_path: object
) -> None:
    uuid = submitted(storage, "off")

    class Patient(Recorder):
        def advanced(self, *told: object) -> None:
            super().advanced(*told)  # type: ignore[arg-type]
            import time

            time.sleep(0.05)

    told = Patient(at=10, act=lambda: hpo.cancel("off", storage=storage.url))
    assert joined(storage, told) == 0
    assert told.warnings == [
        "'off' was called off; `hpo run small --data digits --name off` goes on with it."
    ]
    states = {a.state for a in storage.read(lambda c: rows.attempts_of(c, uuid))}
    assert states == {"waiting"}

    study = running.run(Order(SMALL, digits(), name="off"), storage, told, told.stop).study
    with Storage(f"sqlite:///{tmp_path}/other.db") as other:
        assert exported(storage, study).replace('"off"', '"small-digits"') == exported(
            other, run(other).study
        )


def test_a_run_whose_study_is_called_off_says_so(storage: Storage) -> None:
    class Patient(Recorder):
        def advanced(self, *told: object) -> None:
            super().advanced(*told)  # type: ignore[arg-type]
            import time

            time.sleep(0.05)

    told = Patient(at=10, act=lambda: hpo.cancel("off", storage=storage.url))
    with pytest.raises(HpoError, match="'off' was called off"):
        running.run(Order(SMALL, digits(), name="off"), storage, told, told.stop)


# --- mixed fleets


@pytest.fixture
def as_version(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let this process be another one."""

    def set_(numpy: str) -> None:
        here = {"hpo": "1.0", "NumPy": numpy, "BLAS": "openblas 0.3"}
        for module in ("commands.joining", "workers.membership"):
            monkeypatch.setattr(f"hpo.{module}.versions", lambda: here)

    return set_


def test_a_worker_of_another_version_claims_nothing_and_says_why(
    storage: Storage, as_version: Callable[[str], None]
) -> None:
    as_version("2.1")
    uuid = submitted(storage, "old")
    told = Recorder(stop_after=60)
    joined(storage, told)
    assert storage.read(lambda c: rows.attempts_of(c, uuid, states=["waiting"]))

    as_version("2.4")
    other = Recorder()
    assert joined(storage, other) == 0
    (line,) = other.warnings
    assert line.startswith(
        "'old' is passed by: it is trained with NumPy 2.1, and here is NumPy 2.4."
    )
    with Membership(storage, data=digits().fingerprint):
        assert "waits for a worker with NumPy 2.1" in storage.read(waiting.table)
        assert "old waits for a worker with NumPy 2.1" in storage.read(overview.status)

    assert (
        running.run(Order(SMALL, digits(), name="old"), storage, other, other.stop).n_counted == 4
    )


def test_status_says_which_study_waits_for_a_worker_with_its_images(storage: Storage) -> None:
    submitted(storage, "mine")
    assert "waits for a worker\n" in storage.read(waiting.table) + "\n"
    with Membership(storage, data="b" * 64):
        told = storage.read(waiting.table)
        assert "waits for a worker with its images (digits, " in told
        assert "mine waits for a worker with its images" in storage.read(overview.status)
    with Membership(storage, data=digits().fingerprint):
        assert "waits for" not in storage.read(waiting.table)


def test_the_queue_is_told_to_programs(storage: Storage) -> None:
    assert storage.read(waiting.table) == waiting.NOTHING
    submitted(storage, "one", 3)
    (told,) = json.loads(storage.read(waiting.as_json))["queue"]
    assert (told["name"], told["priority"], told["waiting"], told["called_off"]) == (
        "one", 3, 4, False,
    )  # fmt: skip


def test_a_study_that_is_deleted_leaves_the_queue(storage: Storage) -> None:
    submitted(storage, "one", 3)
    hpo.delete("one", storage=storage.url)
    assert storage.read(queue.places) == {}
    assert studies.names(storage) == []


@pytest.mark.parametrize("wrong", [1001, 0.5, True, "high"])
def test_a_priority_is_a_whole_number(url: str, wrong: object) -> None:
    with pytest.raises(HpoError, match="priority"):
        hpo.submit("coarse", data="digits", storage=url, priority=wrong)  # type: ignore[arg-type]


def test_replacing_a_priority_keeps_the_rest(storage: Storage) -> None:
    uuid = submitted(storage, "one", 3)
    storage.write(lambda c: queue.begin(c, uuid, '{"hpo": "1"}'))
    storage.write(lambda c: queue.prefer(c, uuid, 4))
    place = storage.read(lambda c: queue.place(c, uuid))
    assert place == replace(place, priority=4, versions='{"hpo": "1"}', is_cancelled=False)
