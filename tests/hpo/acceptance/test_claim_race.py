"""Eight processes want the same cells at once: each cell is claimed by exactly one of them.

Run as a script, with a URL and a number, this file is one of the eight.
"""

import itertools
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from hpo.commands import running
from hpo.commands.request import Order
from hpo.database import outcomes, rows
from hpo.database.reader import read_once
from hpo.database.storage import Storage
from hpo.definition.grids import Logarithmic
from hpo.definition.study import StudyDefinition
from hpo.mirror import study as studies
from hpo.workers.claims import claim
from hpo.workers.membership import Membership
from model.data import digits
from tests.hpo import poolers

pytestmark = pytest.mark.long
pooled = poolers.pooled

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = Path(sys.executable).with_name("hpo")
N_PROCESSES = 8
N_CELLS = 200
MANY = StudyDefinition(name="many", grid=Logarithmic(-5, -1, N_CELLS), n_s=10, n_cycles=1)


def claim_until_nothing_waits(url: str, number: int) -> None:
    """Be one of the eight: say that we are ready, wait for the word, and tell what we got."""
    storage = Storage(url)
    study = studies.find(storage, "many-digits")
    assert study is not None
    rng = random.Random(number)
    taken: list[tuple[int, str]] = []
    with Membership(storage) as member:
        say("ready")
        sys.stdin.readline()
        for _ in itertools.count():
            held = claim(study, rng.randint(1, 4), member.identity)
            if held is None:
                break
            taken += [(cell, held.token) for cell in held.attempts]
            time.sleep(0.01)  # who trains lets others have the lock
        say(json.dumps(taken))
        sys.stdin.readline()  # nobody leaves while another may still claim
    storage.close()


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def tell_all(processes: Sequence["subprocess.Popen[str]"]) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def heard(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize(
    "repetition",
    [0, pytest.param(1, marks=pytest.mark.long), pytest.param(2, marks=pytest.mark.long)],
)
def test_eight_processes_claim_two_hundred_cells_once_each(url: str, repetition: int) -> None:
    race(url, repetition)


def test_so_they_do_through_a_pooler_of_transactions(pooled: str) -> None:
    race(pooled, 0)


def race(url: str, repetition: int) -> None:
    storage = Storage(url)
    study, _ = running.submit(Order(MANY, digits()), storage)
    storage.close()
    command = [sys.executable, "-m", "tests.hpo.acceptance.test_claim_race", url]
    processes = [
        subprocess.Popen(
            [*command, str(N_PROCESSES * repetition + number)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(N_PROCESSES)
    ]
    try:
        assert [heard(process) for process in processes] == ["ready"] * N_PROCESSES
        tell_all(processes)
        taken = [json.loads(heard(process)) for process in processes]
        tell_all(processes)
        assert [process.wait(timeout=30) for process in processes] == [0] * N_PROCESSES
    finally:
        for process in processes:
            process.kill()
            process.communicate()

    told = [cell for one in taken for cell, _ in one]
    print(f"claims of each process: {[len(one) for one in taken]}")
    assert Counter(told) == Counter(range(N_CELLS))  # none twice, none lost
    assert sum(bool(one) for one in taken) > 1  # it was a race

    def look(connection: sa.Connection) -> tuple[Any, Any]:
        attempts = rows.attempts_of(connection, study.uuid, states=["running"])
        shown = connection.execute(sa.text("select state, count(*) from trials group by state"))
        return {a.slot.cell: a.token for a in attempts}, [tuple(row) for row in shown]

    held, shown = read_once(url, look)
    assert held == {cell: token for one in taken for cell, token in one}
    assert shown == [("RUNNING", N_CELLS)]


TINY = """
from hpo.definition.study import StudyDefinition
from hpo.definition.grids import Logarithmic

STUDY = StudyDefinition(name="tiny", grid=Logarithmic(-5, -1, 12), n_s=10, n_cycles=2)
"""


@pytest.mark.parametrize(
    "repetition",
    [0, pytest.param(1, marks=pytest.mark.long), pytest.param(2, marks=pytest.mark.long)],
)
def test_eight_runs_that_start_together_on_no_database_make_one_study(
    url: str, tmp_path: Path, repetition: int
) -> None:
    del repetition
    (tmp_path / "tiny.py").write_text(TINY)
    command = [SCRIPT, "run", "tiny.py", "--data", "digits", "--workers", "1", "--storage", url]
    processes = [
        subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(N_PROCESSES)
    ]
    try:
        told = [process.communicate(timeout=90) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()

    for process, (out, err) in zip(processes, told, strict=True):
        assert process.returncode == 0, err
        assert "Traceback" not in err
        assert out == told[0][0]  # all of them end with the whole table
    assert told[0][0].startswith("tiny-digits: 12 of 12 done")

    def look(connection: sa.Connection) -> tuple[Any, ...]:
        (study,) = rows.all_studies(connection)
        names = list(connection.execute(sa.text("select study_name from studies")).scalars())
        shown = connection.execute(sa.text("select state, count(*) from trials group by state"))
        cells = [result.slot.cell for result in outcomes.results_of(connection, study.uuid)]
        numbers = {a.number for a in rows.attempts_of(connection, study.uuid)}
        return names, [tuple(row) for row in shown], cells, numbers

    names, shown, cells, numbers = read_once(url, look)
    assert names == ["tiny-digits"]
    assert shown == [("COMPLETE", 12)]
    assert cells == list(range(12))
    assert numbers == {0}


if __name__ == "__main__":
    claim_until_nothing_waits(sys.argv[1], int(sys.argv[2]))
