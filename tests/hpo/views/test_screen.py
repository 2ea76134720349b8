"""The screen of a run, drawn for terminals of some widths: what it names, and what it cuts."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from hpo.experiment.records import Slot
from hpo.experiment.resolution import resolve
from hpo.training.trainer import facts
from hpo.views import screen
from hpo.views.standing import Standing
from model.data import digits
from studies.joint import STUDY

CELL = {"eta_max": 0.11331, "n_s": 2700, "normalisation": "feature", "flip_probability": 0.5}


def joint(name: str = "joint") -> Standing:
    """A search in which a cell trains, one waits and one was cut."""
    experiment = resolve(STUDY, facts(digits(), STUDY))
    cells = tuple({"lambda": 0.00013895 * (i + 1), **CELL} for i in range(8))
    standing = Standing(name, replace(experiment, cells=cells))
    for cell in range(3):
        standing.claimed(Slot(cell, 0), 0)
        standing.advanced(Slot(cell, 0), 5400 if cell else 270, 0.5)
    standing.ended(Slot(2, 0), "pruned", 0.4976)
    return standing


def lines(standing: Standing, width: int) -> list[str]:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(screen.drawn(standing, width))
    return console.export_text().splitlines()


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_nothing_of_a_search_is_cut_on_a_usual_terminal(width: int) -> None:
    told = lines(joint(), width)

    assert not [line for line in told if "\u2026" in line or len(line) > width]
    assert told[1].split()[1:6] == ["0.0001389", "0.1133", "2700", "feature", "0.5"]
    assert "training" in told[1]
    assert "waits" in told[2]
    assert "0.4976" in told[3]


def test_what_is_searched_stands_below_its_name() -> None:
    header, *rows = lines(joint(), 80)[:4]

    for name, value in (("eta", "0.1133"), ("n_s", "2700"), ("norm", "feature"), ("flip", "0.5")):
        assert {row.index(f" {value}") for row in rows} == {header.index(f" {name}")}


@pytest.mark.parametrize(
    "name", ["[red]x[/]", "a\x1b[31mb", "<script>", "a\nb", "n" * 10_000, "=x()"]
)
def test_a_hostile_name_takes_one_line_and_does_nothing(name: str) -> None:
    told = lines(joint(name), 80)

    assert len(told) == len(lines(joint(), 80))
    assert all(len(line) <= 80 and line.isprintable() for line in told)


def test_what_is_searched_keeps_its_room_where_cells_have_several_seeds() -> None:
    standing = joint()
    definition = replace(standing.experiment.definition, replicates=3)
    standing.follow(replace(standing.experiment, definition=definition))

    told = lines(standing, 80)

    assert not [line for line in told if "\u2026" in line or len(line) > 80]
    assert told[1].endswith("training 0/3")
    assert told[1].split()[1:6] == ["0.0001389", "0.1133", "2700", "feature", "0.5"]


@pytest.mark.parametrize(
    ("width", "ends"),
    [
        (60, "(lambda 0.0001389 and 4 more)"),
        (80, "(lambda 0.0001389, eta 0.1133 and 3 more)"),
        (100, "(lambda 0.0001389, eta 0.1133, n_s 2700, norm feature, flip 0.5)"),
        (
            120,
            "(lambda 0.0001389, eta_max 0.1133, n_s 2700, normalisation feature, flip_probability 0.5)",
        ),
    ],
)
def test_the_best_so_far_names_as_much_of_what_is_searched_as_has_room(
    width: int, ends: str
) -> None:
    standing = joint()
    standing.ended(Slot(0, 0), "complete", 0.51)

    (best,) = [line for line in lines(standing, width) if line.startswith("best so far")]

    assert best == f"best so far: 0.5100 at cell 0 {ends}"


def test_a_best_in_training_names_lambda_at_least() -> None:
    (best,) = [line for line in lines(joint(), 80) if line.startswith("best so far")]

    assert best == "best so far: 0.5000 in training at cell 0 (lambda 0.0001389 and 4 more)"
