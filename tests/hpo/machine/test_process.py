"""A process is told from others by nothing that a clock or a cloned machine can change."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from hpo.machine import marks
from hpo.machine import process as hosts
from hpo.machine.process import is_gone, is_stopped, is_surely_gone, this_worker
from hpo.testing import until

ASLEEP = """
import json, time
from hpo.machine.process import this_worker
print(json.dumps(this_worker()), flush=True)
time.sleep(60)
"""


@pytest.fixture
def asleep() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that says who it is and sleeps."""
    with subprocess.Popen([sys.executable, "-c", ASLEEP], stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


def told(process: "subprocess.Popen[bytes]") -> dict[str, Any]:
    assert process.stdout is not None
    found: dict[str, Any] = json.loads(process.stdout.readline())
    return found


def test_this_process_lives() -> None:
    me = this_worker()
    assert me["pid"] == os.getpid()
    assert not is_gone(me)
    assert not is_surely_gone(me)


def test_another_process_lives_until_it_is_killed(asleep: "subprocess.Popen[bytes]") -> None:
    other = told(asleep)
    assert (is_gone(other), is_surely_gone(other)) == (False, False)
    asleep.kill()
    until(lambda: is_gone(other))  # as a zombie already: nobody has waited for it
    assert is_surely_gone(other)
    asleep.wait()
    assert is_surely_gone(other)


@pytest.mark.parametrize(
    "clues",
    [
        {"boot": "of another machine"},
        {"pid_namespace": "of another container"},
        {"pid": 0},  # would be our own group
        {"pid": -1},  # would be everybody
        {"pid": 2**70},
        {"pid": "7"},
        {"pid": None},
    ],
)
def test_of_who_is_not_here_nothing_is_known(clues: dict[str, Any]) -> None:
    assert not is_gone(this_worker() | clues)


def test_a_process_with_the_same_id_is_another_if_it_was_started_at_another_tick() -> None:
    me = this_worker()
    if me["ticks"] is None:
        pytest.skip("this kernel does not say when a process was started")
    assert is_gone(me | {"ticks": me["ticks"] - 1})
    assert not is_surely_gone(me | {"ticks": me["ticks"] - 1})  # its mark is ours, and held


@pytest.mark.parametrize("started", [0.0, 1e18])
def test_wall_clock_times_of_older_databases_say_nothing(started: float) -> None:
    old = {key: value for key, value in this_worker().items() if key not in ("ticks", "mark")}
    assert not is_gone(old | {"started": started})
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    gone.wait()
    assert is_gone(old | {"started": started, "pid": gone.pid})


def test_who_is_a_process_does_not_move_with_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    before = this_worker()
    hosts._identity.cache_clear()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    after = this_worker()
    assert {k: v for k, v in after.items() if k != "mark"} == {
        k: v for k, v in before.items() if k != "mark"
    }
    hosts._identity.cache_clear()


@pytest.mark.parametrize("hidden", [PermissionError, FileNotFoundError])
def test_a_process_that_is_hidden_from_us_lives(
    hidden: type[OSError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with hidepid=2: /proc shows nothing of others, and signals to them are refused."""

    def refuse(*_: object) -> None:
        raise PermissionError

    def unreadable(*_: object, **__: object) -> str:
        raise hidden

    monkeypatch.setattr(os, "kill", refuse)
    monkeypatch.setattr("pathlib.Path.read_text", unreadable)
    assert not is_gone(this_worker() | {"pid": 1})


def test_a_stopped_process_is_known(asleep: "subprocess.Popen[bytes]") -> None:
    other = told(asleep)
    assert not is_stopped(asleep.pid)
    asleep.send_signal(signal.SIGSTOP)
    until(lambda: is_stopped(asleep.pid))
    assert not is_gone(other)
    asleep.send_signal(signal.SIGCONT)


# --- marks


def test_a_twin_of_this_machine_knows_nothing_of_our_marks(
    killed_process: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    assert is_surely_gone(killed_process)
    monkeypatch.setattr(marks, "_folder", lambda: tmp_path)  # with files of its own
    assert is_gone(killed_process)
    assert not is_surely_gone(killed_process)


@pytest.mark.parametrize(
    "name", [None, 5, "", "../../etc/passwd", "/etc/passwd", "hpo-alive-0-" + "0" * 32, "a\0b"]
)
def test_what_is_no_mark_proves_nothing(killed_process: dict[str, Any], name: object) -> None:
    assert not is_surely_gone(killed_process | {"mark": name})


def test_without_a_place_for_a_mark_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> None:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(marks, "_folder", nowhere)
    assert marks.make() is None


def test_a_process_that_ends_takes_its_mark_away() -> None:
    program = "from hpo.machine.process import this_worker; print(this_worker()['mark'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    name = done.stdout.strip()
    assert name.startswith("hpo-alive-")
    assert not (marks._folder() / name).exists()


def test_marks_of_the_killed_are_deleted_in_the_end(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "_folder", lambda: tmp_path)
    monkeypatch.setattr(marks, "_held", {})
    for name, age in (("a" * 32, 2 * marks.LASTS), ("b" * 32, 0.0)):
        path = tmp_path / f"hpo-alive-{os.getuid()}-{name}"
        path.touch()
        os.utime(path, times=(path.stat().st_mtime - age,) * 2)
    (tmp_path / "somebody-elses").touch()

    made = marks.make()

    left = sorted(path.name[-3:] for path in tmp_path.iterdir())
    assert left == sorted(["bbb", "ses", str(made)[-3:]])
    marks.remove()


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
