"""Which pictures are written, for a training and for a study."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from hpo.commands import running
from hpo.commands.request import Order
from hpo.database import checkpoints, rows, tables
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.definition.ranges import Real, WholeEpochs
from hpo.definition.spaces import Space
from hpo.definition.study import StudyDefinition
from hpo.errors import NoResult
from hpo.experiment.records import Slot, StoredStudy
from hpo.held_out import looking
from hpo.training.single import Settings, train_once
from hpo.views import drawing, plots, report, search_plots
from hpo.views.story import Story
from model.data import Dataset, digits, split

DATASET = digits()
STUDY = StudyDefinition(name="mine", grid=Values((1e-4, 1e-2, 1e-1)), n_s=10, n_cycles=2)
#: The first cell diverges, the second does not.
HALF_WILD = StudyDefinition(name="wild", grid=Values((0.0, 4e-7)), n_s=10, n_cycles=1, eta_max=1e6)
WILD = StudyDefinition(name="wild", grid=Values((0.0, 1e-13)), n_s=10, n_cycles=1, eta_max=1e12)
SPACE = Space(
    lambda_=Real(1e-4, 1e-1, logarithmic=True),
    eta_max=Real(0.05, 0.3, logarithmic=True),
    n_s=WholeEpochs(1, 3),
    normalisation=("image", "feature"),
    sampler="random",
    width=3,
    budget=3000,
    finalists=2,
)
SEARCH = StudyDefinition(name="space", space=SPACE, batch_size=100, n_cycles=1)


def ran(
    storage: Storage, definition: StudyDefinition, stop: Callable[[], bool] = lambda: False
) -> StoredStudy:
    """Run a study, and return it as it is then."""
    running.run(Order(definition, DATASET), storage, Story(), stop)
    return storage.write(lambda connection: rows.all_studies(connection)[0])


def pictures_of(storage: Storage, study: StoredStudy, folder: Path) -> list[str]:
    """Draw a study, and return the names of the pictures."""
    place = folder / "new" / "pictures"
    return checked(storage.write(lambda connection: drawing.of_study(connection, study, place)))


def drawn(folder: Path, definition: StudyDefinition, *, stopped: bool = False) -> list[str]:
    """Run a study, draw it, and return the names of the pictures."""
    storage = Storage(f"sqlite:///{folder / 'hpo.db'}")
    try:
        return pictures_of(storage, ran(storage, definition, lambda: stopped), folder)
    finally:
        storage.close()


def checked(written: list[Path]) -> list[str]:
    """Return the names of pictures that are PNGs with something on them."""
    for path in written:
        pixels = imread(path)
        assert min(pixels.shape[:2]) > 100, path
        assert np.std(pixels) > 0, path
    assert {path.parent for path in written} == {written[0].parent}
    assert sorted(written[0].parent.iterdir()) == sorted(written)  # and nothing else is there
    return [path.name for path in written]


def test_a_study_gets_its_cells_its_rate_and_its_best_network(tmp_path: Path) -> None:
    assert drawn(tmp_path, STUDY) == [
        "lambda.png",
        "updates.png",
        "curves.png",
        "learning-rate.png",
        "network.png",
        "first-layer.png",
    ]


def test_a_study_with_one_cell_has_nothing_to_compare(tmp_path: Path) -> None:
    definition = StudyDefinition(name="one", grid=Values((1e-3,)), n_s=10, n_cycles=1)

    assert drawn(tmp_path, definition) == [
        "learning-rate.png",
        "network.png",
        "first-layer.png",
    ]


def test_a_study_with_a_diverged_cell_is_drawn(tmp_path: Path) -> None:
    assert "first-layer.png" in drawn(tmp_path, HALF_WILD)


def test_a_study_whose_cells_all_diverged_has_no_best_network(tmp_path: Path) -> None:
    assert not [name for name in drawn(tmp_path, WILD) if name.startswith("best")]


def test_a_study_without_results_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoResult, match="'mine-digits' has no results to draw yet. Run it first."):
        drawn(tmp_path, STUDY, stopped=True)
    assert not (tmp_path / "new").exists()


def test_a_search_gets_its_parameters_its_progress_and_its_best_network(
    storage: Storage, tmp_path: Path
) -> None:
    study = ran(storage, SEARCH)

    assert study.experiment.search is not None
    assert len(study.experiment.search.finalists) == 2
    assert pictures_of(storage, study, tmp_path) == [
        "parameters.png",
        "updates.png",
        "importances.png",
        "contour.png",
        "curves.png",
        "learning-rate.png",
        "network.png",
        "first-layer.png",
    ]


def shown(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[dict[str, Any]]:
    """Keep what a picture is drawn from, and draw it all the same."""
    seen: list[dict[str, Any]] = []
    draw = getattr(module, name)

    def keep(what: Any, *rest: Any, **given: Any) -> Any:
        seen.append({"what": what, **given})
        return draw(what, *rest, **given)

    monkeypatch.setattr(module, name, keep)
    return seen


@pytest.mark.long
def test_a_search_is_drawn_with_what_its_report_says(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = ran(storage, SEARCH)
    seen = shown(monkeypatch, search_plots, "figure_of_progress")
    pictures_of(storage, study, tmp_path)
    found = storage.write(lambda connection: report.read(connection, study))
    search, experiment = seen[0]["what"], study.experiment

    assert found.best is not None
    assert search.best == found.best.slot.cell
    assert search.finals == found.means
    assert set(search.finals) == set(experiment.search.finalists)  # type: ignore[union-attr]
    assert (search.n_seeds, search.n_final_seeds) == (1, experiment.replicates)
    first = {r.slot.cell: r.value for r in found.results if r.slot.replicate == 0}
    assert search.accuracies == pytest.approx([first[c] for c in range(len(first))])
    assert search.n_updates == [2 * cell["n_s"] for cell in experiment.cells]
    assert list(search.dimensions) == ["lambda", "eta_max", "n_s", "normalisation"]


@pytest.mark.long
def test_rate_and_curves_of_a_search_are_those_of_its_best_network(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = ran(storage, SEARCH)
    rates, curves = (
        shown(monkeypatch, plots, f"figure_of_{n}") for n in ("learning_rate", "curves")
    )
    pictures_of(storage, study, tmp_path)
    best = storage.write(lambda connection: report.read(connection, study)).best
    assert best is not None
    recipe = study.experiment.recipe(best.slot.cell)

    whose = f"space-digits: learning rate, cell {best.slot.cell} (lambda "
    assert rates[0]["title"].startswith(whose)
    assert len(rates[0]["what"]) == recipe.n_updates
    assert (rates[0]["eta_max"], rates[0]["cycle_ends"]) == (recipe.eta_max, [2 * recipe.n_s])
    assert f", cell {best.slot.cell} (lambda " in curves[0]["title"]
    assert f"network of seed {best.slot.replicate} of " in curves[0]["title"]
    assert curves[0]["what"].validation["accuracy"][-1] == pytest.approx(best.value)
    assert curves[0]["cycle_ends"] == [2 * recipe.n_s]


@pytest.mark.long
def test_a_search_that_goes_on_is_drawn_without_finalists(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(10**6))
    study = ran(storage, SEARCH, lambda: next(calls) > 150)
    seen = shown(monkeypatch, search_plots, "figure_of_parameters")

    assert study.experiment.search is not None
    assert not study.experiment.search.is_over
    assert pictures_of(storage, study, tmp_path)[:2] == ["parameters.png", "updates.png"]
    assert seen[0]["what"].finals == {}
    assert None in seen[0]["what"].accuracies
    assert seen[0]["what"].best is not None


def test_a_search_whose_cells_all_diverged_has_nothing_best_to_draw(
    storage: Storage, tmp_path: Path
) -> None:
    space = Space(lambda_=Real(0, 1e-13), width=2, budget=100, sampler="random")
    wild = StudyDefinition(name="wild", space=space, n_s=10, n_cycles=1, eta_max=1e12)

    names = pictures_of(storage, ran(storage, wild), tmp_path)
    assert names == ["parameters.png", "updates.png", "curves.png"]


def best_slots(storage: Storage, study: StoredStudy) -> list[Slot]:
    """Return the slots of the best cell, that of its best network first, and so on."""
    found = storage.write(lambda connection: report.read(connection, study))
    assert found.best is not None
    mine = [r for r in found.results if r.slot.cell == found.best.slot.cell]
    return [r.slot for r in sorted(mine, key=lambda r: (-(r.value or 0.0), r.slot.replicate))]


def forget(storage: Storage, study: StoredStudy, slot: Slot) -> None:
    storage.write(lambda connection: checkpoints.forget(connection, study.uuid, [slot]))


@pytest.mark.long
@pytest.mark.parametrize("definition", [SEARCH, replace(STUDY, replicates=2)])
def test_where_weights_are_not_kept_another_seed_is_drawn_or_none(
    definition: StudyDefinition,
    storage: Storage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = ran(storage, definition)
    best, *others = best_slots(storage, study)
    forget(storage, study, best)
    seen = shown(monkeypatch, plots, "figure_of_first_layer")

    assert "first-layer.png" in pictures_of(storage, study, tmp_path / "one")
    another = storage.write(lambda connection: looking.final_network(connection, study, others[0]))
    assert np.array_equal(seen[0]["what"], another.w1)
    for slot in others:
        forget(storage, study, slot)
    names = pictures_of(storage, study, tmp_path / "two")
    assert names[-1] == "network.png"


@pytest.mark.long
def test_damaged_weights_are_told_and_not_passed_over(storage: Storage, tmp_path: Path) -> None:
    study = ran(storage, SEARCH)
    nothing = tables.checkpoints.update().values(content=b"")
    storage.write(lambda connection: connection.execute(nothing))

    with pytest.raises(checkpoints.Damaged):
        pictures_of(storage, study, tmp_path)


def trained(folder: Path, settings: Settings, dataset: Dataset = DATASET) -> list[str]:
    parts = split(dataset, 300)
    found = train_once(settings, parts.training, parts.validation)
    return checked(drawing.of_training(found, parts.training, folder / "pictures"))


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (
            Settings(cycles=2, n_s=10),
            ["curves.png", "learning-rate.png", "rate-range.png", "first-layer.png"],
        ),
        (Settings(cycles=1, n_s=1), ["curves.png", "learning-rate.png", "first-layer.png"]),
        (Settings(schedule="static", epochs=2), ["curves.png", "first-layer.png"]),  # a flat line
    ],
)
def test_a_training_gets_its_curves(tmp_path: Path, settings: Settings, names: list[str]) -> None:
    assert trained(tmp_path, settings) == names


def test_flat_rows_have_no_picture_of_the_weights(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 256, (1500, 7), dtype=np.uint8)
    dataset = Dataset("rows", rows, rng.integers(0, 2, 1500), 2, ())

    names = trained(tmp_path, Settings(cycles=1, n_s=10), dataset)

    assert names == ["curves.png", "learning-rate.png", "rate-range.png"]
