"""The first signal gives everything back within two seconds, the second ends at once."""

import os
import re
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.hpo.processes import SCRIPT, started

pytestmark = pytest.mark.long

Command = Callable[..., object]
PROMISED = 2.0  #: seconds from the first signal to the end
ALLOWED = 2 * PROMISED  #: what a loaded machine may take in a test
ENDINGS = [
    pytest.param(signal.SIGINT, 130, id="SIGINT"),
    pytest.param(signal.SIGTERM, 143, id="SIGTERM", marks=pytest.mark.long),
]

#: As many networks as a stack may have, which evaluate all images after every update.
HEAVY = """
from hpo.definition.study import StudyDefinition
from hpo.definition.grids import Logarithmic

STUDY = StudyDefinition(
    name="heavy", grid=Logarithmic(-5, -1, {n_cells}), n_s=10, n_cycles=50,
    train_metrics="full", n_validation=5000,
)
"""
#: Cells that end one by one, a few a second.
LIGHT = """
from hpo.definition.study import StudyDefinition
from hpo.definition.grids import Logarithmic

STUDY = StudyDefinition(name="light", grid=Logarithmic(-5, -1, 6), n_s=100, n_cycles=6)
"""
RUN_LIGHT = ("run", "light.py", "--data", "digits", "--protocol", "notebook")
INTERRUPTED = (
    r"^Interrupted: (\d+) of (\d+) cells of \S+ are done, (\d+) are left\. "
    r"Run the same command to go on\.$"
)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20,000 images of noise as large as those of CIFAR-10."""
    path = tmp_path_factory.mktemp("images") / "noise.npz"
    rng = np.random.default_rng(0)
    np.savez(
        path,
        images=rng.integers(0, 256, (20_000, 32, 32, 3), dtype=np.uint8),
        labels=rng.integers(0, 10, 20_000),
    )
    return path


def interrupted(
    process: "subprocess.Popen[str]", number: signal.Signals, status: int
) -> tuple[float, str]:
    """Send a signal and wait for the end; return the seconds and what was told."""
    began = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    seconds = time.monotonic() - began
    print(f"{seconds:.2f} s from the signal to the end")
    assert (process.returncode, out) == (status, ""), err
    assert "Traceback" not in err
    return seconds, err


def stored(workplace: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(workplace / "hpo.db")) as connection:
        return connection.execute(query).fetchall()


def nothing_is_held(workplace: Path) -> bool:
    """Look whether every claim was given back, in our rows and in Optuna's."""
    ours = stored(workplace, "select distinct state from hpo_attempts where state = 'running'")
    return not ours and not stored(workplace, "select 1 from trials where state = 'RUNNING'")


@pytest.mark.parametrize(("number", "status"), ENDINGS)
@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_signal_in_a_full_evaluation_of_a_full_stack_ends_the_run_in_two_seconds(
    workplace: Path, images: Path, number: signal.Signals, status: int, n_workers: int
) -> None:
    (workplace / "heavy.py").write_text(HEAVY.format(n_cells=16 * n_workers))
    run = ("run", "heavy.py", "--data", images, "--workers", str(n_workers))
    with started(workplace, *run, after="in one stack", times=n_workers) as process:
        time.sleep(1.0)  # the evaluations take nearly all of the time
        assert psutil.Process(process.pid).is_running()
        seconds, told = interrupted(process, number, status)

    assert seconds < ALLOWED
    found = re.search(INTERRUPTED, told, re.MULTILINE)
    assert found, told
    assert found.groups() == ("0", str(16 * n_workers), str(16 * n_workers))
    assert nothing_is_held(workplace)


@pytest.mark.parametrize(("number", "status"), ENDINGS)
@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_signal_while_another_process_holds_the_database_ends_the_run_in_two_seconds(
    workplace: Path, number: signal.Signals, status: int, n_workers: int
) -> None:
    (workplace / "light.py").write_text(LIGHT)
    run = (*RUN_LIGHT, "--workers", str(n_workers))
    with (
        started(workplace, *run, after="validation accuracy") as process,
        closing(sqlite3.connect(workplace / "hpo.db", isolation_level=None)) as other,
    ):
        other.execute("PRAGMA busy_timeout=10000")
        other.execute("BEGIN IMMEDIATE")
        time.sleep(1.0)  # the workers come to where they must write
        seconds, told = interrupted(process, number, status)
        other.execute("ROLLBACK")

    assert seconds < ALLOWED
    found = re.search(INTERRUPTED, told, re.MULTILINE)
    assert found, told
    n_done = int(found[1])
    assert 1 <= n_done < 6
    assert found.groups() == (str(n_done), "6", str(6 - n_done))
    again = subprocess.run(
        [SCRIPT, *run], cwd=workplace, capture_output=True, text=True, timeout=60
    )
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("light-digits-notebook: 6 of 6 done")
    assert nothing_is_held(workplace)


@pytest.mark.parametrize("n_workers", [1, 2])
def test_after_a_signal_nothing_is_held_and_the_export_is_that_of_a_whole_run(
    workplace: Path, command: Command, n_workers: int
) -> None:
    (workplace / "light.py").write_text(LIGHT)
    run = (*RUN_LIGHT, "--workers", str(n_workers))
    with started(workplace, *run, after="validation accuracy") as process:
        seconds, told = interrupted(process, signal.SIGINT, 130)

    assert seconds < ALLOWED
    assert re.search(INTERRUPTED, told, re.MULTILINE), told
    assert nothing_is_held(workplace)
    assert not stored(workplace, "select 1 from hpo_workers where ended_at is null")
    exports_the_bytes_of_a_whole_run(command)
    assert stored(workplace, "select max(attempt) from hpo_attempts") == [(0,)]


@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_second_signal_ends_at_once_and_the_database_stays_sound(
    workplace: Path, command: Command, n_workers: int
) -> None:
    (workplace / "light.py").write_text(LIGHT)
    run = (*RUN_LIGHT, "--workers", str(n_workers))
    with started(workplace, *run, after="validation accuracy") as process:
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=10)
        seconds = time.monotonic() - began
        print(f"{seconds:.2f} s from the second signal to the end")

    assert process.returncode in (130, 143)  # two pending signals may be handled in either order
    assert seconds < 0.5
    assert psutil.wait_procs(children, timeout=5)[1] == []  # nobody is left behind
    assert stored(workplace, "pragma integrity_check") == [("ok",)]
    exports_the_bytes_of_a_whole_run(command)


def exports_the_bytes_of_a_whole_run(command: Command) -> None:
    for storage in ("sqlite:///hpo.db", "sqlite:///whole.db"):
        answer = command(*RUN_LIGHT, "--workers", "1", "--storage", storage)
        assert answer.status == 0  # type: ignore[attr-defined]
    exported = [
        command("export", "light-digits-notebook", "--storage", storage).out  # type: ignore[attr-defined]
        for storage in ("sqlite:///hpo.db", "sqlite:///whole.db")
    ]
    assert exported[0] == exported[1]


@pytest.mark.parametrize(
    "moments",
    [
        pytest.param([0.6, 1.2], id="some"),
        pytest.param(np.linspace(0.3, 3.9, 13), id="many", marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize("n_workers", [1, 2])
def test_ctrl_c_on_a_terminal_leaves_no_traceback_whenever_it_comes(
    workplace: Path, n_workers: int, moments: Sequence[float]
) -> None:
    """A terminal sends SIGINT to the whole group, also to processes that are being born."""
    (workplace / "light.py").write_text(LIGHT)
    run = [SCRIPT, *RUN_LIGHT, "--workers", str(n_workers)]
    for moment in moments:
        process = subprocess.Popen(
            run,
            cwd=workplace,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        time.sleep(moment)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=30)

        assert "Traceback" not in err, f"after {moment:.1f} s: {err}"
        assert process.returncode in (0, 130, -signal.SIGINT), f"after {moment:.1f} s: {err}"
