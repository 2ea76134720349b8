"""The n-th write fails, for every n; the process dies after the n-th commit, for every n.

Each disturbed run is a forked process, so that it ends as a real one does; what it leaves is
looked at, and a plain run then has to finish the study with the same export.
"""

import itertools
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from hpo.commands import doctor, running
from hpo.commands.request import Order
from hpo.database import checkpoints, outcomes, rows, tables
from hpo.database.storage import Interrupted, Storage
from hpo.definition.grids import Values
from hpo.definition.study import StudyDefinition
from hpo.errors import StorageError
from hpo.experiment.records import Slot, StoredStudy
from hpo.mirror.study import OpenStudy
from hpo.training.progress import Silent
from hpo.views.export import to_json
from model.data import digits
from tests.hpo.acceptance.faults import (
    KILLED,
    REFUSED,
    SURVIVED,
    UNDISTURBED,
    AnswerLost,
    BrokenAfterCommit,
    ConnectionLost,
    Death,
    DiskBroken,
    DiskFull,
    Fault,
)

THREE = StudyDefinition(
    name="three", grid=Values((1e-4, 1e-3, 1e-2)), n_s=10, n_cycles=2, batch_size=100
)


@contextmanager
def finished(url: str) -> Iterator[tuple[Storage, OpenStudy]]:
    """Run the study to its end, as `hpo run` does."""
    storage = Storage(url)
    try:
        yield storage, running.run(Order(THREE, digits()), storage, Silent(), lambda: False).study
    finally:
        storage.close()


def disturbed(url: str, fault: Callable[[int], Fault], n: int) -> int:
    """Run the study in a process that meets a fault, and return how that ended."""
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(60)  # one that hangs is a failure and not a wait
            optuna.storages._rdb.storage.random.random = lambda: 0.0  # type: ignore[attr-defined]
            met = fault(n)
            try:
                with finished(url):
                    pass
                status = SURVIVED if met.has_happened else UNDISTURBED
            except StorageError as error:
                status = REFUSED if "Traceback" not in str(error) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def nothing_is_half_there(url: str) -> None:
    """Every checkpoint has its hash, and every curve ends at a checkpoint or result."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        if sa.inspect(connection).has_table("hpo_meta"):
            for study in rows.all_studies(connection):
                nothing_of_it_is_half_there(connection, study)
    engine.dispose()


def nothing_of_it_is_half_there(connection: Connection, study: StoredStudy) -> None:
    ends: dict[Slot, set[int]] = {}
    for row in connection.execute(tables.checkpoints.select()):
        slot = Slot(row.cell, row.replicate)
        label = checkpoints.label(study.uuid, study.experiment, slot, row.n_updates)
        checkpoints.unpack(row.content, row.sha256, label)
        ends.setdefault(slot, set()).add(row.n_updates)
    for result in outcomes.results_of(connection, study.uuid):
        assert result.n_updates in ends[result.slot]
    curves = outcomes.curves_of(connection, study.uuid)
    assert curves.keys() == ends.keys()
    for slot, points in curves.items():
        assert [p.n_updates for p in points] == list(range(1, max(ends[slot]) + 1))
        assert all(None not in point for point in points)


def ends_as_if_nothing_had_happened(url: str, whole: str) -> None:
    """Finish the study with a plain run; look at its export, its results and Optuna's trials."""
    with finished(url) as (storage, study):
        assert storage.write(lambda c: to_json(c, study.stored)) == whole
        results = storage.write(lambda c: outcomes.results_of(c, study.uuid))
        attempts = storage.write(lambda c: rows.attempts_of(c, study.uuid))
        trials = storage.optuna.get_all_trials(study.study_id)
    assert [r.slot for r in results] == [Slot(cell, 0) for cell in range(3)]
    shown = {trial._trial_id: trial for trial in trials}
    for attempt in attempts:
        trial = shown.pop(attempt.trial_id or -1)
        attributes = [trial.user_attrs[key] for key in ("cell", "replicate", "attempt")]
        assert attributes == [attempt.slot.cell, attempt.slot.replicate, attempt.number]
        assert trial.state.name == {"ended": "COMPLETE", "failed": "FAIL"}[attempt.state]
    # A trial whose making was answered by an error may stand there twice, but not as a live one.
    assert {trial.user_attrs["reason"] for trial in shown.values()} <= {"made twice"}
    assert {trial.state.name for trial in shown.values()} <= {"FAIL"}
    assert [f.text for f in doctor.examine(url) if f.is_wrong] == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The export of a study that nothing disturbed."""
    with finished(f"sqlite:///{tmp_path_factory.mktemp('whole') / 'hpo.db'}") as (storage, study):
        return storage.write(lambda connection: to_json(connection, study.stored))


@pytest.fixture
def new_sqlite(tmp_path: Path) -> Callable[[], str]:
    numbers = itertools.count()
    return lambda: f"sqlite:///{tmp_path / f'{next(numbers)}.db'}"


@pytest.fixture
def new_postgresql(postgresql_url: str) -> Iterator[Callable[[], str]]:
    """New databases on the session's server, all but the last of them dropped again."""
    address = sa.make_url(postgresql_url)
    admin = sa.create_engine(address, isolation_level="AUTOCOMMIT")
    made: list[str] = []

    def drop() -> None:
        with admin.connect() as connection:
            for name in made:
                connection.exec_driver_sql(f"drop database {name} with (force)")
        made.clear()

    def new() -> str:
        drop()
        made.append(f"{address.database}_{os.urandom(4).hex()}")
        with admin.connect() as connection:
            connection.exec_driver_sql(f"create database {made[-1]}")
        admin.dispose()  # a connection must not cross a fork
        return address.set(database=made[-1]).render_as_string(hide_password=False)

    yield new
    drop()
    admin.dispose()


def every(step: int) -> Any:
    """Return a table: every ``step``-th write by default, every one in the long run."""
    return pytest.mark.parametrize(
        "step",
        [pytest.param(step, id="sampled"), pytest.param(1, marks=pytest.mark.exhaustive, id="all")],
    )


def each_disturbance(
    new: Callable[[], str], fault: Callable[[int], Fault], step: int, whole: str
) -> list[int]:
    """Disturb runs at the n-th write for growing n; return how they ended, all but the last."""
    endings = []
    for n in itertools.count(1, step):
        url = new()
        endings.append(disturbed(url, fault, n))
        if endings[-1] == UNDISTURBED:
            break
        assert endings[-1] in (SURVIVED, REFUSED, KILLED), f"{fault.__name__} {n}: {endings[-1]}"
        nothing_is_half_there(url)
        ends_as_if_nothing_had_happened(url, whole)
    return endings[:-1]


@every(41)
@pytest.mark.parametrize("fault", [DiskFull, pytest.param(DiskBroken, marks=pytest.mark.long)])
def test_a_write_that_fails_ends_in_a_sentence_and_the_next_run_finishes(
    new_sqlite: Callable[[], str], fault: Callable[[int], Fault], step: int, whole: str
) -> None:
    endings = each_disturbance(new_sqlite, fault, step, whole)

    assert REFUSED in endings
    assert len(endings) >= 60 / step


@every(17)
def test_a_commit_whose_answer_is_an_error_is_not_made_twice_on_sqlite(
    new_sqlite: Callable[[], str], step: int, whole: str
) -> None:
    endings = each_disturbance(new_sqlite, BrokenAfterCommit, step, whole)

    assert REFUSED in endings
    assert len(endings) >= 25 / step


@pytest.mark.long
@every(7)
def test_a_process_that_dies_between_any_two_commits_loses_nothing(
    new_sqlite: Callable[[], str], step: int, whole: str
) -> None:
    endings = each_disturbance(new_sqlite, Death, step, whole)

    assert set(endings) == {KILLED}
    assert len(endings) >= 25 / step


@pytest.mark.long
@every(11)
def test_a_process_that_dies_between_two_commits_to_postgresql_loses_nothing(
    new_postgresql: Callable[[], str], step: int, whole: str
) -> None:
    endings = each_disturbance(new_postgresql, Death, step, whole)

    assert set(endings) == {KILLED}
    assert len(endings) >= 25 / step


@pytest.mark.long
@every(47)
def test_a_lost_connection_is_survived_by_the_run_itself(
    new_postgresql: Callable[[], str], step: int, whole: str
) -> None:
    endings = each_disturbance(new_postgresql, ConnectionLost, step, whole)

    assert set(endings) == {SURVIVED}
    assert len(endings) >= 60 / step


@pytest.mark.long
@every(11)
def test_a_commit_whose_answer_is_lost_is_not_made_twice(
    new_postgresql: Callable[[], str], step: int, whole: str
) -> None:
    endings = each_disturbance(new_postgresql, AnswerLost, step, whole)

    assert set(endings) == {SURVIVED}
    assert len(endings) >= 25 / step


@pytest.mark.parametrize("n", [2, 4])
def test_a_connection_that_is_lost_while_the_database_is_opened_is_made_again(
    new_postgresql: Callable[[], str], n: int, whole: str
) -> None:
    url = new_postgresql()
    assert disturbed(url, ConnectionLost, n) == SURVIVED
    ends_as_if_nothing_had_happened(url, whole)


def test_a_wish_to_stop_is_answered_while_another_session_holds_our_rows(
    postgresql_url: str,
) -> None:
    stopped = threading.Event()
    storage, other = Storage(postgresql_url, stopped.is_set), Storage(postgresql_url)
    change = tables.meta.update().values(value=tables.meta.c.value)
    began = time.monotonic()
    with other.engine.begin() as connection:
        connection.execute(change)  # and is then stopped, as by SIGSTOP
        threading.Timer(0.3, stopped.set).start()
        safety = threading.Timer(10, connection.invalidate)
        safety.start()
        with pytest.raises(Interrupted):
            storage.write(lambda c: c.execute(change))
        safety.cancel()
    assert time.monotonic() - began < 2
    storage.close()
    other.close()


def test_rows_that_another_session_holds_for_a_moment_are_waited_for(postgresql_url: str) -> None:
    storage, other = Storage(postgresql_url), Storage(postgresql_url)
    change = tables.meta.update().values(value=tables.meta.c.value)
    let_go = threading.Event()

    def hold() -> None:
        with other.engine.begin() as connection:
            connection.execute(change)
            held.set()
            let_go.wait(10)

    held = threading.Event()
    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(10)
    threading.Timer(1.5, let_go.set).start()
    began = time.monotonic()
    storage.write(lambda c: c.execute(change))
    assert 1 < time.monotonic() - began < 5
    holder.join()
    storage.close()
    other.close()
