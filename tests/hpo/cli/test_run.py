"""``hpo run`` as its user meets it: to the end, again, with its options, and with cells that diverge."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpo.data.source import Source
from tests.hpo.cli.derivation import BROAD, NARROW
from tests.hpo.cli.remains import stored, trials

Command = Callable[..., Any]


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

    assert answers["coarse"].out.startswith("coarse-digits: 8 of 8 done, 960 updates each")
    assert answers["fine"].out.startswith("fine-digits: 10 of 10 done, 1440 updates each")
    assert "final-digits: 1 cells with 3 replicates each, 0 trainings done" in final.out
    assert "updates: 1,440 a cell, 4,320 to make" in final.out


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


def test_name_replaces_the_name(command: Command, write_study: Command) -> None:
    answer = command("run", write_study(), "--data", "digits", "--name", "second-try")

    assert answer.out.startswith("second-try: 3 of 3 done")
    assert command("list").out.startswith("second-try: 3 cells")


@pytest.mark.parametrize("name", ["", " "])
def test_a_name_must_be_one(command: Command, write_study: Command, name: str) -> None:
    assert "name" in command("run", write_study(), "--data", "digits", "--name", name).sentence


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
    assert "   0  0           diverged\n" in answer.out
    assert "cell 0 (lambda 0): diverged" in answer.err
    best = command("best", "broad-digits").out
    assert "(cell 0)" not in best
    assert "not compared, and never the winner: cell 0 (diverged)" in best
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


def test_a_database_is_one_file_to_copy(
    command: Command, write_study: Command, workplace: Path
) -> None:
    first = command("run", write_study(), "--data", "digits")

    assert not (workplace / "hpo.db-wal").exists()  # nothing is left beside it
    shutil.copy(workplace / "hpo.db", workplace / "copy.db")
    copied = command("run", "tiny.py", "--data", "digits", "--storage", "sqlite:///copy.db")
    assert copied.out == first.out
