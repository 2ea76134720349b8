"""What a person sees of a run on a terminal: real runs, whose frames are read."""

import re
import subprocess
from pathlib import Path

import pytest

from hpo.views.screen import BLOCKS
from tests.hpo.processes import SCRIPT
from tests.hpo.terminal import on_terminal

STUDY = """
from hpo import StudyDefinition
from hpo.definition.grids import Values

STUDY = StudyDefinition(
    name="slow", grid=Values({values}), n_s={n_s}, n_cycles=2, batch_size=20, pruner="halving"
)
"""
TWELVE = tuple(10 ** (-5 + i / 3) for i in range(12))
EIGHT = TWELVE[::2] + TWELVE[1:4:2]
ROW = re.compile(r"^ *(\d+)  .* (\d)/2 ", re.MULTILINE)
BEST = re.compile(r"best so far: (0\.\d{4}) (in training )?at cell \d(?:, (\d) of 2)?")
TOTAL = re.compile(r"([\d,]+) of ([\d,]+) updates")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "slow.py"
    path.write_text(STUDY.format(values=TWELVE, n_s=600))
    return path


@pytest.mark.parametrize(
    "columns", [80, *(pytest.param(n, marks=pytest.mark.long) for n in (60, 160))]
)
def test_a_run_shows_one_screen_that_never_jumps_back(study: Path, columns: int) -> None:
    frames, status, _ = on_terminal(study.parent, "run", study, "--data", "digits", columns=columns)

    assert status == 0
    assert "Reading digits ..." in frames[0]
    screens = [frame for frame in frames if "and 2 more" in frame and "best so far" in frame]
    found = [TOTAL.search(frame) for frame in screens]
    made = [int(match[1].replace(",", "")) for match in found if match]
    assert made == sorted(made)
    assert len(set(made)) > 1
    assert "12 of 12 done" in frames[-1]
    assert "24,000" not in frames[-1]
    assert re.search(r"best so far: 0\.\d{4} at cell \d+ \(lambda ", frames[-1])
    assert re.search(r"pruned there at 0\.\d{4}\n", frames[-1])
    assert bool(set(BLOCKS) & set(frames[-1])) == (columns >= 80)


def test_with_several_seeds_no_cell_and_no_best_goes_back(study: Path) -> None:
    study.write_text(STUDY.format(values=EIGHT, n_s=600))

    frames, status, _ = on_terminal(
        study.parent, "run", study, "--data", "digits", "--replicates", "2", columns=100
    )

    cycles: dict[str, list[int]] = {}
    for frame in frames:
        for cell, cycle in ROW.findall(frame):
            cycles.setdefault(cell, []).append(int(cycle))
    found = [match for frame in frames if (match := BEST.search(frame))]
    best = [(0 if match[2] else int(match[3]), float(match[1])) for match in found]
    made = [int(match[1].replace(",", "")) for f in frames if (match := TOTAL.search(f))]
    assert status == 0
    assert len(cycles) == 8
    assert [told for told in cycles.values() if told != sorted(told)] == []
    assert {told[-1] for told in cycles.values()} == {1, 2}
    assert best == sorted(best)
    assert len(set(best)) > 1
    assert best[-1][0] == 2
    assert made == sorted(made)


def test_ctrl_c_leaves_the_last_frame_and_says_how_to_go_on(study: Path) -> None:
    study.write_text(STUDY.format(values=TWELVE, n_s=60_000))

    frames, status, _ = on_terminal(
        study.parent, "run", study, "--data", "digits", columns=80, interrupt=" a second"
    )

    assert status == 130
    assert "0 of 12 done" in frames[-1]
    assert re.search(r"best so far: 0\.\d{4} in training at cell \d+ \(lambda ", frames[-1])
    assert "Run the same command to go on." in frames[-1].replace("\n", "")


def test_a_dumb_terminal_is_told_in_plain_lines(study: Path) -> None:
    frames, status, _ = on_terminal(
        study.parent, "run", study, "--data", "digits", columns=80, TERM="dumb"
    )

    assert status == 0
    assert "slow-digits: training cell" in "\n".join(frames)
    assert "best so far: " not in frames[-1]


def test_a_study_that_is_over_is_shown_from_the_database_alone(study: Path) -> None:
    run = [SCRIPT, "run", study, "--data", "digits"]
    subprocess.run(run, cwd=study.parent, check=True, capture_output=True)

    frames, status, _ = on_terminal(study.parent, "status", "slow-digits", "--watch", columns=80)

    assert status == 0
    assert "12 of 12 done" in frames[-1]
    assert re.search(r"best so far: 0\.\d{4} at cell \d+", frames[-1])


@pytest.mark.parametrize("arguments", [("--help",), ("run", "slow.py", "--data", "digits")])
def test_nothing_is_coloured_for_those_who_want_no_colour(
    study: Path, arguments: tuple[str, ...]
) -> None:
    frames, status, is_coloured = on_terminal(study.parent, *arguments, columns=80, NO_COLOR="1")

    assert status == 0
    assert frames[-1]
    assert not is_coloured
