"""Studies copied between databases: whole, once, and with the same bits on the other side."""

import datetime
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa

import hpo
from hpo.commands import copying, running
from hpo.commands.doctor import examine
from hpo.commands.request import Order
from hpo.database import carrying, leases, queue, rows, tables
from hpo.database.storage import Storage
from hpo.definition.ranges import Real
from hpo.definition.spaces import Space
from hpo.errors import HpoError, StudyNotFound
from hpo.machine.process import this_worker
from hpo.mirror import study as studies
from hpo.testing import Recorder
from hpo.views.export import to_json
from hpo.workers.claims import claim
from hpo.workers.membership import Membership
from model.data import digits

GRID = hpo.StudyDefinition(
    name="grid",
    grid=hpo.Values((1e-4, 1e-3, 1e-2, 1e-1)),
    n_s=10,
    n_cycles=2,
    replicates=2,
    pruner="halving",
)
SEARCH = hpo.StudyDefinition(
    name="search",
    space=Space(lambda_=Real(1e-5, 1e-1, True), budget=400, width=4, sampler="random"),
    n_s=10,
    n_cycles=2,
)
BOTH = ["grid-digits", "search-digits"]


@pytest.fixture
def source(tmp_path: Path) -> str:
    """A database with a finished grid and a finished search."""
    url = f"sqlite:///{tmp_path / 'a folder' / 'hpo.db'}"
    (tmp_path / "a folder").mkdir()
    for definition in (GRID, SEARCH):
        hpo.run(definition, data="digits", storage=url)
    return url


def exported(url: str, name: str) -> str:
    with Storage(url) as storage:
        return storage.read(lambda c: to_json(c, studies.stored(c, name)))


def wrong(url: str) -> list[str]:
    return [finding.text for finding in examine(url) if finding.is_wrong]


@pytest.mark.sqlite_first
def test_studies_come_there_and_back_with_the_same_bytes(
    source: str, url: str, tmp_path: Path
) -> None:
    there = url if url.startswith("postgresql") else f"sqlite:///{tmp_path / 'there.db'}"
    back = f"sqlite:///{tmp_path / 'back.db'}"
    wanted = [exported(source, name) for name in BOTH]

    first = copying.copy(BOTH, there, storage=source)
    second = copying.copy(BOTH, back, storage=there)

    assert first == second
    assert min(first.values()) > 20
    for copy in (there, back):
        assert [exported(copy, name) for name in BOTH] == wanted
        assert wrong(copy) == []
    assert copying.copy(BOTH, back, storage=source) == dict.fromkeys(BOTH, 0)
    best = [optuna.load_study(study_name=BOTH[0], storage=u).best_trial for u in (source, back)]
    assert best[0].params == best[1].params
    assert best[0].value == best[1].value


def test_trials_keep_their_times_and_studies_their_notes(source: str, tmp_path: Path) -> None:
    there = f"sqlite:///{tmp_path / 'there.db'}"
    shown = optuna.load_study(study_name=BOTH[0], storage=source)
    shown.set_user_attr("who", "we")
    copying.copy(BOTH[:1], there, storage=source)

    copy = optuna.load_study(study_name=BOTH[0], storage=there)
    assert copy.user_attrs == shown.user_attrs
    for ours, theirs in zip(shown.trials, copy.trials, strict=True):
        assert ours.datetime_complete is not None
        assert theirs.datetime_complete is not None
        apart = abs(ours.datetime_complete - theirs.datetime_complete)
        assert apart < datetime.timedelta(seconds=2)


def test_a_study_that_was_begun_goes_on_where_it_was_copied_to(tmp_path: Path) -> None:
    here, there, whole = (f"sqlite:///{tmp_path / n}.db" for n in ("here", "there", "whole"))
    with Storage(here) as storage:
        watcher = Recorder(stop_after=60)
        running.run(Order(GRID, digits()), storage, watcher, watcher.stop)
    copying.copy(BOTH[:1], there, storage=here)
    for url in (there, whole):
        hpo.run(GRID, data="digits", storage=url)
    assert exported(there, BOTH[0]) == exported(whole, BOTH[0])


def test_what_is_in_training_is_not_copied(tmp_path: Path) -> None:
    here, there = f"sqlite:///{tmp_path / 'here.db'}", f"sqlite:///{tmp_path / 'there.db'}"
    with Storage(here) as storage:
        study, _ = running.submit(Order(GRID, digits()), storage)
        with Membership(storage) as member:
            claim(study, 4, member.identity)
            with pytest.raises(HpoError, match="4 trials of 'grid-digits' are being trained"):
                copying.copy(BOTH[:1], there, storage=here)
        claim(study, 4, this_worker() | {"id": "of somebody who left"})
    copying.copy(BOTH[:1], there, storage=here)
    with Storage(there) as storage:
        copy = storage.read(lambda c: studies.stored(c, BOTH[0]))
        states = {a.state for a in storage.read(lambda c: rows.attempts_of(c, copy.uuid))}
    assert states == {"waiting"}


def test_another_study_of_that_name_is_refused(source: str, tmp_path: Path) -> None:
    there = f"sqlite:///{tmp_path / 'there.db'}"
    hpo.run(GRID, data="digits", storage=there)
    before = exported(there, BOTH[0])
    with pytest.raises(HpoError, match="another study named 'grid-digits'"):
        copying.copy(BOTH[:1], there, storage=source)
    assert exported(there, BOTH[0]) == before
    assert wrong(there) == []


def test_one_that_went_another_way_is_refused(source: str, tmp_path: Path) -> None:
    there = f"sqlite:///{tmp_path / 'there.db'}"
    copying.copy(BOTH[:1], there, storage=source)
    hpo.run(GRID, data="digits", storage=there, replicates=3)
    with pytest.raises(HpoError, match="went different ways"):
        copying.copy(BOTH[:1], there, storage=source)


def test_into_itself_nothing_is_copied(source: str) -> None:
    assert copying.copy(BOTH, source, storage=source) == dict.fromkeys(BOTH, 0)


def test_an_unknown_study_makes_no_database(source: str, tmp_path: Path) -> None:
    with pytest.raises(StudyNotFound):
        copying.copy([BOTH[0], "nothing"], f"sqlite:///{tmp_path / 'there.db'}", storage=source)
    assert not (tmp_path / "there.db").exists()


def test_a_study_that_another_copy_has_just_brought_is_not_touched(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, held = f"sqlite:///{tmp_path / 'there.db'}", leases.held
    mark = tables.attempts.update().values(reason="trained there")

    def after_another(storage: Storage, name: str) -> Any:
        if name.startswith("copy "):
            with monkeypatch.context() as patched:
                patched.setattr(leases, "held", held)
                copying.copy(BOTH[:1], there, storage=source)
            storage.write(lambda c: c.execute(mark))
        return held(storage, name)

    monkeypatch.setattr(leases, "held", after_another)
    with pytest.raises(HpoError, match="went different ways"):
        copying.copy(BOTH[:1], there, storage=source)
    with Storage(there) as storage:
        told = storage.read(lambda c: c.execute(tables.attempts.select()).all())
    assert {row.reason for row in told} == {"trained there"}


class Power(BaseException):
    """What ends a process at once."""


@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.long)])
def test_a_copy_that_was_killed_anywhere_is_made_by_the_next_one(
    source: str, tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = f"sqlite:///{tmp_path / 'there.db'}"
    with Storage(there):  # whose opening has tests of its own
        pass
    wanted, n_kills, real = exported(source, BOTH[0]), 0, Storage.write
    last = step

    def write(storage: Storage, action: Callable[..., Any]) -> Any:
        nonlocal n_left
        n_left -= 1
        if n_left < 0:
            raise Power
        return real(storage, action)

    while True:
        n_left, last = last, last + step
        with monkeypatch.context() as patched:
            patched.setattr(Storage, "write", write)
            try:
                copying.copy(BOTH[:1], there, storage=source)
                break
            except Power:
                n_kills += 1
        with Storage(there) as storage:
            known = storage.read(lambda c: c.execute(sa.select(tables.studies.c.uuid)).all())
            whole = known and storage.read(lambda c, u=known[0].uuid: carrying.digest(c, u)[1])
        assert not known or whole > 20  # all of it or no study
    assert n_kills >= 10 / step
    assert exported(there, BOTH[0]) == wanted
    assert wrong(there) == []


def test_the_command_says_what_it_did(source: str, command: Any, tmp_path: Path) -> None:
    there = f"sqlite:///{tmp_path / 'there.db'}"
    asked = ("copy", *BOTH, "--storage", source, "--to", there)
    told = command(*asked)
    assert told.status == 0
    assert [line.split(":")[0] for line in told.out.splitlines()] == BOTH
    assert command(*asked).out.count("the same is there already") == 2
    assert "nowhere" in command("copy", "nowhere", "--storage", source, "--to", there).sentence


# --- moved


@pytest.mark.sqlite_first
def test_a_study_that_is_moved_is_there_and_no_longer_here(
    source: str, url: str, tmp_path: Path
) -> None:
    there = url if url.startswith("postgresql") else f"sqlite:///{tmp_path / 'there.db'}"
    wanted = exported(source, BOTH[0])
    assert copying.copy(BOTH[:1], there, storage=source, move=True)[BOTH[0]] > 20
    assert exported(there, BOTH[0]) == wanted
    assert [study.name for study in hpo.studies(storage=source)] == BOTH[1:]
    assert hpo.work(data="digits", storage=there) == 0  # it is not called off there
    assert wrong(source) == wrong(there) == []


def test_what_waits_goes_on_where_it_was_moved_to(tmp_path: Path) -> None:
    here, there, whole = (f"sqlite:///{tmp_path / name}.db" for name in ("here", "there", "whole"))
    hpo.submit(GRID, data="digits", storage=here)
    copying.copy(BOTH[:1], there, storage=here, move=True)
    assert hpo.work(data="digits", storage=there) > 0
    hpo.run(GRID, data="digits", storage=whole)
    assert exported(there, BOTH[0]) == exported(whole, BOTH[0])


def test_what_somebody_went_on_with_while_it_was_moved_is_not_deleted(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = copying.plan

    def overtaken(made: Any) -> Any:
        hpo.submit(GRID, data="digits", storage=source, replicates=3)
        return real(made)

    monkeypatch.setattr(copying, "plan", overtaken)
    with pytest.raises(HpoError, match="'grid-digits' went on here while it was copied, so it was"):
        copying.copy(BOTH, f"sqlite:///{tmp_path / 'there.db'}", storage=source, move=True)
    kept = hpo.load(BOTH[0], storage=source)
    assert kept.experiment.n_slots == 12
    assert hpo.work(data="digits", storage=source) > 0
    assert kept.is_complete


def test_a_move_that_fails_calls_nothing_off(source: str, tmp_path: Path) -> None:
    here, there = (f"sqlite:///{tmp_path / name}.db" for name in ("here", "there"))
    hpo.submit(GRID, data="digits", storage=here, name="other")
    hpo.submit(GRID, data="digits", storage=there, name="other")
    with pytest.raises(HpoError, match="has another study named 'other'"):
        copying.copy(["other"], there, storage=here, move=True)
    assert hpo.work(data="digits", storage=here) == 8


def test_a_study_is_moved_when_its_workers_have_given_it_back(tmp_path: Path) -> None:
    here, there = (f"sqlite:///{tmp_path / name}.db" for name in ("here", "there"))
    hpo.submit(GRID, data="digits", storage=here)
    with Storage(here) as storage, Membership(storage) as member:
        study = studies.find(storage, BOTH[0])
        assert study is not None
        turn = claim(study, 2, member.identity)
        assert turn is not None
        threading.Timer(0.5, member.__exit__, (None, None, None)).start()
        copying.copy(BOTH[:1], there, storage=here, move=True)
    assert hpo.work(data="digits", storage=there) == 8


@pytest.mark.sqlite_first
def test_its_place_in_the_queue_goes_with_it(url: str, tmp_path: Path) -> None:
    here = f"sqlite:///{tmp_path / 'here.db'}"
    hpo.submit(GRID, data="digits", storage=here, priority=7)
    with Storage(here) as storage:
        study = studies.find(storage, BOTH[0])
        assert study is not None
        storage.write(lambda c: queue.begin(c, study.uuid, '{"hpo": "0.1"}'))
        storage.write(lambda c: queue.cancel(c, study.uuid))
    copying.copy(BOTH[:1], url, storage=here)
    with Storage(url) as storage:
        placed = storage.read(lambda c: queue.place(c, study.uuid))
    assert placed == queue.Place(7, False, '{"hpo": "0.1"}')


def test_a_server_lets_a_copy_wait_for_its_target(
    postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hpo.submit(GRID, data="digits", storage=postgresql_url)
    monkeypatch.setattr("hpo.database.postgresql.IDLE_FOR", 1)
    real = carrying.forget

    def slow(connection: sa.Connection, study: str) -> None:
        time.sleep(2)
        real(connection, study)

    monkeypatch.setattr(carrying, "forget", slow)
    there = f"sqlite:///{tmp_path / 'there.db'}"
    assert copying.copy(BOTH[:1], there, storage=postgresql_url)[BOTH[0]] > 0


def test_a_database_is_not_moved_onto_itself(source: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "a folder")
    for alias in (source, f"sqlite:///{tmp_path / 'link' / 'hpo.db'}"):
        with pytest.raises(HpoError, match="the very database"):
            copying.copy(BOTH, alias, storage=source, move=True)
    assert sorted(study.name for study in hpo.studies(storage=source)) == sorted(BOTH)
    assert not [study for study in hpo.studies(storage=source) if not study.is_complete]


def test_a_move_that_is_killed_goes_on(source: str, tmp_path: Path, monkeypatch: Any) -> None:
    there = f"sqlite:///{tmp_path / 'there.db'}"
    wanted = exported(source, BOTH[0])

    def dies(*_: Any, **__: Any) -> None:
        raise Power

    with monkeypatch.context() as patched:
        patched.setattr("hpo.commands.copying.deleting.delete_if", dies)
        with pytest.raises(Power):
            copying.copy(BOTH[:1], there, storage=source, move=True)
    assert exported(source, BOTH[0]) == wanted
    copying.copy(BOTH[:1], there, storage=source, move=True)
    assert exported(there, BOTH[0]) == wanted
    assert BOTH[0] not in [study.name for study in hpo.studies(storage=source)]
