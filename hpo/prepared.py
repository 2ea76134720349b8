"""Training images kept ready in the cache, so that every process maps one copy of them.

An entry belongs to the files it was read from, by their names, sizes and times of change; those
were verified when it was made. What an entry holds is compared with its own fingerprint before a
run uses it. Where the cache cannot be written, each process reads the images for itself.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpo.sources import Source, cache_folder
from model.data import Dataset, Statistics
from model.errors import InvalidData
from model.normalisation import image_statistics

KEPT = 3  #: entries; the least recently used ones go first
UNFINISHED = "unfinished-"
FACTS, IMAGES, LABELS = "facts.json", "images.npy", "labels.npy"
#: Of every image: means, then deviations, which would take each process another 0.2 s.
STATISTICS = "statistics.npy"


def training(source: Source, environ: Mapping[str, str], *, check: bool = True) -> Dataset:
    """Return the training part of ``source``, mapped from the cache.

    Args:
        environ: The environment, for HPO_CACHE.
        check: Whether to compare an entry with its fingerprint; a worker's parent has done so.

    Raises:
        InvalidData: As `Source.training`.
    """
    key = _key(source)
    if key is None:
        return source.training()
    entry = cache_folder(environ) / "prepared" / key
    found = _mapped(entry, check)
    if found is not None:
        return found
    dataset = source.training()
    try:
        _store(entry, dataset)
    except OSError:  # no space, or a cache that cannot be written
        return dataset
    return _mapped(entry, check=False) or dataset


def _key(source: Source) -> str | None:
    """Return what an entry is named for: it changes with every file that the images come from."""
    try:
        stats = [(str(file), file.stat()) for file in source.files()]
    except OSError:  # whoever reads them says it better
        return None
    if not stats:  # the digits come with the package
        return None
    facts = [(name, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for name, s in stats]
    return hashlib.sha256(repr((source.spec, facts)).encode()).hexdigest()[:32]


def _mapped(entry: Path, check: bool) -> Dataset | None:
    """Return what an entry holds, or None if it is not there or not what was stored."""
    try:
        facts = json.loads((entry / FACTS).read_text())
        images = np.load(entry / IMAGES, mmap_mode="r", allow_pickle=False)
        statistics = np.load(entry / STATISTICS, allow_pickle=False)
        dataset = Dataset(
            name=facts["name"],
            images=images.view(np.ndarray),  # the subclass would slow every batch down
            labels=np.load(entry / LABELS, allow_pickle=False),
            n_classes=facts["n_classes"],
            image_shape=tuple(facts["image_shape"]),
            image_statistics=Statistics(*statistics),
        )
        with suppress(OSError):  # in a cache that is read-only, age does not matter
            os.utime(entry)
        if check and _digests(dataset) != facts["digests"]:
            return None
    except (OSError, ValueError, KeyError, TypeError, EOFError, InvalidData):
        return None
    return dataset


def _digests(dataset: Dataset) -> list[str]:
    statistics = hashlib.sha256(_statistics(dataset).tobytes()).hexdigest()
    return [dataset.fingerprint, statistics]


def _statistics(dataset: Dataset) -> NDArray[np.float64]:
    known = image_statistics(dataset)
    return np.stack([known.mean, known.deviation])


def _store(entry: Path, dataset: Dataset) -> None:
    """Write an entry whole or not at all; another process may be doing the same."""
    entry.parent.mkdir(parents=True, exist_ok=True)
    dataset = replace(dataset, image_statistics=image_statistics(dataset))
    unfinished = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=entry.parent))
    try:
        np.save(unfinished / IMAGES, dataset.images, allow_pickle=False)
        np.save(unfinished / LABELS, dataset.labels, allow_pickle=False)
        np.save(unfinished / STATISTICS, _statistics(dataset), allow_pickle=False)
        facts = {
            "name": dataset.name,
            "n_classes": dataset.n_classes,
            "image_shape": list(dataset.image_shape),
            "digests": _digests(dataset),
        }
        (unfinished / FACTS).write_text(json.dumps(facts))
        shutil.rmtree(entry, ignore_errors=True)  # one that was damaged
        try:
            unfinished.rename(entry)
        except OSError:  # another process was faster
            if not (entry / FACTS).exists():
                raise
        _forget_old(entry.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _forget_old(folder: Path) -> None:
    """Delete all but the entries used last; who has one mapped keeps it until it ends."""
    whole = [entry for entry in folder.iterdir() if not entry.name.startswith(UNFINISHED)]
    for entry in sorted(whole, key=lambda entry: entry.stat().st_mtime, reverse=True)[KEPT:]:
        shutil.rmtree(entry, ignore_errors=True)
