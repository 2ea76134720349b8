"""``hpo run final`` as its user meets it, and that no other command sees the test images."""

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from hpo.cli import app
from hpo.data.source import Source

Command = Callable[..., Any]
SCRIPT = Path(sys.executable).with_name("hpo")
FILES = ["model-card.md", "weights.npz", "weights.safetensors"]

#: Two studies on digits, small enough for a test; the second derives from the first.
BROAD = {"name": "broad", "grid": "Values((1e-4, 1e-3, 1e-2))"}
LAST = {
    "name": "last",
    "grid": "Best()",
    "parent": "broad",
    "replicates": 3,
    "evaluates_test": True,
}


def stored(workplace: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(workplace / "hpo.db")) as connection:
        return connection.execute(query).fetchall()


def n_looks(workplace: Path) -> int:
    return int(stored(workplace, "select count(*) from hpo_test_looks")[0][0])


@pytest.fixture
def searched(command: Command, write_study: Command) -> Command:
    """The first study, finished; the second one's file is written."""
    write_study(**LAST)
    assert command("run", write_study(**BROAD), "--data", "digits").status == 0
    return command


def test_the_test_accuracy_is_a_mean_with_an_interval(searched: Command, workplace: Path) -> None:
    answer = searched("run", "last.py", "--data", "digits")

    assert answer.status == 0
    *_, accuracy, interval, looks = answer.out.splitlines()
    found = re.fullmatch(
        r"95 % interval: (0\.\d{4}) to (0\.\d{4}), over 297 images and 3 seeds", interval
    )
    assert found, interval
    told = json.loads(searched("export", "last-digits").out)["test"]
    assert f"{told['accuracy']:.4f}" == accuracy.split()[-1]
    assert [f"{told['interval'][end]:.4f}" for end in ("low", "high")] == list(found.groups())
    assert [seed["replicate"] for seed in told["seeds"]] == [0, 1, 2]
    assert "test" not in json.loads(searched("export", "broad-digits").out)
    mean = float(accuracy.removeprefix("Test accuracy: "))
    right = [n for (n,) in stored(workplace, "select n_right from hpo_test_looks")]
    assert mean == pytest.approx(sum(right) / 3 / 297, abs=5e-5)
    assert float(found[1]) < mean < float(found[2])
    assert looks == "Looks at the test images: 3 for this study"
    rows = stored(workplace, "select cell, replicate, what, length(hits) from hpo_test_looks")
    assert [(cell, replicate) for cell, replicate, *_ in rows] == [(0, 0), (0, 1), (0, 2)]
    assert {length for *_, length in rows} == {38}  # 297 bits


def test_a_finished_one_trains_nothing_looks_at_nothing_and_prints_the_same(
    searched: Command, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = searched("run", "last.py", "--data", "digits")
    monkeypatch.setattr(Source, "test", lambda self: pytest.fail("the test images were read"))

    second = searched("run", "last.py", "--data", "digits")

    assert (second.status, second.out) == (0, first.out)
    assert second.err.startswith("All 3 cells of last-digits were done before; nothing was trained")
    assert n_looks(workplace) == 3


def test_again_takes_a_second_look_on_purpose(searched: Command, workplace: Path) -> None:
    first = searched("run", "last.py", "--data", "digits")

    again = searched("run", "last.py", "--data", "digits", "--again")

    assert again.out == first.out.replace("3 for this study", "6 for this study")
    assert "nothing was trained" in again.err
    assert n_looks(workplace) == 6
    assert "(6 looks at the test images)" in searched("best", "last-digits").out


def test_the_best_network_is_written_with_its_card(searched: Command, workplace: Path) -> None:
    answer = searched("run", "last.py", "--data", "digits")

    folder = workplace / "last-digits-model"
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert [line for line in answer.err.splitlines() if line.startswith("Wrote ")] == [
        f"Wrote last-digits-model/{name}" for name in (FILES[1], FILES[2], FILES[0])
    ]
    told = re.search(r"^Test accuracy: (\S+)$", answer.out, re.MULTILINE)
    assert told
    assert f"**{told[1]}**" in (folder / "model-card.md").read_text()


def test_out_names_the_folder(searched: Command, workplace: Path) -> None:
    searched("run", "last.py", "--data", "digits", "--out", "a/b")

    assert sorted(path.name for path in (workplace / "a/b").iterdir()) == FILES
    assert not (workplace / "last-digits-model").exists()


def test_the_name_of_the_study_is_that_of_the_folder(searched: Command, workplace: Path) -> None:
    searched("run", "last.py", "--data", "digits", "--name", "mine")

    assert sorted(path.name for path in (workplace / "mine-model").iterdir()) == FILES


def test_a_folder_that_cannot_be_is_refused_before_anything_is_trained(
    searched: Command, workplace: Path
) -> None:
    (workplace / "file").write_text("")

    told = searched("run", "last.py", "--data", "digits", "--out", "file/model").sentence

    assert told.startswith("hpo: Cannot write file/model: ")
    assert told.endswith(
        "file is not a folder. Check the path: a file stands where a folder should be."
    )
    assert stored(workplace, "select name from hpo_studies") == [("broad-digits",)]


def test_a_full_disk_loses_nothing(
    searched: Command, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hpo.machine import files

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "fsync", full)
        answer = searched("run", "last.py", "--data", "digits")

    assert answer.sentence.startswith(
        "hpo: Cannot write last-digits-model/weights.npz: No space le"
    )
    assert "Test accuracy: " in answer.out
    assert not (workplace / "last-digits-model").exists()
    again = searched("run", "last.py", "--data", "digits")
    assert (again.status, again.out) == (0, answer.out)
    assert n_looks(workplace) == 3


def test_cell_picks_another_cell_of_the_parent(searched: Command) -> None:
    answer = searched("run", "last.py", "--data", "digits", "--name", "other", "--cell", "2")

    assert "Best lambda: 0.01\n" in answer.out
    parent = json.loads(searched("export", "other").out)["definition"]["parent"]
    assert (parent["study"], parent["cell"], parent["value"]) == ("broad-digits", 2, 0.01)
    # the same again, with the cell or without
    assert searched("run", "last.py", "--data", "digits", "--name", "other").out == answer.out
    again = searched("run", "last.py", "--data", "digits", "--name", "other", "--cell", "2")
    assert again.out == answer.out
    told = searched("run", "last.py", "--data", "digits", "--name", "other", "--cell", "1").sentence
    assert told == (
        "hpo: 'other' is derived from cell 2 of 'broad-digits', so --cell 1 is for another study. "
        "Give that one a name with --name."
    )


def test_cell_is_shown_by_a_dry_run(searched: Command) -> None:
    answer = searched("run", "last.py", "--data", "digits", "--cell", "2", "--dry-run")

    assert "  cell 0: lambda 0.01\n" in answer.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["last.py", "--cell", "3"], "The cells of 'broad-digits' are 0 to 2; --cell 3 is none of"),
        (["last.py", "--cell", "-1"], "Invalid value for '--cell'"),
        (["coarse", "--cell", "1"], "derived from no other study, so --cell has no meaning."),
        (["coarse", "--out", "x"], "--out is for a study that ends with the test images, as final"),
        (["coarse", "--again"], "--again is for a study that ends with the test images, as final"),
    ],
)
def test_options_without_a_meaning_are_refused(
    arguments: list[str], told: str, searched: Command, workplace: Path
) -> None:
    assert told in searched("run", *arguments, "--data", "digits").sentence
    assert stored(workplace, "select name from hpo_studies") == [("broad-digits",)]


def test_in_the_notebook_protocol_there_is_one_replicate(
    command: Command, write_study: Command, workplace: Path
) -> None:
    notebook = ("--data", "digits", "--protocol", "notebook")
    command("run", write_study(**BROAD), *notebook)

    answer = command("run", write_study(**LAST), *notebook)

    assert answer.out.startswith("last-digits-notebook: 1 of 1 done")
    assert "over 297 images alone, as there is only one seed\n" in answer.out
    assert n_looks(workplace) == 1


def test_final_has_three_replicates(command: Command) -> None:
    for name in ("coarse", "fine"):
        command("run", name, "--data", "digits", "--workers", "1")

    answer = command("run", "final", "--data", "digits", "--dry-run")

    assert "updates: 1,440 a cell, 4,320 to make" in answer.out


# Which commands see the test images. A new command must be entered here.

SEEING: dict[str, list[list[str]]] = {
    "data verify": [["data", "verify", "it.npz"]],
    "data shuffle": [],  # copies them as they are
    "reproduce": [],  # needs CIFAR-10; its looks are rows too, see tests/test_layers.py
}
BLIND: dict[str, list[list[str]]] = {
    "run": [
        ["run", "broad.py", "--data", "it.npz"],
        ["run", "broad.py", "--data", "it.npz", "--name", "two", "--workers", "2"],
        ["run", "last.py", "--data", "it.npz", "--dry-run"],
    ],
    "submit": [["submit", "last.py", "--data", "it.npz"]],
    "worker": [["worker", "last-it", "--data", "it.npz"]],
    "retry": [["retry", "broad-it"]],
    "doctor": [["doctor"]],
    "copy": [["copy", "broad-it", "--to", "sqlite:///copy.db"]],
    "backup": [["backup", "backup.db"]],
    "queue": [["queue"]],
    "cancel": [["cancel", "broad-it"]],
    "serve": [],  # its workers are those of `worker`; it does not end by itself
    "launcher": [["launcher", "slurm"]],
    "train": [["train", "--data", "it.npz", "--cycles", "1", "--n-s", "10", "--batch-size", "10"]],
    "check-gradients": [["check-gradients", "--data", "it.npz"]],
    "best": [["best", "broad-it"]],
    "status": [["status"]],
    "list": [["list"]],
    "export": [["export", "broad-it"]],
    "plot": [["plot", "broad-it", "--out", "pictures"]],
    "report": [["report", "broad-it", "--out", "told"]],
    "dashboard": [],  # serves until it is stopped; the tests of its pages are beside it
    "data info": [["data", "info", "it.npz"]],
    "predict": [["predict", "weights.npz", "few.npz"]],
    "delete": [["delete", "broad-it", "--yes"]],
}


def commands(group: Any, path: tuple[str, ...] = ()) -> list[str]:
    """Return every command, from the application's own registry."""
    found = []
    for name, command in group.commands.items():
        inner = hasattr(command, "commands")
        found += commands(command, (*path, name)) if inner else [" ".join((*path, name))]
    return found


def test_of_every_command_it_is_known_whether_it_sees_the_test_images() -> None:
    assert set(commands(typer.main.get_command(app))) == set(SEEING) | set(BLIND)


@pytest.fixture
def poisoned(workplace: Path, write_study: Command, write_npz: Command, command: Command) -> Path:
    """A data set whose test part cannot be read, with all that the commands ask for."""
    small: dict[str, Any] = {"batch_size": 10}
    write_study(**BROAD | small)
    write_study(**LAST | small)
    assert command("run", "broad.py", "--data", write_npz("good"), "--name", "good").status == 0
    with np.load("good.npz") as stored_:
        arrays = dict(stored_)
    np.savez("few.npz", images=arrays["images"][:3])
    tested = arrays | {"test_images": arrays["images"], "test_labels": arrays["labels"]}
    np.savez("whole.npz", **tested)
    write_study("only", **small, grid="Values((1e-3,))", evaluates_test=True)
    written = command("run", "only.py", "--data", "whole.npz", "--out", ".")
    assert written.status == 0
    (workplace / "hpo.db").unlink()
    poison = np.empty(3, object)
    poison[:] = [{1}, {2}, {3}]  # objects, which only unpickling would bring back
    np.savez("it.npz", **arrays, test_images=poison, test_labels=np.arange(3))
    return workplace


def test_no_command_but_final_needs_the_test_images(
    poisoned: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Source, "test", lambda self: pytest.fail("the test images were read"))

    for calls in BLIND.values():
        for arguments in calls:
            answer = command(*arguments)
            assert answer.status == 0, (arguments, answer.err)
    assert n_looks(poisoned) == 0


def test_final_and_verify_do_need_them(poisoned: Path, command: Command) -> None:
    command("run", "broad.py", "--data", "it.npz")

    for arguments in (["run", "last.py", "--data", "it.npz"], *SEEING["data verify"]):
        answer = command(*arguments)
        assert "the array 'test_images' cannot be read" in answer.sentence
        assert "training cell" not in answer.err  # it is seen before anything is trained
    assert n_looks(poisoned) == 0


@pytest.mark.long
def test_a_worker_leaves_the_test_images_to_final(poisoned: Path, command: Command) -> None:
    command("run", "broad.py", "--data", "it.npz")
    command("submit", "last.py", "--data", "it.npz")
    done = subprocess.run([SCRIPT, "worker", "last-it", "--data", "it.npz"], capture_output=True)

    assert done.returncode == 0, done.stderr
    assert "last-it: " in command("list").out
    assert n_looks(poisoned) == 0
