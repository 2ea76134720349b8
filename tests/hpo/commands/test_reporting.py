"""Reports of real studies: what they say, of finished, running and empty ones, and where they go."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hpo
from hpo.commands import looking, reporting
from hpo.testing import Recorder
from hpo.views.drawing import KINDS
from hpo.views.reports import alt_texts
from tests.hpo.views.pictures import png_size
from tests.hpo.views.reports.parsed import Page, page

SMALL = hpo.StudyDefinition(
    name="small",
    grid=hpo.Values((1e-4, 1e-3, 1e-2, 1e-1)),
    n_s=12,
    n_cycles=2,
    batch_size=100,
    pruner="halving",
)
Command = Callable[..., Any]


def silent(_: str) -> None:
    pass


def read(files: list[Path]) -> tuple[Page, str]:
    """Return the HTML as its parser sees it, and the Markdown."""
    markdown, html = files[-2:]
    assert (markdown.name, html.name) == ("report.md", "report.html")
    return page(html.read_text()), markdown.read_text()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, list[Path]]:
    """A coarse and a final study on the digits, in a database, with their report."""
    folder = tmp_path_factory.mktemp("finished")
    url = f"sqlite:///{folder / 'hpo.db'}"
    hpo.run(replace(SMALL, name="coarse"), storage=url)
    hpo.run("final", parent="coarse-digits", storage=url, out=folder / "model")
    names = ("coarse-digits", "final-digits")
    files = hpo.report(*names, storage=url, folder=folder / "report", data="digits")
    return url, folder, files


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a database with a study of which nothing is trained."""
    url = f"sqlite:///{tmp_path_factory.mktemp('empty') / 'hpo.db'}"
    hpo.submit(SMALL, storage=url)
    return url


def test_the_report_tells_the_story_in_the_order_that_was_asked_for(
    finished: tuple[str, Path, list[Path]],
) -> None:
    _, _, files = finished
    found, markdown = read(files)

    chapters = [text for level, text in found.headings if level == 2]
    assert chapters == ["coarse-digits", "final-digits", "To do it again"]
    parts = [text for level, text in found.headings if level == 3]
    assert parts[:6] == [
        "Question",
        "Answer",
        "Tables",
        "Why cells were cut",
        "Pictures",
        "Provenance",
    ]
    lines = [line.lstrip("# ") for line in markdown.splitlines() if line.startswith("## ")]
    assert lines == chapters


def test_the_answer_is_in_the_words_of_best(finished: tuple[str, Path, list[Path]]) -> None:
    url, _, files = finished
    found, _ = read(files)

    for name in ("coarse-digits", "final-digits"):
        said = looking.best(url, name, silent).splitlines()
        prose = [line for line in said if not line.startswith(("cell ", "   "))]
        assert [line for line in prose if " ".join(line.split()) not in found.text] == []


def test_tables_hold_every_cell_those_that_may_be_as_good_and_those_that_were_cut(
    finished: tuple[str, Path, list[Path]],
) -> None:
    url, _, files = finished
    found, _ = read(files)
    study = hpo.load("coarse-digits", storage=url)
    judgement, best = study.judgement(), study.best
    assert judgement is not None
    assert best is not None

    cells = next(table for table in found.tables if table[0][-1] == "validation accuracy")
    assert [row[0] for row in cells[1:]] == ["0", "1", "2", "3"]
    assert cells[1 + best.index][-1] == f"{best.accuracy:.4f}, the best"
    if len(judgement.contenders) > 1:
        close = next(table for table in found.tables if table[0][2] == "points behind it")
        assert {int(row[0]) for row in close[1:]} == set(judgement.contenders)
    cut = next(table for table in found.tables if "cut after cycle" in table[0])
    pruned = [r.slot.cell for r in study.results if r.outcome == hpo.Outcome.PRUNED]
    assert [int(row[0]) for row in cut[1:]] == pruned


def test_the_provenance_names_data_versions_and_every_look(
    finished: tuple[str, Path, list[Path]],
) -> None:
    url, _, files = finished
    found, _ = read(files)
    study = hpo.load("final-digits", storage=url)

    assert study.experiment.data.fingerprint in found.text
    for word in ("numpy ", "BLAS openblas", "UTC", "seed, replicates", "hidden units"):
        assert word in found.text
    assert "none: this study never reads them" in found.text
    assert "3 for this study" in found.text
    looks = next(table for table in found.tables if table[0][0] == "when")
    assert len(looks) == 1 + 3


def test_every_picture_is_in_the_page_and_beside_the_markdown_with_what_it_shows(
    finished: tuple[str, Path, list[Path]],
) -> None:
    _, folder, files = finished
    found, markdown = read(files)
    pictures = [path for path in files if path.suffix == ".png"]

    kinds = {path.stem.partition("-digits-")[2] for path in pictures}
    assert {"lambda", "curves", "first-layer", "confusion", "classes", "calibration"} <= kinds
    assert len(found.all("img")) == len(pictures)
    for attrs, path in zip(found.all("img"), pictures, strict=True):
        assert (attrs["width"], attrs["height"]) == tuple(map(str, png_size(path)))
        assert f"]({path.name})" in markdown
        assert len(str(attrs["alt"])) > 40
        assert any(character.isdigit() for character in str(attrs["alt"]))
    assert {path.name for path in (folder / "report").iterdir()} == {path.name for path in files}


def test_every_kind_of_picture_has_words_for_it() -> None:
    assert alt_texts.TOLD.keys() == KINDS.keys()


def test_a_running_study_is_told_as_it_stands(url: str, tmp_path: Path) -> None:
    watcher = Recorder(stop_after=30)
    hpo.run(SMALL, storage=url, progress=watcher, stop=watcher.stop)
    before = hpo.load("small-digits", storage=url).to_json()

    found, markdown = read(hpo.report("small-digits", storage=url, folder=tmp_path / "report"))

    assert "small-digits is not finished; this is how it stood at" in found.text
    assert "sha256sum" not in markdown
    assert hpo.load("small-digits", storage=url).to_json() == before


def test_an_empty_study_is_told_too(url: str, tmp_path: Path) -> None:
    hpo.submit(SMALL, storage=url)

    found, markdown = read(hpo.report("small-digits", storage=url, folder=tmp_path / "report"))

    assert "Not answered yet: 0 of 4 trainings have a result" in found.text
    assert "no complete cell yet" in found.text
    assert found.all("img") == []
    assert "no training has ended yet" in markdown


def test_a_search_that_has_no_cell_yet_is_told_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'hpo.db'}"
    space = hpo.Space(lambda_=hpo.Real(1e-4, 1e-1), budget=500, width=2, sampler="random")
    hpo.submit(hpo.StudyDefinition(name="mine", space=space, n_s=12, n_cycles=1), storage=url)

    found, _ = read(hpo.report("mine-digits", storage=url, folder=tmp_path / "report"))

    assert "within 500 updates? Searched by random: lambda 0.0001 to 0.1." in found.text


def test_what_stands_there_and_is_no_report_is_left_alone(empty: str, tmp_path: Path) -> None:
    for name in ("report.html", "report.md"):
        folder = tmp_path / name.replace(".", "-")
        folder.mkdir()
        (folder / name).write_text("mine")

        with pytest.raises(hpo.HpoError, match=rf"{name} is there, and no report of hpo's"):
            hpo.report("small-digits", storage=empty, folder=folder)

        assert {path.name: path.read_text() for path in folder.iterdir()} == {name: "mine"}


def test_a_picture_that_no_report_names_is_left_alone(storage: Any, tmp_path: Path) -> None:
    one = replace(SMALL, grid=hpo.Values((1e-3,)), pruner="none")
    hpo.run(one, storage=storage.url)
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "small-digits-network.png").write_text("mine")

    with pytest.raises(hpo.HpoError, match="small-digits-network.png is there, and no report"):
        hpo.report("small-digits", storage=storage.url, folder=folder)

    assert [path.read_text() for path in folder.iterdir()] == ["mine"]
    (folder / "small-digits-network.png").unlink()
    files = hpo.report("small-digits", storage=storage.url, folder=folder)
    assert hpo.report("small-digits", storage=storage.url, folder=folder) == files
    assert {path.name for path in files} == {path.name for path in folder.iterdir()}


def test_a_report_takes_the_place_of_an_earlier_one_and_of_nothing_else(
    empty: str, tmp_path: Path
) -> None:
    folder = tmp_path / "report"
    files = hpo.report("small-digits", storage=empty, folder=folder)
    (folder / "notes.txt").write_text("mine")

    assert hpo.report("small-digits", storage=empty, folder=folder) == files
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_drawn(
    empty: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(hpo.HpoError, match="is not a folder"):
        hpo.report("small-digits", storage=empty, folder=tmp_path / "file")
    with pytest.raises(TypeError, match="folder must be a path, not int"):
        hpo.report("small-digits", storage=empty, folder=3)  # type: ignore[arg-type]


def test_a_report_is_about_studies_that_are_there(empty: str, tmp_path: Path) -> None:

    with pytest.raises(hpo.HpoError, match="No study named '<script>'"):
        hpo.report("small-digits", "<script>", storage=empty, folder=tmp_path / "report")
    with pytest.raises(hpo.HpoError, match="about 1 to 100 studies, got 0"):
        hpo.report(storage=empty)
    assert not (tmp_path / "report").exists()


def test_the_command_writes_beside_where_one_is_and_says_what(
    empty: str, command: Command, workplace: Path
) -> None:
    answer = command("report", "small-digits", "--storage", empty)

    assert (answer.status, answer.out) == (0, "")
    folder = workplace / "small-digits-report"
    assert answer.err.splitlines()[-1] == f"Wrote {os.path.join(folder.name, 'report.html')}"
    assert (folder / "report.md").exists()


def test_the_name_of_the_folder_is_harmless_whatever_the_studies_are_called() -> None:
    assert reporting.folder_of(["coarse"]) == Path("coarse-report")
    for name in ("../x", "a b", "<script>", "-rf", "x" * 10_000):
        found = reporting.folder_of([name])
        assert found.name == str(found)
        assert len(found.name) < 110
        assert not set(found.name) & set("/ <>\n")
        assert found.name[0] not in "-."
