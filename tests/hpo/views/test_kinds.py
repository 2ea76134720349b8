"""Pictures by kind: what each says of a stored study agrees with what `hpo best` says of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpo.commands import running
from hpo.commands.request import Order
from hpo.data.source import Source
from hpo.database import rows
from hpo.database.connections import Connection
from hpo.database.storage import Storage
from hpo.definition.grids import AroundBest, Values
from hpo.definition.study import StudyDefinition
from hpo.errors import DataUnavailable, HpoError, NoResult
from hpo.experiment.records import Slot, StoredStudy
from hpo.held_out import looking
from hpo.held_out.final import show_test_images
from hpo.held_out.verdict import verdict
from hpo.mirror import study as studies
from hpo.views import drawing, report
from hpo.views.story import Story
from model.data import Dataset, digits
from tests.hpo.views.pictures import line, lines

DATASET = digits()
CUT = StudyDefinition(
    name="mine",
    grid=Values((1e-4, 1e-3, 1e-2, 1e-1)),
    n_s=10,
    n_cycles=2,
    replicates=2,
    pruner="halving",
)
FINAL = StudyDefinition(
    name="last", grid=Values((1e-3,)), n_s=20, n_cycles=1, replicates=3, evaluates_test=True
)


def ran(storage: Storage, definition: StudyDefinition) -> StoredStudy:
    running.run(Order(definition, DATASET), storage, Story(), lambda: False)
    name = f"{definition.name}-digits"
    return next(s for s in storage.read(rows.all_studies) if s.name == name)


def figure(storage: Storage, study: StoredStudy, kind: str, **asked: Any) -> Any:
    return storage.read(lambda c: drawing.figure_of_study(c, study, kind, **asked))


def title(drawn: Any) -> str:
    return str(drawn._suptitle.get_text())  # matplotlib gives it no public name


def told(storage: Storage, study: StoredStudy) -> report.StudyReport:
    return storage.read(lambda c: report.read(c, study))


def test_the_star_of_replicates_stands_where_hpo_best_says_and_cut_cells_stand_apart(
    storage: Storage,
) -> None:
    study = ran(storage, CUT)
    found = told(storage, study)
    judged = storage.read(lambda c: report.judged(c, study))
    drawn = figure(storage, study, "lambda")
    axes = drawn.axes[0]
    assert judged is not None
    star = next(one for one in lines(axes) if str(one.get_label()).startswith("best: "))

    lambdas = study.experiment.lambdas
    assert list(star.get_xdata()) == [lambdas[judged.best]]
    assert list(star.get_ydata()) == pytest.approx([judged.accuracy.value])
    joined = line(axes, "trained to the end (40 updates), mean of 2 seeds")
    assert set(joined.get_xdata()) == {lambdas[cell] for cell in found.means}
    marks = line(axes, "cut after the cycle of that number, at its value there")
    assert set(marks.get_xdata()) == set(lambdas) - set(joined.get_xdata())
    assert bool(axes.patches) == (len(judged.contenders) > 1)
    assert title(drawn) == (
        "mine-digits: accuracy against λ\n"
        "digits, 1,200 training and 300 validation images, 2 seeds a cell"
    )


def test_curves_of_replicates_are_means_cut_ones_faint_and_the_best_on_top(
    storage: Storage,
) -> None:
    study = ran(storage, CUT)
    best = told(storage, study).best
    drawn = figure(storage, study, "curves").axes[0]
    cells = {str(one.get_label()): one for one in lines(drawn) if "λ" in str(one.get_label())}
    assert best is not None

    (top,) = (one for label, one in cells.items() if label.endswith(", best"))
    assert top.get_zorder() == max(one.get_zorder() for one in cells.values())
    assert top.get_ydata()[-1] == pytest.approx(told(storage, study).means[best.slot.cell])
    faint = {label for label, one in cells.items() if (one.get_alpha() or 1) < 1}
    assert faint == {label for label in cells if label.endswith(", cut")}
    assert len(faint) == 2
    assert [one.get_xdata()[0] for one in lines(drawn) if one not in cells.values()] == [20, 40]


def test_what_was_spent_is_what_all_cells_were_trained_for(storage: Storage) -> None:
    study = ran(storage, CUT)
    spent = sum(result.n_updates for result in told(storage, study).results)
    axes = figure(storage, study, "updates").axes[0]

    assert line(axes, f"as it was: {spent} updates").get_xdata()[-1] == spent
    assert line(axes, "if no cell were cut: 320 updates").get_xdata()[-1] == 320


def test_all_pictures_of_a_final_are_of_one_network_that_they_name(storage: Storage) -> None:
    study = ran(storage, FINAL)
    opened = studies.find(storage, study.name)
    assert opened is not None
    show_test_images(opened, DATASET, Source(spec="digits", name="digits"))
    best, said = told(storage, study).best, storage.read(lambda c: verdict(c, study))
    assert best is not None
    assert said is not None
    seed = best.slot.replicate
    kinds = ("network", "first-layer", "learning-rate", "confusion", "classes", "calibration")
    drawn = {kind: figure(storage, study, kind, images=lambda: DATASET) for kind in kinds}

    assert {title(one).split(", ")[-1] for one in drawn.values()} == {
        f"network of seed {seed} of 3"
    }
    accuracy = drawn["network"].axes[2]
    own = said.by_replicate[seed]
    assert line(accuracy, f"test accuracy {own:.4f}").get_ydata()[0] == own
    assert line(accuracy, "validation").get_ydata()[-1] == pytest.approx(best.value)
    assert lines(drawn["classes"].axes[0])[-1].get_label() == f"all classes: {best.value:.4f}"
    assert storage.read(lambda c: verdict(c, study)) == said  # no picture took a look


def test_another_cell_is_shown_where_one_is_asked_for(storage: Storage) -> None:
    study = ran(storage, replace(CUT, pruner="none", replicates=1))

    for cell in range(4):
        assert f"cell {cell} (lambda " in title(figure(storage, study, "network", cell=cell))
    with pytest.raises(HpoError, match="'mine-digits' has no cell 4; it has 0 to 3"):
        figure(storage, study, "network", cell=4)


def test_units_of_the_first_layer_are_named_for_the_class_with_their_largest_weight(
    storage: Storage,
) -> None:
    study = ran(storage, replace(FINAL, replicates=1))
    network = storage.read(lambda c: looking.final_network(c, study, Slot(0, 0)))
    axes = figure(storage, study, "first-layer").axes[0]

    assert [int(t.get_text()) for t in axes.texts] == list(np.argmax(network.w2, axis=1))


def test_a_refined_study_stands_in_one_picture_with_the_wider_one(storage: Storage) -> None:
    wide = ran(storage, CUT)
    grid = AroundBest(n=3)
    fine = ran(storage, StudyDefinition(name="near", parent="mine", grid=grid, n_s=10, n_cycles=2))

    for study in (wide, fine):
        names = {str(one.get_label()) for one in lines(figure(storage, study, "lambda").axes[0])}
        assert "mine-digits: trained to the end (40 updates), mean of 2 seeds" in names
        assert "near-digits: trained to the end (40 updates)" in names
    assert "accuracy against λ, with mine-digits" in title(figure(storage, fine, "lambda"))


def drawn_into(
    storage: Storage, study: StoredStudy, folder: Path, **asked: Any
) -> tuple[list[str], list[str]]:
    sentences: list[str] = []

    def draw(connection: Connection) -> list[Path]:
        return drawing.of_study(connection, study, folder, notify=sentences.append, **asked)

    return [path.name for path in storage.read(draw)], sentences


def test_where_images_are_missing_their_pictures_are_left_out_with_one_sentence(
    storage: Storage, tmp_path: Path
) -> None:
    study = ran(storage, FINAL)

    def nowhere() -> Dataset:
        raise DataUnavailable("The images are not here.")

    names, sentences = drawn_into(storage, study, tmp_path / "a", images=nowhere)
    assert names == ["learning-rate.png", "network.png", "first-layer.png"]
    assert sentences == ["A picture is left out. The images are not here."]
    with pytest.raises(DataUnavailable):
        drawn_into(storage, study, tmp_path / "b", kind="confusion", images=nowhere)


@pytest.mark.parametrize(
    ("form", "head"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_pictures_are_written_in_each_format_with_equal_bytes(
    form: str, head: bytes, storage: Storage, tmp_path: Path
) -> None:
    study = ran(storage, replace(FINAL, replicates=1))
    for place in ("a", "b"):
        names, _ = drawn_into(storage, study, tmp_path / place, kind="network", form=form)
        assert names == [f"network.{form}"]

    one, two = ((tmp_path / place / f"network.{form}").read_bytes() for place in ("a", "b"))
    assert one.startswith(head)
    assert one == two


@pytest.mark.parametrize(
    ("asked", "told_"),
    [
        (
            {"kind": "nonsense"},
            "There is no picture 'nonsense'; choose one of lambda, parameters, ",
        ),
        ({"form": "gif"}, "There is no picture format 'gif'; choose one of png, svg, pdf."),
        ({"kind": "contour"}, "'last-digits' has nothing to draw as 'contour': accuracy over two "),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(
    asked: dict[str, Any], told_: str, storage: Storage, tmp_path: Path
) -> None:
    study = ran(storage, replace(FINAL, replicates=1))

    with pytest.raises(HpoError) as caught:
        drawn_into(storage, study, tmp_path, **asked)
    assert str(caught.value).startswith(told_)
    assert isinstance(caught.value, NoResult) == ("contour" in asked.values())
