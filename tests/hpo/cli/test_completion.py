"""A shell completes commands, options, and names of studies."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import hpo

SCRIPT = Path(sys.executable).with_name("hpo")
SMALL = hpo.StudyDefinition(name="small", grid=hpo.Values((1e-3,)), n_s=5, n_cycles=1)


def completed(words: str, folder: Path, **more: str) -> set[str]:
    """Return what bash would offer for the last word."""
    environ = os.environ | {
        "_HPO_COMPLETE": "complete_bash",
        "COMP_WORDS": f"hpo {words}",
        "COMP_CWORD": str(len(words.split(" "))),
    }
    environ.pop("HPO_STORAGE", None)
    done = subprocess.run(
        [SCRIPT], cwd=folder, env=environ | more, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    hpo.run(SMALL, data="digits", storage=f"sqlite:///{tmp_path / 'hpo.db'}")
    (tmp_path / "mine.py").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("be", {"best"}),
        ("best ", {"small-digits"}),
        ("delete small", {"small-digits"}),
        ("best other", set()),
        ("run c", {"coarse"}),
        ("submit m", {"mine.py"}),
        ("run coarse --rep", {"--replicates"}),
    ],
)
def test_words_are_completed(words: str, offered: set[str], folder: Path) -> None:
    assert completed(words, folder) == offered


def test_another_storage_is_asked_where_it_is_named(folder: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{folder / 'hpo.db'}"
    assert completed("best s", Path("/"), HPO_STORAGE=url) == {"small-digits"}


def test_without_a_database_there_is_nothing_to_complete(tmp_path: Path) -> None:
    assert completed("best ", tmp_path) == set()
    assert list(tmp_path.iterdir()) == []
