"""What lies beside the user is not imported; what lies beside a study file is, by that file only."""

import importlib
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hpo.definition import lookup
from hpo.machine import search_path

SCRIPT = Path(sys.executable).with_name("hpo")
POISON = (
    "from pathlib import Path\nPath(__file__ + '.executed').touch()\nraise SystemExit('poison')\n"
)
STUDY = """
from hpo.definition.study import StudyDefinition
from hpo.definition.grids import Values

STUDY = StudyDefinition(name={name}, grid=Values((1e-4, 1e-3)), n_s=10, n_cycles=1)
"""
#: Names with an underscore are those that Python itself imports when it starts.
INSTALLED = {
    name
    for name in importlib.metadata.packages_distributions()
    if name.isidentifier() and not name.startswith("_")
}
OURS = {"hpo", "model", "studies"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def poison(folder: Path, names: set[str]) -> None:
    for name in names:
        (folder / f"{name}.py").write_text(POISON)
    (folder / "numpy.py").unlink()
    (folder / "numpy").mkdir()
    (folder / "numpy/__init__.py").write_text(POISON)


def run(folder: Path, *arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [SCRIPT, *arguments],
        cwd=folder,
        env=os.environ | {"HPO_STORAGE": "sqlite:///hpo.db"} | environ,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("names", "path"),
    [
        # a folder full of exercises, one for every module there is
        (INSTALLED | OURS | set(sys.stdlib_module_names) - {"__main__"}, None),
        # whoever says so himself cannot shadow Python's own library or hpo, but all the rest
        ((INSTALLED | OURS) - {"hpo"}, os.pathsep),
    ],
)
def test_nothing_that_lies_beside_the_user_is_executed(
    folder: Path, names: set[str], path: str | None
) -> None:
    poison(folder, names)
    (folder / "tiny.py").write_text(STUDY.format(name="'tiny'"))
    environ, n_workers = (
        ({}, "1")
        if path is None
        else ({"PYTHONPATH": path + os.environ.get("PYTHONPATH", "")}, "2")
    )

    done = run(folder, "run", "tiny.py", "--data", "digits", "--workers", n_workers, **environ)

    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert not list(folder.rglob("*.executed"))


@pytest.mark.parametrize("name", ["optuna", "numpy", "filelock", "coarse", "hpo", "sys"])
def test_a_study_file_may_be_called_like_any_module(folder: Path, name: str) -> None:
    (folder / f"{name}.py").write_text(STUDY.format(name="__name__[10:]"))
    before = sys.modules.get(name)

    assert lookup.definition(f"{name}.py").name == name
    assert sys.modules.get(name) is before


@pytest.mark.parametrize("spec", ["inner/mine.py", "inner.mine"])
def test_a_study_may_import_its_neighbours(folder: Path, spec: str) -> None:
    (folder / "inner").mkdir()
    neighbour = folder / ("inner/neighbour.py" if spec.endswith(".py") else "neighbour.py")
    neighbour.write_text("import second_neighbour\nNAME = second_neighbour.NAME\n")
    neighbour.with_name("second_neighbour").mkdir()
    (neighbour.with_name("second_neighbour") / "__init__.py").write_text("NAME = 'together'\n")
    (folder / "inner/mine.py").write_text(
        "import neighbour\n" + STUDY.format(name="neighbour.NAME")
    )
    path = list(sys.path)

    assert lookup.definition(spec).name == "together"

    assert sys.path == path
    assert not {"neighbour", "second_neighbour", "inner"} & set(sys.modules)
    assert not list(folder.rglob("__pycache__"))


def test_the_neighbours_come_last(folder: Path) -> None:
    (folder / "mine.py").write_text(
        "import sys\nassert sys.path[-1] == "
        + repr(str(folder))
        + "\n"
        + STUDY.format(name="'mine'")
    )

    assert lookup.definition("mine.py").name == "mine"
    assert str(folder) not in sys.path


@pytest.mark.parametrize("name", ["typing", "colorsys", "rich", "model", "studies"])
def test_no_neighbour_takes_the_place_of_a_package(folder: Path, name: str) -> None:
    (folder / f"{name}.py").write_text(POISON)
    (folder / "mine.py").write_text(f"import {name}\n" + STUDY.format(name="'mine'"))

    assert lookup.definition("mine.py").name == "mine"
    assert not list(folder.glob("*.executed"))


def test_a_neighbour_that_is_hidden_by_a_package_is_told_of(folder: Path) -> None:
    (folder / "model.py").write_text("RATE = 0.1\n")
    (folder / "mine.py").write_text("from model import RATE\n" + STUDY.format(name="'mine'"))

    with pytest.raises(
        lookup.DefinitionNotFound,
        match=r"Is the model beside it meant\? That name is taken .* rename",
    ):
        lookup.definition("mine.py")


@pytest.mark.parametrize("name", ["torch", "cmaes_of_mine"])
def test_a_neighbour_is_forgotten_when_the_study_is_loaded(folder: Path, name: str) -> None:
    (folder / f"{name}.py").write_text("")
    (folder / "mine.py").write_text(f"import {name}\n" + STUDY.format(name="'mine'"))

    lookup.definition("mine.py")

    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(name)


def test_a_neighbour_is_forgotten_when_the_study_cannot_be_loaded(folder: Path) -> None:
    (folder / "neighbour.py").write_text("")
    (folder / "mine.py").write_text("import neighbour\n1 / 0\n")
    path = list(sys.path)

    with pytest.raises(lookup.DefinitionNotFound, match="ZeroDivisionError"):
        lookup.definition("mine.py")

    assert sys.path == path
    assert "neighbour" not in sys.modules


def test_a_study_file_may_hold_dataclasses(folder: Path) -> None:
    (folder / "mine.py").write_text(
        "from __future__ import annotations\nimport dataclasses\n\n"
        "@dataclasses.dataclass\nclass Rates:\n    low: float = 0.1\n" + STUDY.format(name="'mine'")
    )

    assert lookup.definition("mine.py").name == "mine"


def test_what_the_user_put_into_the_path_is_there_while_a_study_is_loaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "of_mine").mkdir()
    (folder / "shared_by_mine.py").write_text("NAME = 'shared'\n")
    (folder / "of_mine/study.py").write_text(
        "import shared_by_mine\n" + STUDY.format(name="shared_by_mine.NAME")
    )
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    monkeypatch.setattr(search_path, "_left_out", [])

    search_path.keep_to_ours()

    assert str(folder) not in sys.path
    assert lookup.definition("of_mine/study.py").name == "shared"


def test_a_current_folder_that_is_gone_matters_to_nobody(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    gone = folder / "gone"
    gone.mkdir()
    (folder / "mine.py").write_text(STUDY.format(name="'mine'"))
    os.chdir(gone)
    gone.rmdir()

    search_path.keep_to_ours()

    assert lookup.definition("coarse").name == "coarse"
    assert lookup.definition(str(folder / "mine.py")).name == "mine"
    with pytest.raises(lookup.DefinitionNotFound, match=r"No study 'no\.such'"):
        lookup.definition("no.such")
