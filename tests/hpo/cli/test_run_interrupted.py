"""``hpo run`` that is interrupted, killed or started twice: the same command goes on."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.hpo.cli.remains import stored, trials
from tests.hpo.processes import SCRIPT, started

Command = Callable[..., Any]


# A study whose cells end one by one, each after about a third of a second, so that a signal
# after the first of them finds some cells done and others not.
LONG = {"name": "long", "grid": "Values((1e-5, 1e-4, 1e-3, 1e-2))", "n_s": 600, "n_cycles": 2}
RUN_LONG = ("run", "long.py", "--data", "digits", "--protocol", "notebook")


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.long)],
)
def test_a_signal_gives_back_what_is_not_done_and_the_same_command_goes_on(
    number: signal.Signals,
    status: int,
    command: Command,
    write_study: Command,
    workplace: Path,
) -> None:
    write_study(**LONG)
    with started(workplace, *RUN_LONG, after="cell 0 ") as process:
        began = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        waited = time.monotonic() - began

    assert (process.returncode, out) == (status, "")
    found = re.search(
        r"^Interrupted: (\d) of 4 cells of long-digits-notebook are done, (\d) are left\. "
        r"Run the same command to go on\.$",
        err,
        re.MULTILINE,
    )
    assert found, err
    assert "Traceback" not in err
    assert waited < 2  # the training in progress was not waited for
    done = [cell for cell, *_ in trials(workplace)]
    assert done == list(range(int(found[1])))
    assert 1 <= len(done) < 4
    states = stored(workplace, "select state, count(*) from hpo_attempts group by state")
    assert dict(states) == {"ended": len(done), "waiting": 4 - len(done)}
    exported = json.loads(command("export", "long-digits-notebook").out)["trials"]
    assert [trial["cell"] for trial in exported] == done  # half a training is no result

    again = command(*RUN_LONG)

    assert again.status == 0
    assert not any(f"cell {cell} " in again.err for cell in done)
    assert trials(workplace) == [(cell, 0, "complete") for cell in range(4)]
    assert stored(workplace, "select max(attempt) from hpo_attempts") == [(0,)]


@pytest.mark.long
def test_an_interrupted_study_exports_the_bytes_of_one_that_was_not(
    command: Command, write_study: Command, workplace: Path
) -> None:
    write_study(**LONG)
    with started(workplace, *RUN_LONG, after="cell 0 ") as process:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    command(*RUN_LONG)

    command(*RUN_LONG, "--storage", "sqlite:///whole.db")

    name = "long-digits-notebook"
    whole = command("export", name, "--storage", "sqlite:///whole.db").out
    assert command("export", name).out == whole


@pytest.mark.long
def test_after_kill_9_the_same_command_goes_on(
    command: Command, write_study: Command, workplace: Path
) -> None:
    write_study(**LONG)
    with started(workplace, *RUN_LONG, after="training cell 1") as process:
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL

    again = command(*RUN_LONG)

    assert again.status == 0
    assert re.search(r"^1 trials? of .* died .* taken up again\.$", again.err, re.MULTILINE)
    assert trials(workplace) == [(cell, 0, "complete") for cell in range(4)]
    shown = stored(workplace, "select state, count(*) from trials group by state order by state")
    assert shown == [("COMPLETE", 4), ("FAIL", 1)]  # Optuna shows the attempt that was killed


def test_a_killed_study_says_how_many_cells_are_missing(
    command: Command, write_study: Command, workplace: Path
) -> None:
    write_study(**LONG)
    with started(workplace, *RUN_LONG, after="training cell 1") as process:
        process.kill()

    status = command("status").out.splitlines()[1].split()
    assert status[:5] == ["long-digits-notebook", "4", "1", "1", "2"]
    derived = write_study("after", grid="Best()", parent="long")
    told = command("run", derived, "--data", "digits", "--protocol", "notebook").sentence
    assert re.search("is not finished: 3 of its 4 cells are missing. Run `hpo run", told)
    assert "so far; 3 of 4 cells are missing" in command("best", "long-digits-notebook").out


@pytest.mark.long
def test_two_processes_that_start_together_share_the_cells(
    command: Command, write_study: Command, workplace: Path
) -> None:
    write_study(**LONG)
    processes = [
        subprocess.Popen(
            [SCRIPT, *RUN_LONG],
            cwd=workplace,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    told = [process.communicate(timeout=60) for process in processes]

    for process, (_, err) in zip(processes, told, strict=True):
        assert "Traceback" not in err
        assert "Interrupted" not in err  # nobody was: the other one has the rest in hand
        assert process.returncode == 0
    assert trials(workplace) == [(cell, 0, "complete") for cell in range(4)]
    assert stored(workplace, "select count(*), max(attempt) from hpo_attempts") == [(4, 0)]
    assert stored(workplace, "select state, count(*) from trials group by state") == [
        ("COMPLETE", 4)
    ]
