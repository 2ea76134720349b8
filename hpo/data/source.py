"""A place that images can be read from, again and again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpo.errors import DataChanged, DataUnavailable

# NumPy is imported where it is used: `hpo --help` does without.
if TYPE_CHECKING:
    from model.data import Dataset

#: State of a file: device, inode, size, and times of the last change of content and of anything.
Seal = tuple[int, int, int, int, int]


@dataclass(frozen=True)
class Kept:
    """An entry of the cache that was checked."""

    entry: str  #: its folder
    seals: tuple[Seal, ...]  #: of its files
    fingerprint: str  #: of the images


@dataclass(frozen=True)
class Source:
    """A place that images can be read from, again and again."""

    #: What `resolve` accepts for the same data: digits, cifar10:/abs/path or npz:/abs/path.
    spec: str
    #: Short name that study names are built from: cifar10, digits, or a file's stem.
    name: str
    #: Of the training part that is meant, where it is settled; another one is not given out.
    fingerprint: str | None = None
    #: Where these very images are in the cache.
    kept: Kept | None = None

    @property
    def images_name(self) -> str:
        """Name of the data set that is read from here."""
        from model.npz import npz_name

        return npz_name(self._path) if self._kind == "npz" else self.name

    def training(self) -> "Dataset":
        """Read the training part: all five batches of CIFAR-10.

        Raises:
            model.errors.InvalidData: The files are damaged or not what they should be.
        """
        from model import cifar, data, npz

        if self._kind == "cifar10":
            return cifar.load(self._path)
        return data.digits() if self._kind == "digits" else npz.npz(self._path)

    def batches(self, numbers: Sequence[int]) -> "Dataset":
        """Read some training batches of CIFAR-10, 1 to 5, in the order given."""
        from model import cifar

        if self._kind != "cifar10":
            raise DataUnavailable(
                f"{self.name} has no batches, only CIFAR-10 has. Use --data cifar10."
            )
        if not numbers or not set(numbers) <= set(cifar.TRAINING_BATCHES):
            raise DataUnavailable(
                f"CIFAR-10 has the training batches 1 to 5, got {list(numbers)}. Name some of them."
            )
        return cifar.load(self._path, numbers)

    def test(self) -> "Dataset | None":
        """Read the test part, or return None for an ``.npz`` that has none.

        Raises:
            DataChanged: The training part beside it is not the one that is meant.
            model.errors.InvalidData: As `training`.
        """
        from model import cifar, data, npz

        if self._kind == "cifar10":
            return cifar.load(self._path, (cifar.TEST_BATCH,))
        if self._kind == "digits":
            return data.digits_test()
        training, test = npz.npz_parts(self._path)
        if self.fingerprint not in (None, training.fingerprint):
            raise DataChanged(self.name, str(self.fingerprint), training.fingerprint)
        return test

    def files(self) -> list[Path]:
        """Return the files that the training part is read from; none for what comes with hpo."""
        from model import cifar

        if self._kind == "digits":
            return []
        return cifar.files(self._path) if self._kind == "cifar10" else [self._path]

    @property
    def _kind(self) -> str:
        return self.spec.partition(":")[0]

    @property
    def _path(self) -> Path:
        return Path(self.spec.partition(":")[2])
