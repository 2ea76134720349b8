"""Where the measuring happens: a temporary folder, the images, and studies made for a measure."""

import os
import pickle
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np

from hpo.data.source import Source
from hpo.data.sources import resolve
from hpo.errors import DataUnavailable

STUDY = """from hpo.definition.study import StudyDefinition
from hpo.definition.grids import Logarithmic

STUDY = StudyDefinition(
    name={name!r},
    grid=Logarithmic(-5, -1, {cells}),
    n_s={n_s},
    n_cycles={n_cycles},
    n_validation={n_validation},
)
"""
N_IMAGES, D, N_CLASSES = 50_000, 3072, 10
_numbers = count()


@dataclass(frozen=True)
class Images:
    """The images that both sides train on."""

    spec: str  #: for our --data
    batches: Path | None  #: folder for the peers' --data; None: they draw theirs
    said: str  #: for the reader

    @property
    def are_cifar10(self) -> bool:
        """Whether accuracies mean something."""
        return self.batches is not None


def find_images(folder: Path) -> Images:
    """Return CIFAR-10 where it lies on this machine, else random images of its shape.

    Raises:
        DataUnavailable: HPO_DATA names something else.
    """
    try:  # a download would be stopped before it begins
        source = resolve("cifar10", environ=os.environ, notify=_ignore, stop=lambda: True)
    except DataUnavailable:
        if os.environ.get("HPO_DATA"):
            raise
        return _random(folder / "random.npz")
    path = Path(source.spec.partition(":")[2])
    if not (path / "data_batch_1").is_file():
        path = _python_batches(source, folder / "batches")
    return Images(source.spec, path, "CIFAR-10")


def _ignore(text: str) -> None:
    del text


def _random(file: Path) -> Images:
    rng = np.random.default_rng(0)  # as peers/task.py draws them
    images = rng.integers(0, 256, (N_IMAGES, D), dtype=np.uint8)
    np.savez(file, images=images, labels=rng.integers(0, N_CLASSES, N_IMAGES))
    said = "random images of the shape of CIFAR-10, which is not on this machine"
    return Images(str(file), None, said)


def _python_batches(source: Source, folder: Path) -> Path:
    """Write the images of an archive or of binary batches as the peers read them."""
    folder.mkdir()
    dataset = source.training()
    for n in range(5):
        part = slice(n * 10_000, (n + 1) * 10_000)
        batch = {b"data": dataset.images[part], b"labels": dataset.labels[part].tolist()}
        (folder / f"data_batch_{n + 1}").write_bytes(pickle.dumps(batch))
    return folder


def write_study(
    folder: Path, name: str, *, cells: int, n_s: int, n_cycles: int, n_validation: int = 5000
) -> Path:
    """Write a study file and return its path."""
    file = folder / f"{name}.py"
    file.write_text(
        STUDY.format(name=name, cells=cells, n_s=n_s, n_cycles=n_cycles, n_validation=n_validation)
    )
    return file


def fresh_database(folder: Path) -> Path:
    """Return where there is no database yet."""
    return folder / f"{next(_numbers)}.db"


def url(database: Path) -> str:
    """Return what --storage takes."""
    return f"sqlite:///{database}"


def times_of_trials(database: Path) -> tuple[float, list[float]]:
    """Return when the first trial was claimed and when each ended, in order, in seconds."""
    with closing(sqlite3.connect(database)) as connection:
        (first,) = connection.execute("select min(claimed_at) from hpo_attempts").fetchone()
        ends = connection.execute(
            "select ended_at from hpo_attempts where state = 'ended' order by ended_at"
        ).fetchall()
    return float(first), [float(end) for (end,) in ends]


def accuracies_of(database: Path) -> list[float]:
    """Return the value of every cell, in order."""
    with closing(sqlite3.connect(database)) as connection:
        return [v for (v,) in connection.execute("select value from hpo_results order by cell")]
