"""The images that ``--data`` names: found, told about, checked, and put into another order.

Most commands only find them; the others import what they need for themselves.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpo.data import parts, prepared, sources
from hpo.data.source import Source
from hpo.definition.study import StudyDefinition
from hpo.errors import DataUnavailable
from model.data import Dataset

Notify = Callable[[str], None]
Stop = Callable[[], bool]


def source(
    spec: str, environ: Mapping[str, str], notify: Notify, stop: Stop = lambda: False
) -> Source:
    """Find images, downloading CIFAR-10 if it must be.

    Args:
        environ: The environment, for HPO_DATA and HPO_CACHE.
        notify: Is told of a download at every tenth, and what else a user should know.
        stop: Ends a download.

    Raises:
        DataUnavailable: There is no such data.
    """
    shown = -1

    def report(done: int, total: int) -> None:
        nonlocal shown
        percent = 100 * done // max(total, 1)
        if percent // 10 != shown:
            shown = percent // 10
            notify(f"Downloading CIFAR-10: {percent} % of {total / 1e6:.0f} MB")

    found = sources.resolve(spec, environ=environ, notify=notify, report=report, stop=stop)
    file = Path(found.spec.partition(":")[2])
    if found.spec.startswith("npz:") and found.name not in (file.stem, f"{file.stem}-npz"):
        notify(f"Studies on the images of {file.name} are named for {found.name!r}.")
    return found


def finder(environ: Mapping[str, str], notify: Notify, stop: Stop) -> Callable[[str], Source]:
    """Return `source` as a request asks for it."""
    return lambda spec: source(spec, environ, notify, stop)


def training(spec: str, environ: Mapping[str, str], notify: Notify, stop: Stop) -> Dataset:
    """Return the training images, mapped from the cache and checked.

    Raises:
        DataUnavailable: There is no such data.
        InvalidData: The files are damaged.
    """
    return prepared.training(source(spec, environ, notify, stop), environ, notify)


def of_study(
    name: str, spec: str | None, environ: Mapping[str, str], notify: Notify
) -> Callable[[], Dataset]:
    """Return what finds the training images that a study is about, when they are needed.

    Nothing is downloaded for it.

    Args:
        name: What the study calls its images.
        spec: Where they are; by default CIFAR-10 and the digits are found by their names.
    """

    def found() -> Dataset:
        where = spec or name
        if spec is None and not are_here(name, environ):
            raise DataUnavailable(f"The images of {name} are not known to be here; say --data.")
        return training(where, environ, notify, lambda: False)

    return found


def are_here(name: str, environ: Mapping[str, str]) -> bool:
    """Tell whether the images that studies call so are found by this name alone, and not fetched."""
    return name in parts.OURS and not sources.to_fetch(name, environ)


@dataclass(frozen=True)
class About:
    """What there is to say of training images."""

    facts: dict[str, str]  #: by title
    notes: list[str]  #: what a user should know before a search on them


def about(spec: str, environ: Mapping[str, str], notify: Notify) -> About:
    """Return what the training images are, what white is in them, and whether their order is mixed.

    Raises:
        DataUnavailable: There is no such data.
        InvalidData: The files are damaged.
    """
    from hpo.weights import brightness

    found = source(spec, environ, notify)
    dataset = found.training()
    counts = np.bincount(dataset.labels, minlength=dataset.n_classes)
    shape = " x ".join(str(n) for n in dataset.image_shape) or f"{dataset.d} values"
    standing, notes = parts.told(dataset, StudyDefinition.n_validation)
    facts = {
        "name": dataset.name,
        "from": found.spec,
        "images": f"{len(dataset):,} of {shape}, {dataset.images.dtype}",
        "classes": f"{dataset.n_classes}, images in each: {', '.join(map(str, counts))}",
        "values": brightness.told(dataset),
        "validation": standing,
        "fingerprint": dataset.fingerprint,
    }
    return About(facts, list(notes))


@dataclass(frozen=True)
class Checked:
    """Images whose files are what they should be."""

    spec: str
    n_training: int
    fingerprint: str  #: of the training images
    n_test: int  #: 0 where there are none
    test_fingerprint: str | None


def verify(spec: str, environ: Mapping[str, str], notify: Notify) -> Checked:
    """Check every file, training and test; the test images are hashed and never evaluated.

    Raises:
        DataUnavailable: There is no such data.
        InvalidData: A file is damaged.
    """
    found = source(spec, environ, notify)
    training, test = found.training(), found.test()
    digest = None if test is None else test.fingerprint
    n_test = 0 if test is None else len(test)
    return Checked(found.spec, len(training), training.fingerprint, n_test, digest)


def shuffle(file: Path, new_file: Path, seed: int) -> int:
    """Write a copy of an ``.npz`` with its training images in a mixed order; return their number.

    Raises:
        InvalidData: The file is none with images and labels.
        OutputError: The new file is there already, or cannot be written.
    """
    from hpo.data import shuffling

    return shuffling.write(file, new_file, seed)
