"""Where the time goes: laps without gaps, and a table whose sums are the time that passed."""

import re
import time
from pathlib import Path
from typing import Any

import pytest

from hpo.training.phases import PHASES, Phases, table
from hpo.workers.member import Reserve


def test_the_phases_of_a_worker_add_up_to_the_time_since_the_run_began() -> None:
    began = time.time()
    phases = Phases(began)
    for phase in ("start", "gather", "forward", "gather"):
        time.sleep(0.02)
        phases.lap(phase)
    assert sum(phases.seconds.values()) == pytest.approx(time.time() - began, abs=0.01)
    assert phases.seconds["gather"] > phases.seconds["forward"] > 0


def test_the_first_update_begins_where_the_lap_before_it_ended() -> None:
    phases = Phases(time.time() - 5)
    phases.lap("start")
    started = time.time()
    time.sleep(0.05)
    phases.lap("gather")
    assert phases.first_update == pytest.approx(started, abs=0.02)
    assert phases.last_update == pytest.approx(started + 0.05, abs=0.02)


def test_a_run_that_trained_nothing_has_no_profile() -> None:
    assert table([]) == table([Phases(time.time())])
    assert "nothing to profile" in table([])


@pytest.mark.long
@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_profile_of_a_run_accounts_for_its_whole_time(
    process: Any, workplace: Path, workers: str
) -> None:
    (workplace / "longer.py").write_text(
        "from hpo.definition.study import StudyDefinition\nfrom hpo.definition.grids import Logarithmic\n"
        'STUDY = StudyDefinition(name="longer", grid=Logarithmic(-5, -1, 4), n_s=300, n_cycles=2)\n'
    )
    began = time.time()
    answer = process("run", "longer.py", "--data", "digits", "--workers", workers, "--profile")
    passed = time.time() - began

    assert answer.status == 0
    whole = float(re.search(r"whole run: ([\d.]+) s", answer.err)[1])  # type: ignore[index]
    assert whole == pytest.approx(passed, abs=0.3)
    rows = {line.split()[0]: re.findall(r"([\d.]+) s", line) for line in answer.err.splitlines()}
    assert set(PHASES) <= rows.keys()
    assert len(rows["sum"]) == int(workers)
    for seconds in rows["sum"]:
        assert float(seconds) == pytest.approx(whole, rel=0.05)


def test_processes_that_got_no_job_end_with_the_run() -> None:
    with Reserve(2) as reserve:
        processes = [process for process, _ in reserve._idle]
        assert all(process.poll() is None for process in processes)
    assert all(process.poll() is not None for process in processes)
