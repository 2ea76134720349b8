"""``hpo status --watch`` on a study that other processes train: its lines, its frames, its end."""

import json
import re
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.hpo.processes import SCRIPT
from tests.hpo.terminal import on_terminal, resized

STUDY = """
from hpo import StudyDefinition
from hpo.definition.grids import Values

STUDY = StudyDefinition(
    name="slow", grid=Values((1e-5, 1e-4, 1e-3)), n_s={n_s}, n_cycles=2, batch_size=20
)
"""
BLOCKS = re.compile("[\u2581-\u2588]")
MADE = re.compile(r"([\d,]+) of [\d,]+ updates")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Path]:
    """A folder in which a run of some seconds is under way."""
    (tmp_path / "slow.py").write_text(STUDY.format(n_s=4000))
    command = [SCRIPT, "run", "slow.py", "--data", "digits"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        for line in run.stderr:
            if "training cell" in line:
                break
        yield tmp_path
        run.kill()


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """A folder in which a study was begun and is left alone."""
    (tmp_path / "slow.py").write_text(STUDY.format(n_s=4000))
    hpo(tmp_path, "submit", "slow.py", "--data", "digits")
    return tmp_path


def hpo(folder: Path, *arguments: str) -> None:
    subprocess.run([SCRIPT, *arguments], cwd=folder, check=True, capture_output=True)


def renamed(folder: Path) -> None:
    """Give Optuna's study another name, as another tool does."""
    with closing(sqlite3.connect(folder / "hpo.db", timeout=30)) as database, database:
        database.execute("UPDATE studies SET study_name = 'other'")


@pytest.mark.long
def test_json_is_a_line_a_change_until_the_study_is_over(running: Path) -> None:
    watch = [SCRIPT, "status", "slow-digits", "--watch", "--format", "json"]

    told = subprocess.run(watch, cwd=running, capture_output=True, text=True, timeout=120)

    lines = [json.loads(line) for line in told.stdout.splitlines()]
    assert (told.returncode, told.stderr) == (0, "")
    assert len(lines) > 1
    assert [line["over"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert [line["updates"] for line in lines] == sorted(line["updates"] for line in lines)
    assert lines[-1]["best"]["done"]
    assert lines[-1]["counted"] == lines[-1]["slots"] == 3


def test_ctrl_c_ends_the_lines_at_once(running: Path) -> None:
    watch = [SCRIPT, "status", "slow-digits", "--watch", "--format", "json"]
    with subprocess.Popen(watch, cwd=running, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert json.loads(watching.stdout.readline())["study"] == "slow-digits"
        watching.send_signal(2)
        began = time.monotonic()
        assert watching.wait(10) == 130
        assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "columns",
    [pytest.param(60, marks=pytest.mark.long), 80, pytest.param(160, marks=pytest.mark.long)],
)
def test_frames_of_a_run_elsewhere_never_jump_back_and_end_with_it(
    running: Path, columns: int
) -> None:
    frames, status, _ = on_terminal(running, "status", "slow-digits", "--watch", columns=columns)

    screens = [frame for frame in frames if "best so far" in frame]
    made = [int(found[1].replace(",", "")) for f in screens if (found := MADE.search(f))]
    assert status == 0
    assert made == sorted(made)
    assert len(set(made)) > 1
    assert "3 of 3 done" in frames[-1]
    assert all(re.search(r"best so far: (none|.* cell \d)", frame) for frame in screens)


def test_ctrl_c_leaves_the_last_frame_of_a_run_elsewhere(running: Path) -> None:
    frames, status, _ = on_terminal(
        running, "status", "slow-digits", "--watch", columns=80, interrupt="best so far"
    )

    assert status == 130
    assert "slow-digits: 0 of 3 done" in frames[-1]
    assert "Traceback" not in frames[-1]


def test_watching_ends_with_a_sentence_when_the_study_is_deleted(left: Path) -> None:
    frames, status, _ = on_terminal(
        left,
        *("status", "slow-digits", "--watch"),
        columns=100,
        interrupt="best so far",
        happens=lambda *_: hpo(left, "delete", "slow-digits", "--yes"),
    )

    assert status == 1
    assert "0 of 3 done" in frames[-1]
    assert frames[-1].endswith(
        "hpo: The study 'slow-digits' was deleted while it was being watched."
    )


@pytest.mark.long
def test_another_study_of_the_same_name_is_not_taken_for_the_deleted_one(left: Path) -> None:
    watch = [SCRIPT, "status", "slow-digits", "--watch", "--format", "json"]
    with subprocess.Popen(
        watch, cwd=left, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout is not None
        assert json.loads(watching.stdout.readline())["slots"] == 3
        hpo(left, "delete", "slow-digits", "--yes")
        hpo(left, "submit", "slow.py", "--data", "digits")
        told, faults = watching.communicate(timeout=60)

    assert (watching.returncode, told) == (1, "")
    assert faults == "hpo: The study 'slow-digits' was deleted while it was being watched.\n"


@pytest.mark.long
def test_a_study_that_is_renamed_is_watched_on_and_its_new_name_told(running: Path) -> None:
    frames, status, _ = on_terminal(
        running,
        *("status", "slow-digits", "--watch"),
        columns=100,
        interrupt="best so far",
        happens=lambda *_: renamed(running),
    )

    assert status == 0
    assert "3 of 3 done" in frames[-1]
    assert frames[-1].count("The study 'slow-digits' is called 'other' now.") == 1


@pytest.mark.long
def test_the_screen_takes_the_width_that_the_terminal_is_given(running: Path) -> None:
    frames, status, _ = on_terminal(
        running,
        *("status", "slow-digits", "--watch"),
        columns=120,
        interrupt="best so far",
        happens=resized(50),
    )

    last = [line for line in frames[-1].splitlines() if line.startswith("cell ")]
    assert status == 0
    assert "3 of 3 done" in frames[-1]
    assert len(last[-1]) <= 50
    assert not BLOCKS.search(frames[-1].partition(last[-1])[2])  # there is no room for them now
