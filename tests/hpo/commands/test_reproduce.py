"""The published figures, their table, and, as a long test, all of them computed again."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hpo.commands import reproduce
from hpo.commands.reproduce import Figure
from hpo.data.source import Source
from hpo.errors import DataUnavailable, OutputError
from hpo.training.progress import Silent

PUBLISHED = json.loads(reproduce.PUBLISHED.read_text())
SCRIPT = Path(sys.executable).with_name("hpo")


def test_the_published_figures_are_those_the_notebook_printed() -> None:
    assert PUBLISHED["coarse"]["validation_accuracies"] == [
        *(0.5108, 0.5044, 0.5068, 0.5164, 0.5166, 0.5180, 0.4728, 0.3856)
    ]
    assert PUBLISHED["fine"]["validation_accuracies"] == [
        *(0.5094, 0.5222, 0.5170, 0.5124, 0.5038, 0.5032, 0.4896, 0.4856, 0.4816, 0.4734)
    ]
    assert PUBLISHED["three_cycles"] == {"test_accuracy": 0.4503}
    assert PUBLISHED["final"] == {"validation_accuracy": 0.5070, "test_accuracy": 0.5045}


@pytest.mark.parametrize("name", ["coarse", "fine"])
def test_the_published_best_lambda_is_that_of_the_first_highest_accuracy(name: str) -> None:
    accuracies = PUBLISHED[name]["validation_accuracies"]
    best = accuracies.index(max(accuracies))

    assert PUBLISHED[name]["best_lambda"] == PUBLISHED[name]["lambdas"][best]


def test_the_published_gradient_errors_are_below_the_limit() -> None:
    errors = PUBLISHED["gradient_errors"]

    assert set(errors) == {"w1", "b1", "w2", "b2"}
    assert max(errors.values()) < reproduce.GRADIENT_LIMIT == 1e-7


def test_the_table_has_a_tick_or_a_cross_for_every_figure() -> None:
    figures = [Figure("right", "0.5045", "0.5045", True), Figure("wrong", "0.5070", "0.50", False)]

    lines = reproduce.table(figures).splitlines()

    assert lines[0].split() == ["figure", "published", "reproduced"]
    assert lines[1].split()[:3] == ["right", "0.5045", "0.5045"]
    assert lines[1][-1] != lines[2][-1]
    assert len({line.index("0.50") for line in lines[1:3]}) == 1  # the columns stand in line
    assert lines[3] == "1 of 2 figures match."


@pytest.mark.parametrize(
    ("encoding", "marks"), [("utf-8", ["✓", "✗"]), ("ascii", ["ok", "NO"]), (None, ["ok", "NO"])]
)
def test_the_marks_fit_the_terminal(
    monkeypatch: pytest.MonkeyPatch, encoding: str | None, marks: list[str]
) -> None:
    class Terminal:
        pass

    Terminal.encoding = encoding  # type: ignore[attr-defined]
    monkeypatch.setattr(sys, "stdout", Terminal())

    lines = reproduce.table([Figure("a", "1", "1", True), Figure("b", "1", "2", False)]).split("\n")

    assert [line.split()[-1] for line in lines[1:3]] == marks


@pytest.mark.parametrize(
    ("published", "found", "matches"),
    [
        (0.5045, 0.50449, True),  # four digits
        (0.5045, 0.5046, False),
        (0.5045, 0.50444, False),  # prints as 0.5044
        (0.5045, None, False),  # diverged
    ],
)
def test_an_accuracy_matches_to_four_digits(
    published: float, found: float | None, matches: bool
) -> None:
    assert reproduce._accuracy("it", published, found).matches is matches


@pytest.mark.parametrize(
    ("error", "matches"),
    [(0, True), (5e-13, True), (-5e-13, True), (2e-12, False), (float("nan"), False)],
)
def test_a_lambda_matches_to_twelve_digits(error: float, matches: bool) -> None:
    assert reproduce._lambda("it", 0.0047, 0.0047 * (1 + error)).matches is matches


def test_digits_cannot_reproduce_the_figures_and_leave_nothing(tmp_path: Path) -> None:
    source = Source(spec="digits", name="digits")

    sentence = "The notebook's figures are about CIFAR-10; digits cannot reproduce them. Use --data"
    with pytest.raises(DataUnavailable, match=sentence):
        reproduce.reproduce(source, tmp_path / "work", lambda: False, Silent(), {})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError, match=r"Cannot write .*file/work"):
        reproduce.reproduce(
            Source(spec=f"cifar10:{tmp_path}", name="cifar10"),
            tmp_path / "file/work",
            lambda: True,
            Silent(),
            {},
        )


@pytest.mark.long
def test_every_figure_of_the_notebook_comes_out_again(cifar10_folder: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [SCRIPT, "reproduce", "--workdir", tmp_path / "work", "--data", cifar10_folder],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=1800,
    )

    found = re.search(r"(\d+) of (\d+) figures match\.", done.stdout)
    assert found, done.stdout + done.stderr
    # 4 gradients, overfitting, three cycles, 8 + 10 cells with lambda and accuracy, 2 best, final
    assert found[1] == found[2] == "46", done.stdout
    assert done.returncode == 0
