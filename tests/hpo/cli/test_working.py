"""``worker``, ``submit``, ``retry`` and what ``status`` says of workers, with real processes."""

import json
import re
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hpo
from hpo.testing import until
from hpo.training.trainer import Trainer
from tests.hpo.processes import SCRIPT, begun

Command = Callable[..., Any]

#: 24 cells: a process alone takes them in two rounds of 12, some seconds each.
BROAD = {"name": "broad", "grid": "Logarithmic(-5, -1, 24)", "n_s": 100, "n_cycles": 16}
RUN_BROAD = ("run", "broad.py", "--data", "digits", "--workers", "1")


def stored(workplace: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(workplace / "hpo.db")) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.long
def test_a_worker_that_finds_nothing_waiting_is_given_half_of_a_stack(
    command: Command, write_study: Command, workplace: Path
) -> None:
    study = write_study(name="narrow", grid="Logarithmic(-5, -1, 4)", n_s=600, n_cycles=12)
    run = ("run", study, "--data", "digits", "--workers", "1")
    with begun(workplace, *run) as first:
        until(lambda: "training cells 0, 1, 2, 3" in (workplace / "run.err").read_text())
        with begun(workplace, "worker", "--data", "digits") as second:
            assert second.wait(timeout=60) == 0
        assert first.wait(timeout=60) == 0

    assert (
        "training cells 2, 3 in one stack, from update " in (workplace / "worker.err").read_text()
    )
    shares = stored(workplace, "select count(*) from hpo_attempts group by worker order by 1")
    assert shares == [(2,), (2,)] or shares == [(1,), (3,)]
    assert stored(workplace, "select max(attempt) from hpo_attempts") == [(0,)]
    assert stored(workplace, "select * from hpo_leases") == []
    command(*run, "--storage", "sqlite:///alone.db")
    exports = [
        command("export", "narrow-digits", "--storage", f"sqlite:///{name}.db").out
        for name in ("hpo", "alone")
    ]
    assert exports[0] == exports[1]


@pytest.mark.long
def test_a_worker_joins_a_run_and_shares_the_work(
    command: Command, write_study: Command, workplace: Path
) -> None:
    write_study(**BROAD)
    with begun(workplace, *RUN_BROAD) as run:
        until(lambda: "in one stack" in (workplace / "run.err").read_text())
        with begun(workplace, "worker", "--data", "digits") as worker:
            assert worker.wait(timeout=60) == 0
        assert run.wait(timeout=60) == 0

    told = (workplace / "worker.out").read_text()
    trained = re.fullmatch(r"Nothing is left to do; (\d+) trials were trained here.\n", told)
    shares = stored(workplace, "select count(*) from hpo_attempts group by worker order by 1")
    assert trained is not None
    assert (int(trained[1]),) in shares
    assert sum(n for (n,) in shares) == 24
    assert min(shares) >= (6,)  # half each, and a last half of a half
    assert stored(workplace, "select max(attempt) from hpo_attempts") == [(0,)]
    table = (workplace / "run.out").read_text()
    assert table.startswith("broad-digits: 24 of 24 done")
    assert command(*RUN_BROAD, "--storage", "sqlite:///alone.db").out == table
    exports = [
        command("export", "broad-digits", "--storage", f"sqlite:///{name}.db").out
        for name in ("hpo", "alone")
    ]
    assert exports[0] == exports[1]


def test_a_watching_worker_trains_what_is_submitted_later_until_it_is_told_to_stop(
    command: Command, write_study: Command, workplace: Path
) -> None:
    command("submit", write_study("first"), "--data", "digits")
    with begun(workplace, "worker", "--watch", "--data", "digits") as worker:
        until(lambda: stored(workplace, "select count(*) from hpo_results") == [(3,)])
        second = command("submit", write_study("second", n_s=20), "--data", "digits")
        assert second.out == "second-digits: 3 of 3 trials are waiting or running.\n"
        until(lambda: stored(workplace, "select count(*) from hpo_results") == [(6,)])
        assert worker.poll() is None
        worker.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert worker.wait(timeout=10) == 143
        assert time.monotonic() - began < 4

    told = (workplace / "worker.err").read_text()
    assert "Traceback" not in told
    assert told.endswith(
        "Stopped; 6 trials were trained here, what was begun is given back.\n",
    )
    assert (workplace / "worker.out").read_text() == ""
    again = command("run", "second.py", "--data", "digits")
    assert again.err.startswith("All 3 cells of second-digits were done before")


def test_a_worker_works_only_for_the_studies_that_are_named(
    command: Command, write_study: Command, workplace: Path
) -> None:
    for name in ("first", "second"):
        command("submit", write_study(name), "--data", "digits")

    answer = command("worker", "second-digits", "--data", "digits")

    assert answer.out == "Nothing is left to do; 3 trials were trained here.\n"
    states = stored(
        workplace,
        "select s.name, a.state, count(*) from hpo_attempts a join hpo_studies s on s.uuid = a.study "
        "group by 1, 2 order by 1",
    )
    assert states == [("first-digits", "waiting", 3), ("second-digits", "ended", 3)]


def test_a_worker_that_is_stopped_gives_back_what_it_began(
    write_study: Command, workplace: Path
) -> None:
    write_study(**BROAD | {"n_cycles": 200})
    submit = [SCRIPT, "submit", "broad.py", "--data", "digits"]
    subprocess.run(submit, cwd=workplace, check=True, capture_output=True, timeout=60)
    with begun(workplace, "worker", "--data", "digits") as worker:
        until(lambda: stored(workplace, "select count(*) from hpo_checkpoints") != [(0,)])
        worker.send_signal(signal.SIGINT)
        assert worker.wait(timeout=10) == 130

    states = "select state, count(*) from hpo_attempts group by state"
    assert stored(workplace, states) == [("waiting", 24)]
    assert stored(workplace, "select 1 from trials where state = 'RUNNING'") == []
    assert stored(workplace, "select count(*) from hpo_checkpoints") != [(0,)]


def test_submit_trains_nothing_and_may_be_repeated(
    command: Command, write_study: Command, workplace: Path
) -> None:
    study = write_study()
    answers = [command("submit", study, "--data", "digits") for _ in range(2)]

    assert answers[0].out == "tiny-digits: 3 of 3 trials are waiting or running.\n"
    assert answers[1].out == answers[0].out
    assert stored(workplace, "select state, count(*) from trials") == [("WAITING", 3)]
    assert stored(workplace, "select count(*) from hpo_results") == [(0,)]


def test_a_worker_for_an_unknown_study_names_the_known_ones(
    command: Command, write_study: Command
) -> None:
    command("submit", write_study(), "--data", "digits")

    told = command("worker", "tony-digits", "--data", "digits").sentence

    assert re.match(r"hpo: No study named 'tony-digits' .* \(it holds: tiny-digits\)", told)


def test_a_worker_with_other_images_is_told_so(
    command: Command, write_study: Command, write_npz: Command, workplace: Path
) -> None:
    command("submit", write_study(), "--data", "digits")
    other = write_npz()

    told = command("worker", "tiny-digits", "--data", other).sentence
    assert re.match("hpo: 'tiny-digits' is about digits images with another fingerprint", told)
    answer = command("worker", "--data", other)  # without a name it looks for studies on its images
    assert answer.out == "Nothing is left to do; 0 trials were trained here.\n"
    assert stored(workplace, "select state, count(*) from trials") == [("WAITING", 3)]


@pytest.mark.parametrize("words", [("worker",), ("worker", "--watch"), ("retry", "tiny-digits")])
def test_without_a_database_there_is_nothing_to_work_for_and_none_is_made(
    command: Command, workplace: Path, words: tuple[str, ...]
) -> None:
    more = ("--data", "digits") if words[0] == "worker" else ()

    assert command(*words, *more).sentence.startswith("hpo: No database at hpo.db.")
    assert list(workplace.iterdir()) == []


def test_cells_that_fail_three_times_end_the_run_by_name_until_they_are_retried(
    command: Command, write_study: Command, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    huge = write_study("huge")

    def start(*_: object) -> None:
        np.ones((10**9, 10**9))  # 8 EB of weights: no machine has them

    monkeypatch.setattr(Trainer, "start", start)

    first = command("run", huge, "--data", "digits", "--workers", "1")
    count = "select state, count(*) from hpo_attempts group by state"
    before = stored(workplace, count)
    second = command("run", huge, "--data", "digits", "--workers", "1")
    unchanged = stored(workplace, count)
    retried = command("retry", "huge-digits")
    waiting = stored(workplace, count)
    third = command("run", huge, "--data", "digits", "--workers", "1")

    assert first.status == second.status == third.status == 1
    assert "Traceback" not in first.err
    assert "This training needs more memory than there is: Unable to allocate" in first.err
    named = first.err[first.err.index("hpo: 3 cells of 'huge-digits' failed again and again") :]
    for cell, lambda_ in enumerate(("0.0001", "0.001", "0.01")):
        assert re.search(rf"^  cell {cell} \(lambda {lambda_}\): \w*MemoryError: ", named, re.M)
    assert "`hpo retry huge-digits` gives them another chance." in named
    assert before == [("failed", 9)]
    assert unchanged == before  # a run alone does not try again what failed so often
    assert retried.out == (
        "3 cells of huge-digits are waiting again. `hpo run huge --data digits` trains them.\n"
    )
    assert waiting == [("failed", 9), ("waiting", 3)]
    assert stored(workplace, count) == [("failed", 18)]
    assert stored(workplace, "select state, count(*) from trials") == [("FAIL", 18)]


def test_retry_of_a_sound_study_changes_nothing(
    command: Command, write_study: Command, workplace: Path
) -> None:
    command("run", write_study(), "--data", "digits")
    before = stored(workplace, "select * from hpo_attempts")

    assert command("retry", "tiny-digits").out.startswith("No cell of tiny-digits has failed;")
    assert stored(workplace, "select * from hpo_attempts") == before
    assert "No study named 'tony'" in command("retry", "tony").sentence


def test_status_shows_each_worker_with_its_host_heartbeat_cells_and_cycle(
    command: Command, write_study: Command, workplace: Path
) -> None:
    write_study(**BROAD | {"n_cycles": 200})
    with begun(workplace, *RUN_BROAD[:-1], "2") as run:
        saved = "select min(n), count(*) from (select max(n_updates) n from hpo_checkpoints group by cell)"
        until(lambda: (workplace / "run.err").read_text().count("in one stack") == 2)
        until(
            lambda: stored(workplace, saved)[0][1] == 24 and stored(workplace, saved)[0][0] >= 400
        )
        shown = command("status").out
        least = stored(workplace, saved)[0][0] // 200
        run.send_signal(signal.SIGINT)
        assert run.wait(timeout=10) == 130

    lines = shown.splitlines()
    assert lines[1].split()[:5] == ["broad-digits", "24", "0", "24", "0"]
    found = [
        re.fullmatch(
            rf"worker (\d+) on {re.escape(socket.gethostname())}, heard (\d+) s ago: "
            r"broad-digits cells ([\d, ]+), in cycle (\d+)",
            line,
        )
        for line in lines[3:]
    ]
    assert all(found), shown
    workers = [match.groups() for match in found if match]
    assert len({pid for pid, *_ in workers}) == 2
    assert sorted(int(n) for *_, cells, _ in workers for n in cells.split(", ")) == list(range(24))
    for _, heard, _, cycle in workers:
        assert int(heard) <= 12  # a heart beats every ten seconds
        assert 3 <= int(cycle) <= least + 3
    assert "worker" not in command("status").out  # they left


def test_status_shows_a_worker_that_died(
    command: Command, write_study: Command, workplace: Path
) -> None:
    write_study(**BROAD)
    with begun(workplace, *RUN_BROAD) as run:
        until(lambda: "in one stack" in (workplace / "run.err").read_text())
        run.kill()
        run.wait()

    shown = command("status").out

    assert re.search(rf"^worker {run.pid} on \S+, dead: broad-digits cells ", shown, re.M)


def test_a_submitted_study_goes_on_from_the_cell_that_was_named(
    command: Command, write_study: Callable[..., str]
) -> None:
    command("run", write_study("whole"), "--data", "digits")
    later = write_study("later", grid="Best()", parent="whole")

    answer = command("submit", later, "--data", "digits", "--cell", "2", "--train-metrics", "full")

    assert answer.status == 0, answer.err
    experiment = hpo.load("later-digits", storage="sqlite:///hpo.db").experiment
    assert experiment.definition.train_metrics == "full"
    assert experiment.lambdas == (1e-2,)


def test_a_worker_stops_after_the_hours_that_it_was_given(
    command: Callable[..., Any], write_study: Callable[..., str]
) -> None:
    command("submit", write_study(n_s=20_000, n_cycles=3), "--data", "digits")
    answer = command("worker", "--data", "digits", "--watch", "--max-hours", "0.0003")
    assert answer.status == 0
    assert "Stopped; 0 trials were trained here, what was begun is given back." in answer.err
    told = json.loads(command("queue", "--format", "json").out)["queue"]
    assert [(one["waiting"], one["running"]) for one in told] == [(3, 0)]


def test_a_worker_waits_no_longer_than_it_was_told(
    command: Callable[..., Any], write_study: Callable[..., str]
) -> None:
    command("submit", write_study(), "--data", "digits")
    answer = command("worker", "--data", "digits", "--idle-exit", "0.5")
    assert (answer.status, answer.out) == (
        0,
        "Nothing is left to do; 3 trials were trained here.\n",
    )


def test_a_study_is_called_off_and_gone_on_with(
    command: Callable[..., Any], write_study: Callable[..., str]
) -> None:
    study = write_study()
    command("submit", study, "--data", "digits", "--priority", "7")
    assert "waits for a worker" in command("queue").out
    assert "tiny-digits is called off" in command("cancel", "tiny-digits").out
    assert "called off" in command("queue").out
    told = command("worker", "tiny-digits", "--data", "digits").err
    assert "'tiny-digits' was called off; `hpo run tiny --data digits` goes on with it." in told
    assert command("worker", "--data", "digits").out.startswith("Nothing is left to do; 0 trials")
    assert command("run", study, "--data", "digits").status == 0
    assert command("queue").out.startswith("Nothing waits or runs")
    assert command("cancel", "tiny-digits").out == (
        "tiny-digits is finished; there was nothing to call off.\n"
    )
    assert "No cell of tiny-digits has failed" in command("retry", "tiny-digits").out
    assert "No study named 'x'" in command("cancel", "x").sentence
    assert "--priority" in command("submit", study, "--priority", "2000").sentence
