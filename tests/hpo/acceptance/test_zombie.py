"""A worker that is stopped past its lease and comes back: it cannot write, and goes on elsewhere."""

import contextlib
import dataclasses
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from hpo.commands import doctor, running
from hpo.commands.request import Order
from hpo.database import fleet, outcomes, rows, tables
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.definition.study import StudyDefinition
from hpo.mirror.study import OpenStudy
from hpo.testing import until
from hpo.training.progress import Silent
from model.data import digits
from tests.hpo import stores
from tests.hpo.reading import exported

pytestmark = pytest.mark.sqlite_first

SCRIPT = Path(sys.executable).with_name("hpo")
GRACE = 1.5
LONG = StudyDefinition(
    name="long", grid=Values((1e-5, 1e-4, 1e-3, 1e-2)), n_s=200, n_cycles=4, batch_size=20
)
MORE = dataclasses.replace(LONG, name="more", n_s=20)


storage = stores.of_each_kind


@pytest.fixture
def worker(url: str, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A worker that watches for work, as from another terminal; its story is in a file."""
    options = ["--storage", url, "--data", "digits", "--grace", str(GRACE)]
    with (tmp_path / "story.txt").open("w") as story:
        process = subprocess.Popen(
            [SCRIPT, "worker", "--watch", *options],
            stdout=subprocess.DEVNULL,
            stderr=story,
            text=True,
        )
        yield process
        for sign in (signal.SIGCONT, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(sign)
        process.wait()


OTHERS_AT_WORK = (
    "select count(*) from pg_stat_activity where datname = current_database() "
    "and pid <> pg_backend_pid() and state <> 'idle'"
)


def is_in_a_transaction(storage: Storage) -> bool:
    """Tell whether the other process is in the middle of a transaction that may write."""
    try:
        with storage.engine.begin() as connection:  # on SQLite it takes the lock
            if connection.dialect.name == "sqlite":
                return False
            return bool(connection.execute(sa.text(OTHERS_AT_WORK)).scalar_one())
    except OperationalError:
        return True


def stop_between_two_writes(process: subprocess.Popen[str], storage: Storage) -> None:
    """Stop a process where it holds no lock of the database, which nobody could wait out."""
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.1)  # what the server was asked for before is done
    while is_in_a_transaction(storage):
        process.send_signal(signal.SIGCONT)
        time.sleep(0.05)
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.1)


def everything_of(storage: Storage, study: OpenStudy) -> list[list[Any]]:
    """Return every row of a study in our tables, and every trial as Optuna shows it."""

    def read(connection: sa.Connection) -> list[list[Any]]:
        return [
            sorted(map(repr, connection.execute(table.select().where(table.c.study == study.uuid))))
            for table in (tables.attempts, tables.results, tables.curves, tables.checkpoints)
        ]

    trials = storage.optuna.get_all_trials(study.study_id)
    return [*storage.write(read), trials]


def n_results(storage: Storage, study: OpenStudy) -> int:
    return len(storage.write(lambda connection: outcomes.results_of(connection, study.uuid)))


@pytest.mark.long
def test_a_zombie_cannot_write_is_told_so_and_goes_on_with_other_work(
    storage: Storage, worker: subprocess.Popen[str], tmp_path: Path, url: str
) -> None:
    study, _ = running.submit(Order(LONG, digits()), storage)
    checkpoint = sa.select(tables.checkpoints.c.n_updates).limit(1)
    until(lambda: storage.write(lambda c: c.execute(checkpoint).scalar()), seconds=40)
    stop_between_two_writes(worker, storage)
    assert n_results(storage, study) == 0  # it was in the middle

    outcome = running.run(Order(LONG, digits()), storage, Silent(), lambda: False)
    assert outcome.n_missing == 0
    attempts = storage.write(lambda c: rows.attempts_of(c, study.uuid))
    assert [(a.state, a.reason) for a in attempts if a.number == 0] == [
        ("failed", fleet.SILENT)
    ] * 4
    before = everything_of(storage, study)
    other = Storage(f"sqlite:///{tmp_path / 'other.db'}")
    whole = running.run(Order(LONG, digits()), other, Silent(), lambda: False).study
    assert exported(storage, study) == exported(other, whole)
    other.close()

    more, _ = running.submit(Order(MORE, digits()), storage)
    worker.send_signal(signal.SIGCONT)
    until(lambda: n_results(storage, more) == 4, seconds=40)

    story = (tmp_path / "story.txt").read_text()
    assert "were given to another worker meanwhile; they are dropped" in story
    assert "Traceback" not in story
    assert everything_of(storage, study) == before
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(10) == 143
    told = (tmp_path / "story.txt").read_text()
    assert "4 trials were trained here" in told
    assert [f.text for f in doctor.examine(url) if f.is_wrong] == []
