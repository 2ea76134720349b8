"""The database goes away under a command: it says so, ends with status 1 and makes no other one."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

SCRIPT = Path(sys.executable).with_name("hpo")
LONG = """
from hpo.definition.study import StudyDefinition
from hpo.definition.grids import Logarithmic

STUDY = StudyDefinition(name="long", grid=Logarithmic(-5, -1, 8), n_s=2000, n_cycles=100)
"""
RUN = ("run", "long.py", "--data", "digits", "--workers")


def removed(path: Path) -> None:
    path.unlink()


def replaced(path: Path) -> None:
    backup = path.with_name("backup.db")
    shutil.copy(path, backup)
    os.replace(backup, path)


def moved(path: Path) -> None:
    path.rename(path.with_name("moved.db"))


@pytest.mark.parametrize("disturb", [removed, replaced, moved])
@pytest.mark.parametrize("arguments", [(*RUN, "1"), (*RUN, "2")], ids=["alone", "crew"])
def test_a_run_whose_database_goes_away_ends_with_a_sentence(
    workplace: Path, arguments: tuple[str, ...], disturb: Callable[[Path], None]
) -> None:
    (workplace / "long.py").write_text(LONG)
    ends_with_a_sentence(workplace, arguments, "in one stack", disturb)


@pytest.mark.parametrize("disturb", [removed, replaced])
def test_a_watching_worker_whose_database_goes_away_ends_with_a_sentence(
    workplace: Path,
    command: Callable[..., object],
    write_study: Callable[..., str],
    disturb: Callable[[Path], None],
) -> None:
    command("submit", write_study(), "--data", "digits")
    ends_with_a_sentence(workplace, ("worker", "--watch", "--data", "digits"), "cell 2", disturb)


def ends_with_a_sentence(
    workplace: Path, arguments: tuple[str, ...], after: str, disturb: Callable[[Path], None]
) -> None:
    process = subprocess.Popen(
        [SCRIPT, *arguments],
        cwd=workplace,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    told = ""
    try:
        assert process.stderr is not None
        for line in process.stderr:
            told += line
            if after in line:
                break
        disturb(workplace / "hpo.db")
        out, rest = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    told += rest
    assert (process.returncode, out) == (1, ""), told
    assert "Traceback" not in told
    assert f"hpo: The database {workplace / 'hpo.db'} " in told
    assert "while it was in use" in told
    assert (workplace / "hpo.db").exists() == (disturb is replaced)
