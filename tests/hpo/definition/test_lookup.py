"""Study definitions by name, by dotted path and by file, and the sentences when there is none."""

import re
import sys
from pathlib import Path

import pytest

from hpo.definition import lookup
from hpo.definition.study import StudyDefinition
from hpo.errors import DefinitionNotFound, HpoError

VALID = """
from hpo.definition.study import StudyDefinition
from hpo.definition.grids import Values

STUDY = StudyDefinition(name="mine", grid=Values((0.1,)))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("spec", ["coarse", "studies.coarse"])
def test_a_study_that_ships_is_found_by_name_and_by_dotted_path(spec: str) -> None:
    assert lookup.definition(spec).name == "coarse"


def test_a_dotted_path_starts_at_the_current_folder(folder: Path) -> None:
    (folder / "lookup_package").mkdir()
    (folder / "lookup_package" / "mine.py").write_text(VALID)

    assert lookup.definition("lookup_package.mine").name == "mine"


@pytest.mark.parametrize("spec", ["told.py", "lookup_told.mine"])
def test_what_a_study_prints_does_not_get_between_what_we_print(
    folder: Path, capfd: pytest.CaptureFixture[str], spec: str
) -> None:
    (folder / "lookup_told").mkdir()
    for name in ("told.py", "lookup_told/mine.py"):
        (folder / name).write_text(f"print('made by me')\n{VALID}")

    lookup.definition(spec)

    assert capfd.readouterr() == ("", "made by me\n")


@pytest.mark.parametrize("name", ["mine.py", "my study.py", "json.py"])
def test_a_study_is_found_in_a_file_whatever_its_name(folder: Path, name: str) -> None:
    (folder / name).write_text(VALID)

    assert isinstance(lookup.definition(name), StudyDefinition)
    assert isinstance(lookup.definition(str(folder / name)), StudyDefinition)


@pytest.mark.parametrize("spec", [".", "./", "..", "mine", "./mine", "mine/", "mine.py"])
def test_a_folder_is_said_to_be_one(folder: Path, spec: str) -> None:
    (folder / spec).mkdir(exist_ok=True)

    with pytest.raises(DefinitionNotFound, match="is a folder. There are coarse, .* ends in .py w"):
        lookup.definition(spec)


def test_a_module_of_any_name_is_found_by_its_dotted_path(folder: Path) -> None:
    (folder / "lookup-dashed").mkdir()
    (folder / "lookup-dashed" / "my-own.py").write_text(VALID)

    assert lookup.definition("lookup-dashed.my-own").name == "mine"


def test_a_study_that_ships_is_found_beside_a_folder_of_its_name(folder: Path) -> None:
    (folder / "coarse").mkdir()

    assert lookup.definition("coarse").name == "coarse"


def test_loading_a_file_leaves_other_modules_alone(folder: Path) -> None:
    (folder / "json.py").write_text(VALID)
    lookup.definition("json.py")

    import json

    assert json.loads("1") == 1


def test_the_known_studies_are_listed() -> None:
    assert lookup.known() == ["coarse", "final", "fine", "joint"]


@pytest.mark.parametrize("spec", ["coarser", "no.such.module", "studies.nothing", "Coarse"])
def test_an_unknown_study_is_answered_with_those_there_are(spec: str) -> None:
    sentence = (
        f"^No study '{spec}'. There are coarse, final, fine, joint; "
        r"a dotted path or a file that ends in \.py works too\.$"
    )
    with pytest.raises(DefinitionNotFound, match=sentence):
        lookup.definition(spec)


@pytest.mark.parametrize("spec", ["", ".", "..", ".coarse", "studies.", "a b", "-"])
def test_what_is_no_name_at_all_is_answered_too(spec: str) -> None:
    with pytest.raises(DefinitionNotFound):
        lookup.definition(spec)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, r"^No study file mine\.py\. Check the path\.$"),
        ("A = 1", r"^mine\.py has no STUDY\. .* STUDY = StudyDefinition\(\.\.\.\); studies/coarse"),
        ("STUDY = None", r"^mine\.py has no STUDY\."),
        ("STUDY = 3", r"^mine\.py has a STUDY of type int\. A study file needs a line STUDY ="),
        ("1 / 0", r"^mine\.py raises ZeroDivisionError when it is loaded: .* Mend the study file"),
        ("import nothing_here", r"^mine\.py raises ModuleNotFoundError .*'nothing_here'"),
        ("def (", r"^mine\.py raises SyntaxError when it is loaded"),
        ("x = '\0'", r"^mine\.py raises (SyntaxError|ValueError) when it is loaded"),
        ("raise SystemExit(0)", r"^mine\.py raises SystemExit when it is loaded"),
        (
            VALID.replace("(0.1,)", "()"),
            r"^mine\.py is not a valid study: A grid needs at least on",
        ),
        (VALID.replace('"mine"', '"a b"'), r"^mine\.py is not a valid study: A study's name has"),
        (VALID.replace(")))", ")), n_s=0)"), r"^mine\.py is not a valid study: n_s must be at lea"),
        (
            VALID.replace(")))", ")), x=0)"),
            r"^mine\.py raises TypeError .*unexpected keyword .*'x'",
        ),
    ],
)
def test_a_file_without_a_study_is_refused(
    folder: Path, content: str | None, sentence: str
) -> None:
    if content is not None:
        (folder / "mine.py").write_text(content)

    with pytest.raises(HpoError, match=re.compile(sentence, re.DOTALL)) as caught:
        lookup.definition("mine.py")

    assert isinstance(caught.value, DefinitionNotFound)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("lookup_raises", "1 / 0", "^lookup_raises.it raises ZeroDivisionError when it is loaded"),
        ("lookup_needs", "import nothing_here", "^lookup_needs.it raises ModuleNotFoundError"),
        ("lookup_none", "A = 1", "^lookup_none.it has no STUDY"),
        ("lookup_bad", VALID.replace("(0.1,)", "()"), "^lookup_bad.it is not a valid study: A gri"),
    ],
)
def test_a_module_without_a_study_is_refused(
    folder: Path, name: str, content: str, sentence: str
) -> None:
    (folder / name).mkdir()
    (folder / name / "it.py").write_text(content)

    with pytest.raises(DefinitionNotFound, match=sentence):
        lookup.definition(f"{name}.it")


def test_a_study_file_is_read_without_leaving_anything_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file = tmp_path / "mine.py"
    file.write_text(VALID)

    assert lookup.definition(str(file)).name == "mine"

    assert list(tmp_path.iterdir()) == [file]
    assert not sys.dont_write_bytecode
