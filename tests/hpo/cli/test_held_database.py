"""Another process holds the database: every command waits for it, and a signal ends the wait."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

SCRIPT = Path(sys.executable).with_name("hpo")
COMMANDS = {
    "run": ("run", "tiny.py", "--data", "digits", "--replicates", "2"),
    "run with processes": ("run", "tiny.py", "--data", "digits", "--replicates", "2", "--workers", "2"),
    "submit": ("submit", "tiny.py", "--data", "digits", "--replicates", "2"),
    "worker": ("worker", "--data", "digits", "--watch"),
    "retry": ("retry", "tiny-digits"),
    "delete": ("delete", "tiny-digits", "--yes"),
    "doctor --repair": ("doctor", "--repair"),
}  # fmt: skip
LOOKING = {
    "status": ("status",),
    "list": ("list",),
    "best": ("best", "tiny-digits"),
    "export": ("export", "tiny-digits"),
    "doctor": ("doctor",),
}


@pytest.fixture
def database(
    workplace: Path, write_study: Callable[..., str], command: Callable[..., object]
) -> Path:
    """A database with a finished study."""
    study = write_study("tiny", grid="Values((1e-4, 1e-3))", n_cycles=1)
    command("run", study, "--data", "digits", "--workers", "1")
    return workplace / "hpo.db"


@pytest.fixture
def held(database: Path) -> Iterator[Path]:
    """The database while this process holds it."""
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("PRAGMA busy_timeout=10000")
        other.execute("BEGIN IMMEDIATE")
        yield database


def waits_for(process: "subprocess.Popen[str]", database: Path) -> bool:
    """Tell whether a process, or a child of it, has the database open."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
    for member in family:
        try:
            if any(file.path == str(database) for file in member.open_files()):
                return True
        except psutil.Error:
            continue
    return False


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_signal_ends_every_command_that_waits_for_the_database(
    held: Path, name: str, number: signal.Signals
) -> None:
    process = subprocess.Popen(
        [SCRIPT, *COMMANDS[name]],
        cwd=held.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for _ in range(600):
            if waits_for(process, held):
                break
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=0.05)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.7)
        process.send_signal(number)
        _, told = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()

    assert process.returncode == 128 + number, told
    assert "Traceback" not in told
    assert "nterrupted" in told or "Stopped" in told


@pytest.mark.parametrize("name", LOOKING)
def test_who_only_looks_does_not_wait(
    held: Path, name: str, command: Callable[..., object]
) -> None:
    assert command(*LOOKING[name]).status == 0  # type: ignore[attr-defined]


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", [*COMMANDS, *LOOKING])
def test_a_signal_ends_every_command_where_another_process_has_the_database_for_itself(
    database: Path, name: str, number: signal.Signals
) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN IMMEDIATE")  # now nobody can even look
        process = subprocess.Popen(
            [SCRIPT, *(COMMANDS | LOOKING)[name]],
            cwd=database.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=4)
            process.send_signal(number)
            _, told = process.communicate(timeout=20)
        finally:
            process.kill()
            process.communicate()

    assert process.returncode in (128 + number, -number), told  # a shell shows both as one
    assert "Traceback" not in told
