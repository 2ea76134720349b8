"""What a stored study answers from Python: its cells, how far it is, and what the test images say."""

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

import hpo

QUICK = hpo.StudyDefinition(
    name="quick", grid=hpo.Values((1e-4, 1e-3, 1e-2)), n_s=10, n_cycles=1, batch_size=100
)
LAST = hpo.StudyDefinition(
    name="last", grid=hpo.Best(), parent="quick", n_s=10, n_cycles=1, evaluates_test=True
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results") / "hpo.db"


@pytest.fixture(scope="module")
def study(file: Path) -> hpo.Study:
    return hpo.run(QUICK, data="digits", storage=f"sqlite:///{file}")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ((99,), r"^'quick-digits' has no cell 99; it has 0 to 2\.$"),
        ((-1,), r"no cell -1; it has 0 to 2\.$"),
        (("x",), r"no cell 'x'; "),
        ((True,), r"no cell True; "),
        ((1.5,), r"no cell 1\.5; "),
        ((None,), r"no cell None; "),
        ((0, 1), r"^Cell 0 of 'quick-digits' has no replicate 1; it has 0 alone\.$"),
    ],
)
def test_curves_of_a_network_that_is_none_are_refused(
    study: hpo.Study, asked: tuple[Any, ...], told: str
) -> None:
    with pytest.raises(hpo.HpoError, match=told):
        study.curves(*asked)


def test_a_cell_may_be_a_number_of_numpy(study: hpo.Study) -> None:
    assert study.curves(np.int64(1)) == study.curves(1) != []


def test_a_network_that_is_not_trained_yet_has_no_curve(tmp_path: Path) -> None:
    study = hpo.submit(QUICK, data="digits", storage=f"sqlite:///{tmp_path / 'hpo.db'}")

    assert study.curves(0) == []
    assert study.status() == hpo.Status(
        n_slots=3, n_counted=0, n_running=0, n_waiting=3, n_pruned=0, n_diverged=0
    )


@pytest.mark.parametrize("folder", [3, b"pictures"])
def test_a_folder_that_is_no_path_is_named_by_its_argument(study: hpo.Study, folder: Any) -> None:
    with pytest.raises(TypeError, match="^folder must be a path, not "):
        study.plot(folder)


def test_a_figure_is_one_of_matplotlib_that_a_notebook_shows(study: hpo.Study) -> None:
    figure: Any = study.figure("lambda")

    assert isinstance(figure, Figure)
    assert figure.axes[0].get_ylabel() == "validation accuracy"
    assert figure._repr_png_().startswith(b"\x89PNG")  # which notebooks ask for
    with pytest.raises(hpo.HpoError, match="There is no picture 'pie'; choose one of lambda"):
        study.figure("pie")


def test_answers_are_drawn_where_the_images_are_named(study: hpo.Study) -> None:
    assert study.figure("confusion", data="digits").axes[0].get_images()
    with pytest.raises(hpo.HpoError, match="has nothing to draw as 'confusion'"):
        study.figure("confusion")


def test_the_status_of_a_study_that_is_done(study: hpo.Study) -> None:
    status = study.status()

    assert (status.n_slots, status.n_counted, status.n_waiting) == (3, 3, 0)


def test_an_outcome_is_an_outcome(study: hpo.Study) -> None:
    assert [result.outcome for result in study.results] == [hpo.Outcome.COMPLETE] * 3
    assert all(isinstance(result.outcome, hpo.Outcome) for result in study.results)


def test_the_best_of_one_replicate_has_the_value_of_its_result(study: hpo.Study) -> None:
    best = study.best

    assert best is not None
    assert best.accuracy == max(result.value or 0 for result in study.results)
    assert {best: "as a key"}[study.best or best] == "as a key"


def test_the_test_images_are_asked_after_a_study_that_looks(study: hpo.Study) -> None:
    assert study.verdict() is None

    verdict = hpo.run(LAST, data="digits", storage=study.storage).verdict()

    assert isinstance(verdict, hpo.Verdict)
    assert verdict.n_looks == 1
    assert verdict.interval is not None
    assert verdict.interval.low < verdict.accuracy < verdict.interval.high


def test_a_study_that_cannot_be_read_is_told_and_the_others_are_returned(tmp_path: Path) -> None:
    file = tmp_path / "hpo.db"
    url = f"sqlite:///{file}"
    hpo.submit(QUICK, data="digits", storage=url)
    hpo.submit(QUICK, data="digits", storage=url, name="other")
    with sqlite3.connect(file) as connection:
        connection.execute("update hpo_studies set experiment = '{' where name = 'other'")
    connection.close()
    told: list[str] = []

    found = hpo.studies(storage=url, notify=told.append)

    assert [study.name for study in found] == ["quick-digits"]
    assert len(told) == 1
    assert told[0].startswith("other: cannot be read: ")
