"""A command that is typed wrong: one clear sentence, no traceback, nothing made."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.hpo.cli.remains import left

Command = Callable[..., Any]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["run", "nothing"],
            "No study 'nothing'. There are coarse, final, fine, joint; a dotted path or",
        ),
        (
            ["run", "no.such"],
            "No study 'no.such'. There are coarse, final, fine, joint; a dotted path or",
        ),
        (["run"], "Missing argument"),
        (["frobnicate"], "No such command 'frobnicate'. Try --help."),
        (["rum"], "No such command 'rum'. Did you mean 'run'? Try --help."),
        (["run", "coarse", "--colour"], "No such option: --colour"),
        (["run", "coarse", "--seed"], "requires an argument"),
        (
            ["run", "coarse", "--seed", "x"],
            "Invalid value for '--seed': 'x' is not a valid int. Try --help.",
        ),
        (
            ["run", "coarse", "--workers", "0"],
            "Invalid value for '--workers': 0 is not in the range x>=1. Try --help.",
        ),
        (["worker", "--idle-exit", "nan"], "'--idle-exit': it must be a number, got nan. Try --h"),
        (["worker", "--max-hours", "nan"], "'--max-hours': it must be a number, got nan. Try --h"),
        (["run", "coarse", "--seed", "-1"], "The seed must be 0 to 4294967295, got -1."),
        (
            ["run", "coarse", "--protocol", "odd"],
            "The protocol must be standard or notebook, got 'o",
        ),
        (
            ["run", "coarse", "--train-metrics", "odd"],
            "must be one of running, full; got 'odd'.",
        ),
        (["best", "a", "b"], "Got unexpected extra argument"),
        (["data", "info", "nowhere"], "No data at 'nowhere': there is no such path."),
        (["data", "verify", "nowhere"], "No data at 'nowhere': there is no such path."),
        (["check-gradients", "--data", "digits", "--loss", "odd"], "loss must be one of cross-ent"),
        (["check-gradients", "--data", "digits", "--images", "0"], "Invalid value for '--images'"),
        (
            ["reproduce", "--data", "digits", "--workdir", "work"],
            "The notebook's figures are about CIFAR-10; digits cannot reproduce them.",
        ),
    ],
)
def test_a_command_that_is_typed_wrong(
    arguments: list[str], sentence: str, command: Command, workplace: Path
) -> None:
    if arguments[0] == "run" and len(arguments) > 1:
        arguments = [*arguments[:2], "--data", "digits", *arguments[2:]]

    answer = command(*arguments)

    assert sentence in answer.sentence
    assert answer.out == ""
    assert left(workplace) == set()


@pytest.mark.parametrize(
    "arguments", [["best"], ["export"], ["delete", "--yes"], ["plot", "--out", "p"]]
)
def test_a_study_that_is_not_stored(
    arguments: list[str], command: Command, write_study: Command, workplace: Path
) -> None:
    command("run", write_study(), "--data", "digits")

    told = command(arguments[0], "nothing", *arguments[1:]).sentence

    assert told == (
        "hpo: No study named 'nothing' in this storage (it holds: tiny-digits). Create it with "
        "`hpo run`, or check --storage."
    )
    assert not (workplace / "p").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "mine.py", "--data", "digits"],  # a study file that raises
        ["run", "coarse", "--data", "digits", "--storage", "sqlite:///missing/hpo.db"],
        ["run", "fine", "--data", "digits"],  # before coarse
        ["train", "--data", "digits", "--batch-size", "5000"],
        ["run", "coarse", "--colour"],
    ],
)
def test_the_installed_script_answers_with_status_1_and_no_traceback(
    arguments: list[str], process: Command, workplace: Path
) -> None:
    (workplace / "mine.py").write_text("1 / 0\n")

    answer = process(*arguments)

    assert answer.sentence
    assert answer.out == ""
    assert len(answer.sentence.splitlines()) == 1
