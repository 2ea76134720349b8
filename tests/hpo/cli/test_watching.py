"""``hpo status --watch`` on a study that other processes train: its lines, its frames, its end."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hpo.processes import SCRIPT
from tests.hpo.terminal import on_terminal

STUDY = """
from hpo import StudyDefinition
from hpo.definition.grids import Values

STUDY = StudyDefinition(
    name="slow", grid=Values((1e-5, 1e-4, 1e-3)), n_s={n_s}, n_cycles=2, batch_size=20
)
"""
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
    frames, status = on_terminal(running, "status", "slow-digits", "--watch", columns=columns)

    screens = [frame for frame in frames if "best so far" in frame]
    made = [int(found[1].replace(",", "")) for f in screens if (found := MADE.search(f))]
    assert status == 0
    assert made == sorted(made)
    assert len(set(made)) > 1
    assert "3 of 3 done" in frames[-1]
    assert all(re.search(r"best so far: (none|.* cell \d)", frame) for frame in screens)


def test_ctrl_c_leaves_the_last_frame_of_a_run_elsewhere(running: Path) -> None:
    frames, status = on_terminal(
        running, "status", "slow-digits", "--watch", columns=80, interrupt="best so far"
    )

    assert status == 130
    assert "slow-digits: 0 of 3 done" in frames[-1]
    assert "Traceback" not in frames[-1]
