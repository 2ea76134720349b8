"""``hpo run`` as its user meets it: to the end, again, derived, interrupted, killed, diverging."""

import json
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from hpo.data.source import Source

SCRIPT = Path(sys.executable).with_name("hpo")
Command = Callable[..., Any]

#: Three studies on digits, small enough for a test; the second and third derive from the first.
BROAD = {"name": "broad", "grid": "Values((1e-4, 1e-3, 1e-2))"}
NARROW = {"name": "narrow", "grid": "AroundBest(n=2)", "parent": "broad"}
LAST = {"name": "last", "grid": "Best()", "parent": "narrow", "evaluates_test": True}


def stored(workplace: Path, query: str, database: str = "hpo.db") -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(workplace / database)) as connection:
        return connection.execute(query).fetchall()


def trials(workplace: Path) -> list[tuple[Any, ...]]:
    """Return (cell, replicate, outcome) of every counted result."""
    query = "select cell, replicate, outcome from hpo_results order by cell, replicate"
    return stored(workplace, query)


def test_a_run_tells_its_story_and_prints_the_table(command: Command, write_study: Command) -> None:
    answer = command("run", write_study(), "--data", "digits")

    assert answer.status == 0
    lines = answer.out.splitlines()
    assert lines[0].startswith("tiny-digits: 3 of 3 done, 40 updates each, 1200 training and 300 v")
    assert [line.split()[:2] for line in lines[2:5]] == [
        ["0", "0.0001"],
        ["1", "0.001"],
        ["2", "0.01"],
    ]
    assert sum(line.endswith("best") for line in lines) == 1
    assert re.fullmatch(r"Best lambda: 0\.0+1", lines[5])
    assert "tiny-digits: training cells 0, 1, 2 in one stack" in answer.err
    assert answer.err.count("validation accuracy") == 3


def test_the_second_run_trains_nothing_and_says_so(
    command: Command, write_study: Command, workplace: Path
) -> None:
    first = command("run", write_study(), "--data", "digits")
    attempts = stored(workplace, "select * from hpo_attempts")

    second = command("run", "tiny.py", "--data", "digits")

    assert (second.status, second.out) == (0, first.out)
    told = "All 3 cells of tiny-digits were done before; nothing was trained.\n"
    assert second.err == told
    assert stored(workplace, "select * from hpo_attempts") == attempts


def test_the_three_studies_that_ship_run_one_after_the_other(command: Command) -> None:
    answers = {name: command("run", name, "--data", "digits") for name in ("coarse", "fine")}
    final = command("run", "final", "--data", "digits", "--dry-run")

    assert answers["coarse"].out.startswith("coarse-digits: 8 of 8 done, 96 updates each")
    assert answers["fine"].out.startswith("fine-digits: 10 of 10 done, 144 updates each")
    assert "final-digits: 1 cells with 3 replicates each, 0 trainings done" in final.out
    assert "updates: 144 a cell, 432 to make" in final.out


def test_a_derived_study_is_searched_around_the_best_cell(
    command: Command, write_study: Command
) -> None:
    for study in (BROAD, NARROW, LAST):
        answer = command("run", write_study(**study), "--data", "digits")
        assert answer.status == 0

    assert re.search(r"^Test accuracy: 0\.\d{4}$", answer.out, re.MULTILINE)
    narrow = json.loads(command("export", "narrow-digits").out)
    assert narrow["definition"]["parent"]["study"] == "broad-digits"
    best = command("best", "last-digits").out
    assert "(one look at the test images)" in best


def test_a_study_derived_at_the_edge_says_that_it_is_one_sided(
    command: Command, write_study: Command
) -> None:
    command("run", write_study("broad", grid="Values((1e-3, 4.9))"), "--data", "digits")

    answer = command("run", write_study(**NARROW), "--data", "digits")

    assert "The best cell of broad-digits is the smallest of its grid, so the search" in answer.err
    assert answer.out.startswith("narrow-digits: 2 of 2 done")


def test_a_second_look_at_the_test_images_is_not_taken(
    command: Command, write_study: Command, workplace: Path
) -> None:
    study = write_study("only", grid="Values((1e-3,))", evaluates_test=True)

    first, second = (command("run", study, "--data", "digits") for _ in range(2))

    assert "Test accuracy: " in first.out
    assert second.out == first.out
    assert stored(workplace, "select count(*) from hpo_test_looks") == [(1,)]


def test_searching_never_reads_the_test_images(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(self: Source) -> None:
        pytest.fail("the test images were read")

    monkeypatch.setattr(Source, "test", poisoned)

    assert command("run", "coarse", "--data", "digits").status == 0
    assert command("run", "fine", "--data", "digits").status == 0


@pytest.mark.long
@pytest.mark.parametrize("test_batch", ["missing", "poisoned"])
def test_searching_on_cifar10_never_opens_the_test_batch(
    test_batch: str, cifar10_folder: Path, command: Command, write_study: Command, workplace: Path
) -> None:
    folder = workplace / "batches"
    folder.mkdir()
    for number in range(1, 6):
        name = f"data_batch_{number}"
        source = next(
            p for p in (cifar10_folder / name, cifar10_folder / f"{name}.bin") if p.exists()
        )
        (folder / source.name).symlink_to(source.resolve())
    if test_batch == "poisoned":
        (folder / "test_batch").write_bytes(b"cos\nsystem\n(S'false'\ntR.")

    answer = command("run", write_study(grid="Values((1e-3,))"), "--data", folder)

    assert answer.out.startswith(
        "tiny: 1 of 1 done, 40 updates each, 45000 training and 5000 valid"
    )


def test_fine_before_coarse_says_what_to_run(command: Command, workplace: Path) -> None:
    answer = command("run", "fine", "--data", "digits")

    assert re.fullmatch(
        "hpo: 'fine' needs the finished study 'coarse-digits', which is not in this storage "
        r"\(it holds: none yet\)\. Run `hpo run coarse` first, or name one with --from\.",
        answer.sentence,
    )
    assert list(workplace.iterdir()) == []  # no database was made


def test_fine_before_coarse_has_finished_says_how_many_cells_are_missing(
    command: Command, workplace: Path
) -> None:
    command("run", "coarse", "--data", "digits")
    with closing(sqlite3.connect(workplace / "hpo.db")) as connection, connection:
        connection.execute("delete from hpo_results where cell in (2, 5, 7)")

    answer = command("run", "fine", "--data", "digits")

    assert re.match(
        "hpo: 'coarse-digits' is not finished: 3 of its 8 cells are missing. Run `hpo run coarse` ",
        answer.sentence,
    )
    assert stored(workplace, "select name from hpo_studies") == [("coarse-digits",)]


def test_fine_on_one_data_set_does_not_take_its_parent_from_another(
    command: Command, write_study: Command, write_npz: Command
) -> None:
    command("run", write_study(**BROAD), "--data", "digits")
    data = write_npz()

    told = command("run", write_study(**NARROW, batch_size=10), "--data", data).sentence
    assert "needs the finished study 'broad-mine', which is not in this storage" in told
    told = command("run", "narrow.py", "--data", data, "--from", "broad-digits").sentence
    assert re.match("hpo: 'broad-digits' was trained on other images .* same --data", told)


def test_from_names_the_parent(command: Command, write_study: Command) -> None:
    command("run", write_study(**BROAD), "--data", "digits", "--name", "another")

    first = command("run", write_study(**NARROW), "--data", "digits", "--from", "another")
    again = command("run", "narrow.py", "--data", "digits")
    wrong = command("run", "narrow.py", "--data", "digits", "--from", "broad-digits")

    assert first.out == again.out
    assert "narrow-digits: 2 cells" in command("list").out
    assert ", from another" in command("list").out
    assert "'narrow-digits' is derived from 'another', not from 'broad-digits'" in wrong.sentence


def test_from_has_no_meaning_for_a_study_without_a_parent(command: Command) -> None:
    told = command("run", "coarse", "--data", "digits", "--from", "x").sentence

    assert told == "hpo: 'coarse' is derived from no other study, so --from has no meaning."


def test_a_parents_cell_never_moves_later(
    command: Command, write_study: Command, workplace: Path
) -> None:
    command("run", write_study(**BROAD), "--data", "digits")
    first = command("run", write_study(**NARROW), "--data", "digits")
    command("delete", "broad-digits", "--yes")

    assert command("run", "narrow.py", "--data", "digits").out == first.out


def test_name_replaces_the_name(command: Command, write_study: Command) -> None:
    answer = command("run", write_study(), "--data", "digits", "--name", "second-try")

    assert answer.out.startswith("second-try: 3 of 3 done")
    assert command("list").out.startswith("second-try: 3 cells")


@pytest.mark.parametrize("name", ["", " "])
def test_a_name_must_be_one(command: Command, write_study: Command, name: str) -> None:
    assert "name" in command("run", write_study(), "--data", "digits", "--name", name).sentence


def test_another_seed_under_the_same_name_is_refused_with_the_difference(
    command: Command, write_study: Command, workplace: Path
) -> None:
    command("run", write_study(), "--data", "digits")
    before = stored(workplace, "select * from hpo_studies")

    told = command("run", "tiny.py", "--data", "digits", "--seed", "7").sentence

    assert told.splitlines() == [
        "hpo: The stored study 'tiny-digits' is a different experiment; nothing was run:",
        "  seed: stored 0, asked for 7",
        "Run it as it was stored, give the new one a name with --name, or remove the old one with "
        "`hpo delete tiny-digits`.",
    ]
    assert stored(workplace, "select * from hpo_studies") == before


def test_another_seed_under_another_name_gives_other_results(
    command: Command, write_study: Command
) -> None:
    study = write_study()
    for name, seed in (("zero", "0"), ("seven", "7"), ("again", "7")):
        command("run", study, "--data", "digits", "--name", name, "--seed", seed)

    curves = [
        json.loads(command("export", name).out)["trials"] for name in ("zero", "seven", "again")
    ]

    assert curves[1] == curves[2]
    assert curves[0] != curves[1]


def test_other_data_under_the_same_name_is_refused(
    command: Command, write_study: Command, write_npz: Command
) -> None:
    study = write_study(batch_size=10)
    command("run", study, "--data", "digits", "--name", "it")

    told = command("run", study, "--data", write_npz(), "--name", "it").sentence

    assert "\n  data fingerprint: stored " in told
    assert "\n  data name: stored digits, asked for mine\n" in told


def test_a_changed_study_file_is_refused(command: Command, write_study: Command) -> None:
    command("run", write_study(), "--data", "digits")

    told = command("run", write_study(n_s=12, hidden=20), "--data", "digits").sentence

    assert "\n  hidden: stored 50, asked for 20\n  n_s: stored 10, asked for 12\n" in told


def test_more_replicates_may_be_asked_for_later(
    command: Command, write_study: Command, workplace: Path
) -> None:
    command("run", write_study(), "--data", "digits")
    before = json.loads(command("export", "tiny-digits").out)["trials"]

    answer = command("run", write_study(replicates=2), "--data", "digits")

    assert answer.out.startswith("tiny-digits: 6 of 6 done")
    after = json.loads(command("export", "tiny-digits").out)["trials"]
    assert [t for t in after if t["replicate"] == 0] == before
    assert [(t["cell"], t["replicate"]) for t in after] == [
        (cell, replicate) for cell in range(3) for replicate in range(2)
    ]


def test_the_notebook_protocol_is_a_study_of_its_own(
    command: Command, write_study: Command
) -> None:
    study = write_study()
    command("run", study, "--data", "digits")
    answer = command("run", study, "--data", "digits", "--protocol", "notebook")

    assert answer.out.startswith("tiny-digits-notebook: 3 of 3 done, 36 updates each")  # 3 epochs
    exported = json.loads(command("export", "tiny-digits-notebook").out)["definition"]
    assert (exported["seed"], exported["dtype"]) == (65465168, "float64")
    assert exported["train_metrics"] == "full"


@pytest.mark.parametrize("words", [("run",), ("submit",), ("run", "--dry-run")])
def test_a_study_file_keeps_its_protocol(
    command: Command, write_study: Command, words: tuple[str, ...]
) -> None:
    study = write_study(protocol="notebook", dtype="float64", seed=7)

    answer = command(words[0], study, "--data", "digits", *words[1:])

    assert answer.out.startswith("tiny-digits-notebook: ")


def test_an_option_for_the_protocol_goes_before_the_study_file(
    command: Command, write_study: Command
) -> None:
    study = write_study(protocol="notebook")

    answer = command("run", study, "--data", "digits", "--protocol", "standard")

    assert answer.out.startswith("tiny-digits: ")
    assert json.loads(command("export", "tiny-digits").out)["definition"]["protocol"] == "standard"


def test_full_train_metrics_are_of_the_whole_training_set(
    command: Command, write_study: Command
) -> None:
    study = write_study()
    command("run", study, "--data", "digits")
    command("run", study, "--data", "digits", "--train-metrics", "full", "--name", "full")

    running, full = (
        json.loads(command("export", name).out)["trials"][0] for name in ("tiny-digits", "full")
    )

    assert running["curve"]["validation"] == full["curve"]["validation"]
    assert running["curve"]["train"] != full["curve"]["train"]
    whole = [accuracy * 1200 for accuracy in full["curve"]["train"]["accuracy"]]
    assert all(n == pytest.approx(round(n), abs=1e-9) for n in whole)


def test_a_dry_run_says_what_would_be_trained_and_makes_no_database(
    command: Command, write_study: Command, workplace: Path
) -> None:
    answer = command("run", write_study(), "--data", "digits", "--dry-run")

    assert answer.status == 0
    assert answer.out.startswith("tiny-digits: 3 cells, 0 of them done\n  cell 0: lambda 0.0001\n")
    for line in ("updates: 40 a cell, 120 to make", "memory:  about ", "time:    about "):
        assert line in answer.out
    assert [path.name for path in workplace.iterdir()] == ["tiny.py"]


def test_a_study_may_be_named_by_a_dotted_path(
    command: Command, write_study: Command, workplace: Path
) -> None:
    write_study("dotted")
    (workplace / "run_package").mkdir()
    (workplace / "dotted.py").rename(workplace / "run_package" / "dotted.py")

    assert command("run", "run_package.dotted", "--data", "digits").out.startswith(
        "dotted-digits: "
    )
    assert command("run", "studies.coarse", "--data", "digits").out.startswith(
        "coarse-digits: 8 of"
    )


def test_a_users_npz_names_the_study(
    command: Command, write_study: Command, write_npz: Command
) -> None:
    answer = command("run", write_study(batch_size=20), "--data", write_npz("faces"))

    assert answer.out.startswith("tiny-faces: 3 of 3 done, 40 updates each, 180 training and 20 ")


def test_a_diverging_cell_ends_so_and_the_others_go_on(
    command: Command, write_study: Command, workplace: Path
) -> None:
    broad = BROAD | {"grid": "Values((0.0, 2e-7, 4.5e-7))"}

    answer = command("run", write_study(**broad, eta_max=1e6), "--data", "digits")

    assert answer.status == 0
    assert [outcome for *_, outcome in trials(workplace)] == ["diverged", "complete", "complete"]
    assert "   0  0.0                     diverged\n" in answer.out
    assert "cell 0 (lambda 0): diverged" in answer.err
    best = command("best", "broad-digits").out
    assert "(cell 0)" not in best
    assert "not compared, and never the best: cell 0 (diverged)" in best
    assert command("run", "broad.py", "--data", "digits").err.startswith(
        "All 3 cells of broad-digits"
    )
    # no obstacle to a study that is derived from it, and never its parent's best cell
    narrow = command("run", write_study(**NARROW), "--data", "digits")
    assert narrow.out.startswith("narrow-digits: 2 of 2 done")


def test_a_study_of_which_every_cell_diverged_has_no_best(
    command: Command, write_study: Command
) -> None:
    broad = BROAD | {"grid": "Values((0.0, 1e-13))"}
    answer = command("run", write_study(**broad, eta_max=1e12), "--data", "digits")

    assert (answer.status, answer.out.count("diverged")) == (0, 2)
    assert "Best lambda" not in answer.out
    assert "has no complete cell yet (2 of 2 have" in command("best", "broad-digits").sentence
    told = command("run", write_study(**NARROW), "--data", "digits").sentence
    assert (
        told == "hpo: Every cell of 'broad-digits' diverged, so it has no best one. Lower eta_max."
    )


def test_a_final_study_that_diverged_shows_no_test_images(
    command: Command, write_study: Command, workplace: Path
) -> None:
    study = write_study("only", grid="Values((0.0,))", eta_max=1e12, evaluates_test=True)

    answer = command("run", study, "--data", "digits")

    assert answer.status == 0
    assert "Test accuracy" not in answer.out
    assert stored(workplace, "select count(*) from hpo_test_looks") == [(0,)]


# A study whose cells end one by one, each after about a third of a second, so that a signal
# after the first of them finds some cells done and others not.
LONG = {"name": "long", "grid": "Values((1e-5, 1e-4, 1e-3, 1e-2))", "n_s": 600, "n_cycles": 2}
RUN_LONG = ("run", "long.py", "--data", "digits", "--protocol", "notebook")


@contextmanager
def started(workplace: Path, *arguments: str, after: str) -> Iterator["subprocess.Popen[str]"]:
    """Start a command and wait until it has told of something."""
    process = subprocess.Popen(
        [SCRIPT, *arguments],
        cwd=workplace,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if after in line:
                break
        yield process
    finally:
        process.kill()
        process.communicate()


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


def test_a_database_is_one_file_to_copy(
    command: Command, write_study: Command, workplace: Path
) -> None:
    first = command("run", write_study(), "--data", "digits")

    assert not (workplace / "hpo.db-wal").exists()  # nothing is left beside it
    shutil.copy(workplace / "hpo.db", workplace / "copy.db")
    copied = command("run", "tiny.py", "--data", "digits", "--storage", "sqlite:///copy.db")
    assert copied.out == first.out
