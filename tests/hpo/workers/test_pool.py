"""Several worker processes: the same results as one, shared evenly, and none left behind."""

import os
import re
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest

from hpo.testing import until
from tests.hpo.processes import SCRIPT, begun

#: 24 cells, a few seconds of training in all.
STUDY = """
from hpo.definition.study import StudyDefinition
from hpo.definition.grids import Logarithmic

STUDY = StudyDefinition(name="broad", grid=Logarithmic(-5, -1, 24), n_s=100, n_cycles={n_cycles})
"""
RUN = ("run", "broad.py", "--data", "digits")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "broad.py").write_text(STUDY.format(n_cycles=4))
    return tmp_path


def hpo(folder: Path, *arguments: str | Path) -> str:
    done = subprocess.run(
        [SCRIPT, *arguments], cwd=folder, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def told(folder: Path) -> str:
    return (folder / "run.err").read_text()


def workers_of(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    """Return the worker processes that a run has now."""
    found = []
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children():
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                if any("hpo.workers.member" in word for word in child.cmdline()):
                    found.append(child)
    return found


def stored(database: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.long
@pytest.mark.parametrize("many", ["2", pytest.param("5", marks=pytest.mark.long)])
def test_several_workers_export_the_bytes_of_one(folder: Path, many: str) -> None:
    exports = {}
    for workers in ("1", many):
        storage = f"sqlite:///{folder / workers}.db"
        hpo(folder, *RUN, "--storage", storage, "--workers", workers)
        exports[workers] = [
            hpo(folder, "export", "broad-digits", "--storage", storage, "--format", kind)
            for kind in ("json", "csv")
        ]

    assert exports[many] == exports["1"]
    assert stored(folder / f"{many}.db", "select max(attempt) from hpo_attempts") == [(0,)]


@pytest.mark.long
def test_cells_are_shared_out_evenly_in_stacks(folder: Path) -> None:
    with begun(folder, *RUN, "--workers", "2", "--storage", "sqlite:///it.db") as process:
        assert process.wait(timeout=60) == 0

    shares = Counter(row for row in stored(folder / "it.db", "select worker from hpo_attempts"))
    assert sorted(shares.values()) == [12, 12]
    assert told(folder).count("in one stack") == 2
    trained = re.findall(r"training cells ([\d, ]+) in one stack", told(folder))
    assert sorted(int(n) for cells in trained for n in cells.split(", ")) == list(range(24))


@pytest.mark.long
def test_a_worker_that_dies_is_replaced_and_its_cells_are_trained_by_another(
    folder: Path,
) -> None:
    (folder / "broad.py").write_text(STUDY.format(n_cycles=12))
    with begun(folder, *RUN, "--workers", "2", "--storage", "sqlite:///it.db") as process:
        until(lambda: told(folder).count("in one stack") == 2)
        victim = workers_of(process)[0]
        victim.kill()
        assert process.wait(timeout=60) == 0

    assert (folder / "run.out").read_text().startswith("broad-digits: 24 of 24 done")
    assert "A worker died (SIGKILL); another takes over." in told(folder)
    died = "select count(*) from hpo_attempts where state = 'failed' and reason like '%died%'"
    assert stored(folder / "it.db", died) == [(12,)]
    assert stored(folder / "it.db", "select count(*) from hpo_results") == [(24,)]


def test_workers_that_keep_dying_end_the_run_with_a_sentence(folder: Path) -> None:
    (folder / "broad.py").write_text(STUDY.format(n_cycles=100))
    killed = 0
    with begun(folder, *RUN, "--workers", "2", "--storage", "sqlite:///it.db") as process:
        end = time.monotonic() + 90
        while process.poll() is None:
            assert time.monotonic() < end, f"still going on after {killed} deaths"
            for worker in workers_of(process):
                with suppress(psutil.NoSuchProcess):
                    worker.kill()
                    killed += 1
            time.sleep(0.02)

    assert process.returncode == 1
    sentence = told(folder).splitlines()[-1]
    assert re.match(
        r"hpo: The workers of 'broad-digits' keep dying \(last exit status -9\); nothing is lost\. "
        r"Is there enough memory\? Try fewer --workers",
        sentence,
    )
    assert "Traceback" not in told(folder)
    assert 7 <= killed <= 9  # three for each of two workers are put up with


@pytest.mark.long
def test_workers_that_die_after_every_cycle_are_replaced_for_ever(folder: Path) -> None:
    """A cycle that was finished is progress: a flaky machine gets there, if slowly."""
    (folder / "broad.py").write_text(STUDY.format(n_cycles=60))
    n_killed = 0
    with begun(folder, *RUN, "--workers", "1", "--storage", "sqlite:///it.db") as alone:
        until(lambda: "in one stack" in told(folder))
        alone.kill()
    with begun(folder, *RUN, "--workers", "2", "--storage", "sqlite:///it.db") as process:
        saved = "select max(n_updates), count(*) from hpo_checkpoints"
        while n_killed < 8:
            before = stored(folder / "it.db", saved)
            until(lambda: process.poll() is not None or stored(folder / "it.db", saved) != before)  # noqa: B023
            assert process.poll() is None, told(folder)
            for worker in workers_of(process)[:1]:
                with suppress(psutil.NoSuchProcess):
                    worker.kill()
                    n_killed += 1

    assert told(folder).count("A worker died (SIGKILL)") >= 7  # more than six without a result
    assert stored(folder / "it.db", "select count(*) from hpo_results") == [(0,)]


def test_workers_end_soon_after_their_parent_was_killed(folder: Path) -> None:
    (folder / "broad.py").write_text(STUDY.format(n_cycles=100))
    with begun(folder, *RUN, "--workers", "2", "--storage", "sqlite:///it.db") as process:
        until(lambda: told(folder).count("in one stack") == 2)
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(workers_of(process)) == 2
        os.kill(process.pid, signal.SIGKILL)
        began = time.monotonic()
        _, alive = psutil.wait_procs(children, timeout=10)
        print(f"orphans ended after {time.monotonic() - began:.2f} s")

    assert alive == []
    states = "select state, count(*) from hpo_attempts group by state"
    assert stored(folder / "it.db", states) == [("waiting", 24)]  # what they held was given back
    assert stored(folder / "it.db", "select 1 from hpo_workers where ended_at is null") == []


@pytest.mark.long
def test_two_workers_print_the_table_of_one_on_cifar10(
    cifar10_folder: Path, tmp_path: Path
) -> None:
    tables = []
    for workers in ("1", "2"):
        storage = f"sqlite:///{workers}.db"
        run = ("run", "coarse", "--pruner", "none", "--data", cifar10_folder)
        run += ("--storage", storage)
        began = time.monotonic()
        tables.append(hpo(tmp_path, *run, "--workers", workers))
        print(f"{workers} workers: {time.monotonic() - began:.1f} s")

    assert tables[0] == tables[1]
    assert tables[0].startswith("coarse: 8 of 8 done, 3600 updates each")
    exports = [hpo(tmp_path, "export", "coarse", "--storage", f"sqlite:///{n}.db") for n in (1, 2)]
    assert exports[0] == exports[1]
