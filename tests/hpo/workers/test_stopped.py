"""Workers that are stopped, or cannot go on alone, hold up neither the others nor the run's end."""

import multiprocessing
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest

from hpo.commands import running
from hpo.commands.request import Order
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.definition.study import StudyDefinition
from hpo.errors import HpoError, WorkersDie
from hpo.testing import Recorder
from hpo.workers import pool, stopped
from hpo.workers.member import Member
from hpo.workers.stopped import Warden
from model.data import digits

SCRIPT = Path(sys.executable).with_name("hpo")
TWO = StudyDefinition(name="two", grid=Values((1e-3, 1e-2)), n_s=10, n_cycles=2, batch_size=100)


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopped, "LOOK", 0.05)
    monkeypatch.setattr(stopped, "HURRY", 0.3)


@pytest.fixture
def asleep() -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Two processes that sleep."""
    found = [subprocess.Popen(["sleep", "60"]) for _ in range(2)]
    yield found
    for process in found:
        process.kill()
        process.wait()


Watch = Callable[..., Warden]


@pytest.fixture
def watch(storage: Storage, asleep: list["subprocess.Popen[bytes]"]) -> Iterator[Watch]:
    wardens = []

    def start(grace: float = 60.0) -> Warden:
        warden = Warden(storage, lambda: asleep, grace)
        warden.start()
        wardens.append(warden)
        return warden

    yield start
    for warden in wardens:
        warden.leave()


def ends(process: "subprocess.Popen[bytes]", within: float) -> bool:
    with suppress(subprocess.TimeoutExpired):
        return process.wait(within) == -signal.SIGKILL
    return False


@pytest.mark.parametrize("several", [1, 2])
def test_a_stopped_process_is_ended_when_the_others_are_done(
    watch: Watch, asleep: list["subprocess.Popen[bytes]"], several: int
) -> None:
    warden = watch()
    for process in asleep[:several]:
        process.send_signal(signal.SIGSTOP)
    assert not ends(asleep[0], within=1)  # while they may need what it holds, it is left alone
    warden.is_over.set()
    assert [ends(process, within=20) for process in asleep[:several]] == [True] * several
    assert warden.ended == {process.pid for process in asleep[:several]}
    assert asleep[-1].poll() is None or several == 2


def test_a_stopped_process_that_holds_the_database_is_ended(
    watch: Watch, asleep: list["subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    watch()
    asleep[0].send_signal(signal.SIGSTOP)
    with closing(sqlite3.connect(tmp_path / "hpo.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        assert ends(asleep[0], within=30)
    assert asleep[1].poll() is None


def test_a_stopped_process_whose_cells_were_taken_over_is_ended(
    watch: Watch, asleep: list["subprocess.Popen[bytes]"]
) -> None:
    watch(grace=0.6)
    asleep[0].send_signal(signal.SIGSTOP)
    assert ends(asleep[0], within=20)
    assert asleep[1].poll() is None


def test_who_stops_all_of_them_wants_them_to_be_stopped(
    watch: Watch, asleep: list["subprocess.Popen[bytes]"]
) -> None:
    watch(grace=0.3)
    for process in asleep:
        process.send_signal(signal.SIGSTOP)
    assert not ends(asleep[0], within=1.5)


def test_a_process_that_was_continued_is_left_alone(
    watch: Watch, asleep: list["subprocess.Popen[bytes]"]
) -> None:
    watch()
    for _ in range(3):
        asleep[0].send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        asleep[0].send_signal(signal.SIGCONT)
    assert not ends(asleep[0], within=0.5)


# --- faults of one worker


STUMBLES = "pipe.send(('stumbled', 'No space left.')); os._exit(3)"
DIES = "os._exit(9)"
IS_DONE = "time.sleep(2); pipe.send(('done',)); os._exit(0)"
WAITS = (
    "pipe.send(('warn', 'Waiting for worker 1.')); time.sleep(2); pipe.send(('done',)); os._exit(0)"
)


def employing(*programs: str) -> tuple[Callable[[], Member], list[str]]:
    """Return who employs processes that run ``programs``, the last one ever again; and which ran."""
    ran: list[str] = []

    def employ() -> Member:
        ours, theirs = multiprocessing.Pipe()
        program = programs[min(len(ran), len(programs) - 1)]
        ran.append(program)
        text = (
            "import os, time; from multiprocessing.connection import Connection; "
            f"pipe = Connection({theirs.fileno()}); {program}"
        )
        process = subprocess.Popen([sys.executable, "-c", text], pass_fds=[theirs.fileno()])
        theirs.close()
        return process, ours

    return employ, ran


def lead(storage: Storage, *programs: str) -> tuple[list[str], list[str]]:
    """Let two processes at a time work; return what was said and what ran."""
    study, _ = running.submit(Order(TWO, digits()), storage)
    told = Recorder()
    employ, ran = employing(*programs)
    team = pool._Crew(study, told, employ, 2)
    warden = Warden(storage, team.processes, 60.0)
    try:
        team.work(lambda: False, warden)
    finally:
        for process, _ in team.members:
            process.kill()
    return told.warnings, ran


@pytest.mark.parametrize("fault", [STUMBLES, DIES])
def test_faults_of_one_worker_do_not_end_the_other(storage: Storage, fault: str) -> None:
    _, ran = lead(storage, IS_DONE, fault)
    assert 2 <= ran.count(fault) <= 7  # it is not tried for ever


def test_a_fault_that_all_workers_meet_ends_the_run_with_its_sentence(storage: Storage) -> None:
    with pytest.raises(HpoError, match=re.escape("No space left.")):
        lead(storage, STUMBLES)


def test_workers_that_all_die_end_the_run(storage: Storage) -> None:
    with pytest.raises(WorkersDie, match="keep dying"):
        lead(storage, DIES)


def test_what_several_say_in_the_same_words_is_said_once(storage: Storage) -> None:
    said, _ = lead(storage, WAITS)
    assert said == ["Waiting for worker 1."]


# --- whole runs

STUDY = """
from hpo.definition.study import StudyDefinition
from hpo.definition.grids import Logarithmic

STUDY = StudyDefinition(name="broad", grid=Logarithmic(-5, -1, 24), n_s=100, n_cycles=12)
"""


@pytest.mark.long
@pytest.mark.parametrize("n_stopped", [1, 2])
def test_a_run_with_a_stopped_worker_comes_to_its_end(tmp_path: Path, n_stopped: int) -> None:
    (tmp_path / "broad.py").write_text(STUDY)
    command = [SCRIPT, "run", "broad.py", "--data", "digits", "--workers", "3", "--grace", "3"]
    with (tmp_path / "told").open("w") as told:
        run = subprocess.Popen(
            [*command, "--storage", "sqlite:///it.db"], cwd=tmp_path, stderr=told
        )
    try:
        while (tmp_path / "told").read_text().count("in one stack") < 3:
            assert run.poll() is None
            time.sleep(0.05)
        children = [
            child
            for child in psutil.Process(run.pid).children()
            if any("hpo.workers.member" in word for word in child.cmdline())
        ]
        for child in children[:n_stopped]:
            os.kill(child.pid, signal.SIGSTOP)
        assert run.wait(120) == 0
        assert psutil.wait_procs(children, timeout=5)[1] == []
    finally:
        run.kill()
        run.wait()
    with closing(sqlite3.connect(tmp_path / "it.db")) as connection:
        assert connection.execute("select count(*) from hpo_results").fetchall() == [(24,)]
