"""Training images kept ready in the cache, so that every process maps one copy of them.

An entry belongs to the files it was read from, by their names, sizes and times of change; those
were verified when it was made. Everything that a result depends on is checked before a run uses an
entry. The processes of that run are told which files were checked, and use no others: what is
trained is what was fingerprinted, whatever happens to the user's file meanwhile. Where the cache
cannot be written, or others can write to it, each process reads the images for itself.
"""

import hashlib
import json
import os
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hpo.data.source import Kept, Seal, Source
from hpo.data.sources import cache_folder
from hpo.errors import DataChanged
from hpo.machine import cache
from hpo.machine.cache import FACTS, MARK
from hpo.machine.console import say
from model.data import Dataset, Statistics
from model.normalisation import image_statistics

KEPT = 3  #: entries; the least recently used ones go first
FORMAT = 3  #: of an entry
IMAGES, LABELS = "images.npy", "labels.npy"
#: Of every image: means, then deviations, which take 0.6 s to compute; so a digest says if they are whole.
STATISTICS = "statistics.npy"
PARTS = (IMAGES, LABELS, STATISTICS)
NAMES = frozenset({FACTS, *PARTS})
FACTS_SIZE = 10_000  #: bytes, at most


@dataclass(frozen=True)
class Held(Source):
    """A source whose test part is read once, so that whoever asks for it sees the same images."""

    _first = cached_property(Source.test)

    def test(self) -> Dataset | None:
        """Return the test part, as it was read first."""
        return self._first


def training(
    source: Source, environ: Mapping[str, str], notify: Callable[[str], None] = say
) -> Dataset:
    """Return the training part of ``source``, mapped from the cache and checked.

    Args:
        environ: The environment, for HPO_CACHE.
        notify: Is told why a cache is not used.

    Raises:
        InvalidData: As `Source.training`.
    """
    key = _key(source)
    if key is None:
        return source.training()
    try:
        folder = cache.opened(cache_folder(environ) / "prepared")
    except cache.Untrusted as error:
        notify(
            f"The cache is not used: {error}, and results are computed from what is in it. "
            "Set HPO_CACHE to a folder that only you can write to."
        )
        return source.training()
    except OSError:  # no cache rather than no run
        return source.training()
    entry = folder / key
    found = _checked(entry, source)
    if found is not None:
        return found
    dataset = source.training()
    if _key(source) != key:  # the files changed while they were read
        return dataset
    try:
        _store(entry, dataset)
    except OSError:  # no space, or a cache that cannot be written
        return dataset
    return _checked(entry, source) or dataset


def pinned(source: Source, dataset: Dataset) -> Source:
    """Return ``source`` so that another process finds exactly ``dataset`` by it (`again`)."""
    watch = dataset.is_unchanged
    kept = watch.kept if isinstance(watch, _Watch) else None
    return replace(source, fingerprint=dataset.fingerprint, kept=kept)


def again(source: Source, environ: Mapping[str, str]) -> Dataset:
    """Return the images of a `pinned` source.

    Raises:
        DataChanged: They are nowhere to be found any more.
        InvalidData: As `Source.training`.
    """
    kept = source.kept
    found = _mapped(Path(kept.entry), source, kept) if kept else None
    if found is None:
        found = training(source, environ, lambda _: None)
    if source.fingerprint not in (None, found.fingerprint):
        raise DataChanged(source.name, str(source.fingerprint), found.fingerprint)
    return found


def _key(source: Source) -> str | None:
    """Return what an entry is named for: it changes with every file that the images come from."""
    try:
        stats = [(str(file), file.stat()) for file in source.files()]
    except OSError:  # whoever reads them says it better
        return None
    if not stats:  # the digits come with the package
        return None
    facts = [(name, _seal(found)) for name, found in stats]
    return hashlib.sha256(repr((FORMAT, source.spec, facts)).encode()).hexdigest()[:32]


def _seal(found: os.stat_result) -> Seal:
    """Return what tells one state of a file from another; no user can set the time of change."""
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class _Watch:
    """Tells whether mapped images are still those that were checked."""

    def __init__(self, kept: Kept, file: BinaryIO, images: Dataset) -> None:
        self.kept = kept
        self._seal = _seal(os.fstat(file.fileno()))
        self._images = images
        self._descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._descriptor)

    def __call__(self) -> bool:
        now = _seal(os.fstat(self._descriptor))
        if now == self._seal:
            return True
        # Deleting a file changes it too, though not what is mapped of it.
        is_written = now[:-1] != self._seal[:-1]
        if is_written or replace(self._images).fingerprint != self.kept.fingerprint:
            return False
        self._seal = now
        return True


def _mapped(entry: Path, source: Source, kept: Kept | None = None) -> Dataset | None:
    """Return what an entry holds, unchecked, or None if it is not there.

    Args:
        kept: The state of its files that was checked; another one will not do.
    """
    try:
        cache.check(entry)
        with ExitStack() as stack:
            files = [stack.enter_context(_open(entry / name)) for name in (FACTS, *PARTS)]
            seals = _seals(files)
            if kept is not None and kept.seals != seals:
                return None
            facts = json.loads(files[0].read(FACTS_SIZE))
            statistics = np.load(files[3], allow_pickle=False)
            if facts[MARK] != FORMAT or _digest(statistics) != facts["statistics"]:
                return None
            images = Dataset(
                name=source.images_name,
                images=_map(files[1]),
                labels=np.load(files[2], allow_pickle=False),
                n_classes=facts["n_classes"],
                image_shape=tuple(facts["image_shape"]),
                image_statistics=Statistics(*statistics),
            )
            if images.labels.dtype != np.intp or _seals(files) != seals:
                return None
            kept = Kept(str(entry), seals, facts["fingerprint"])
            watch = _Watch(kept, files[1], images)
    except (OSError, ValueError, KeyError, TypeError, EOFError, RecursionError, MemoryError):
        return None
    with suppress(OSError):  # in a cache that is read-only, age does not matter
        os.utime(entry)
    return replace(images, is_unchanged=watch, known_fingerprint=kept.fingerprint)


def _open(path: Path) -> BinaryIO:
    return open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")


def _seals(files: Sequence[BinaryIO]) -> tuple[Seal, ...]:
    return tuple(_seal(cache.check(file.fileno())) for file in files)


def _map(file: BinaryIO) -> NDArray[Any]:
    np.lib.format.read_magic(file)
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
    if is_fortran or dtype.hasobject:
        raise ValueError("not as it was stored")
    found = np.memmap(file, dtype, "r", file.tell(), shape)
    return found.view(np.ndarray)  # the subclass would slow every batch down


def _checked(entry: Path, source: Source) -> Dataset | None:
    """Return what an entry holds, or None if it is not all that was stored."""
    found = _mapped(entry, source)
    if found is None:
        return None
    fingerprint = replace(found, known_fingerprint=None).fingerprint
    return found if fingerprint == found.fingerprint and found.is_unchanged() else None


def _digest(array: NDArray[Any]) -> str:
    """Return the SHA-256 of an array, with its shape and type."""
    told = f"{array.shape} {array.dtype.str}".encode()
    return hashlib.sha256(told + np.ascontiguousarray(array).tobytes()).hexdigest()


def _store(entry: Path, dataset: Dataset) -> None:
    """Write an entry whole or not at all; another process may be doing the same."""
    with cache.held(entry.parent):
        cache.sweep(entry.parent, NAMES, KEPT - 1)
        cache.remove(entry, NAMES)  # one that was damaged
        unfinished = Path(tempfile.mkdtemp(prefix=cache.UNFINISHED, dir=entry.parent))
        try:
            computed = image_statistics(dataset)
            statistics = np.stack([computed.mean, computed.deviation])
            arrays = (dataset.images, dataset.labels, statistics)
            for name, array in zip(PARTS, arrays, strict=True):
                with _create(unfinished / name) as file:
                    np.save(file, np.ascontiguousarray(array), allow_pickle=False)
            facts = {
                MARK: FORMAT,
                "fingerprint": dataset.fingerprint,
                "statistics": _digest(statistics),
                "n_classes": dataset.n_classes,
                "image_shape": list(dataset.image_shape),
            }
            with _create(unfinished / FACTS) as file:
                file.write(json.dumps(facts).encode())
            unfinished.rename(entry)
        finally:
            cache.remove(unfinished, NAMES)


def _create(path: Path) -> BinaryIO:
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
