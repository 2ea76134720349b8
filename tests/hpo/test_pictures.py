"""Which pictures are written, for a training and for a study."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from hpo import pictures, running
from hpo.definition import StudyDefinition
from hpo.errors import NoResult
from hpo.grids import Values
from hpo.progress import Story
from hpo.single import Settings, train_once
from hpo.storage import Storage
from model.data import Dataset, digits, split

DATASET = digits()
STUDY = StudyDefinition(name="mine", grid=Values((1e-4, 1e-2, 1e-1)), n_s=10, n_cycles=2)
#: The first cell diverges, the second does not.
HALF_WILD = StudyDefinition(name="wild", grid=Values((0.0, 4e-7)), n_s=10, n_cycles=1, eta_max=1e6)
WILD = StudyDefinition(name="wild", grid=Values((0.0, 1e-13)), n_s=10, n_cycles=1, eta_max=1e12)


def drawn(folder: Path, definition: StudyDefinition, *, stopped: bool = False) -> list[str]:
    """Run a study, draw it, and return the names of the pictures."""
    storage = Storage(f"sqlite:///{folder / 'hpo.db'}")
    outcome = running.run(definition, DATASET, storage, Story(), lambda: stopped)
    try:
        written = storage.write(
            lambda connection: pictures.of_study(
                connection, outcome.study.stored, folder / "new" / "pictures"
            )
        )
    finally:
        storage.close()
    return checked(written)


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
        "accuracy-against-lambda.png",
        "cells.png",
        "learning-rate.png",
        "best-curves.png",
        "best-first-layer.png",
    ]


def test_a_study_with_one_cell_has_nothing_to_compare(tmp_path: Path) -> None:
    definition = StudyDefinition(name="one", grid=Values((1e-3,)), n_s=10, n_cycles=1)

    assert drawn(tmp_path, definition) == [
        "learning-rate.png",
        "best-curves.png",
        "best-first-layer.png",
    ]


def test_a_study_with_a_diverged_cell_is_drawn(tmp_path: Path) -> None:
    assert "best-first-layer.png" in drawn(tmp_path, HALF_WILD)


def test_a_study_whose_cells_all_diverged_has_no_best_network(tmp_path: Path) -> None:
    assert not [name for name in drawn(tmp_path, WILD) if name.startswith("best")]


def test_a_study_without_results_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoResult, match="'mine-digits' has no results to draw yet. Run it first."):
        drawn(tmp_path, STUDY, stopped=True)
    assert not (tmp_path / "new").exists()


def trained(folder: Path, settings: Settings, dataset: Dataset = DATASET) -> list[str]:
    parts = split(dataset, 300)
    found = train_once(settings, parts.training, parts.validation)
    return checked(pictures.of_training(found, parts.training, folder / "pictures"))


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (Settings(cycles=2, n_s=10), ["curves.png", "learning-rate.png", "first-layer.png"]),
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

    assert names == ["curves.png", "learning-rate.png"]
