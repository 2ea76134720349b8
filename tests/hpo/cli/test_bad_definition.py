"""A study file that cannot be trained: one clear sentence, status 1, no traceback, no database."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.hpo.cli.remains import left, stored_studies

Command = Callable[..., Any]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"n_s": 0}, r"^hpo: mine\.py is not a valid study: n_s must be at least 1, got 0\.$"),
        (
            {"grid": "Values((-1e-3,))"},
            r"^hpo: lambda -0\.001 does not work with eta_max 0\.1: it ",
        ),
        ({"grid": "Values((5.0,))"}, r"^hpo: lambda 5\.0 .* keep 1 - 2 eta lambda above 0\. Lower"),
        ({"grid": "Values((1e-3, 1e-3))"}, r"^hpo: The grid of 'mine' has a lambda twice: "),
        (
            {"grid": "Values(())"},
            r"^hpo: mine\.py is not a valid study: A grid needs at least one ",
        ),
        (
            {"batch_size": 1201},
            r"^hpo: The batch size 1201 is larger than the training set \(1200 images\)\.$",
        ),
        ({"eta_max": -1.0}, r"^hpo: .*0 <= eta_min <= eta_max .*got eta_min=1e-05, eta_max=-1\.0"),
        ({"eta_min": 1.0}, r"^hpo: .*0 <= eta_min <= eta_max .*got eta_min=1\.0, eta_max=0\.1"),
        ({"flip_probability": 2.0}, r"^hpo: .*flip probability must be 0 to 1, got 2\.0"),
        ({"n_s": 20.5}, "^hpo: .*n_s"),
        ({"hidden": 50.5}, "^hpo: .*hidden"),
        ({"seed": 1.5}, "^hpo: .*seed"),
        ({"grid": "(0.1, 0.2)"}, "^hpo: .*grid"),
        ({"grid": "Logarithmic(-5, 400, 3)"}, "^hpo: "),
        ({"parent": "broad", "grid": "Best()"}, "^hpo: 'mine' needs the finished study 'broad-dig"),
        ({"colour": "red"}, r"^hpo: mine\.py raises TypeError when it is loaded: .*'colour'"),
    ],
)
def test_a_definition_that_cannot_be_trained(
    fields: dict[str, Any],
    sentence: str,
    command: Command,
    write_study: Command,
    workplace: Path,
) -> None:
    told = command("run", write_study("mine", **fields), "--data", "digits").sentence

    assert re.search(sentence, told)
    assert stored_studies(workplace) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"grid": "Values((-1e-3,))"},
        {"batch_size": 1201},
        {"eta_max": -1.0},
        {"parent": "broad", "grid": "Best()"},  # which nobody has run
    ],
)
def test_a_run_that_is_refused_makes_no_database(
    fields: dict[str, Any], command: Command, write_study: Command, workplace: Path
) -> None:
    assert command("run", write_study("mine", **fields), "--data", "digits").sentence

    assert left(workplace) == set()


@pytest.mark.parametrize("fields", [{"eta_max": -1.0}, {"eta_min": 1.0}, {"flip_probability": 2.0}])
def test_a_definition_can_be_mended_after_it_was_refused(
    fields: dict[str, Any], command: Command, write_study: Command
) -> None:
    assert command("run", write_study("mine", **fields), "--data", "digits").sentence

    assert command("run", write_study("mine"), "--data", "digits").status == 0


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, r"^hpo: No study file mine\.py\. Check the path\.$"),
        ("A = 1\n", r"^hpo: mine\.py has no STUDY\. A study file needs a line STUDY = StudyDefini"),
        (
            "STUDY = 3\n",
            r"^hpo: mine\.py has a STUDY of type int\. A study file needs a line STUDY",
        ),
        (
            "1 / 0\n",
            r"^hpo: mine\.py raises ZeroDivisionError when it is loaded: division by zero \(line \d",
        ),
        ("def (\n", r"^hpo: mine\.py raises SyntaxError when it is loaded: "),
        ("import sys\nsys.exit(0)\n", r"^hpo: mine\.py raises SystemExit when it is loaded"),
    ],
)
def test_a_file_that_defines_no_study(
    content: str | None, sentence: str, command: Command, workplace: Path
) -> None:
    if content is not None:
        (workplace / "mine.py").write_text(content)

    assert re.search(sentence, command("run", "mine.py", "--data", "digits").sentence)
    assert left(workplace) == set()
