"""A trained network as a file: ``weights.safetensors`` and ``weights.npz``, with equal content.

Both hold the arrays of the network (and, for the normalisation ``feature``, the mean and deviation
of the training images) and the same metadata, all strings, so that a prediction needs neither the
data set nor the database. Nothing is pickled, and what is read is verified before it is used.
"""

import hashlib
import io
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from hpo.errors import InvalidWeights
from hpo.weights import tensors
from model import archive
from model.archive import Damaged
from model.data import Statistics
from model.files import open_regular
from model.losses import Loss
from model.network import Network
from model.normalisation import Normalisation

NPZ, SAFETENSORS = "weights.npz", "weights.safetensors"
FORMAT = "hpo_weights"  #: the key of the metadata that says that they are ours
VERSION = "1"
LAYERS = tuple(f.name for f in fields(Network))
STATISTICS = ("feature_mean", "feature_deviation")
METADATA = "metadata"  #: the array of an ``.npz`` that is a string of JSON
T = TypeVar("T", int, str)
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Weights:
    """A trained network with all that it takes to classify an image."""

    network: Network
    normalisation: Normalisation
    #: Of every value over the training images; for `feature` alone.
    statistics: Statistics | None
    loss: Loss
    #: How the inputs fold into an image; () if they do not.
    image_shape: tuple[int, ...]
    #: The value that stands for full brightness, 255 in most images; None where images have none.
    white: float | None
    #: () where the classes have no names.
    class_names: tuple[str, ...]
    #: Where the network comes from and how good it is, for people.
    about: Mapping[str, str]

    @property
    def d(self) -> int:
        """Inputs of the network."""
        return int(self.network.w1.shape[0])

    @property
    def n_classes(self) -> int:
        """Classes that it tells apart."""
        return int(self.network.b2.shape[0])

    def class_name(self, index: int) -> str:
        """Return the name of a class, or its number where it has none."""
        return self.class_names[index] if self.class_names else str(index)

    def arrays(self) -> Arrays:
        """Return what the files hold, by name."""
        found = {name: getattr(self.network, name) for name in LAYERS}
        if self.statistics is not None:
            values = (self.statistics.mean, self.statistics.deviation)
            found |= dict(zip(STATISTICS, values, strict=True))
        return {name: np.ascontiguousarray(array) for name, array in found.items()}

    def metadata(self) -> dict[str, str]:
        """Return the metadata of both files."""
        return dict(self.about) | {
            FORMAT: VERSION,
            "normalisation": self.normalisation.value,
            "loss": self.loss.value,
            "image_shape": json.dumps(list(self.image_shape)),
            "white": json.dumps(self.white),
            "class_names": json.dumps(list(self.class_names)),
            "sha256": digest(self.arrays()),
        }


def digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return the SHA-256 over names, types, shapes and values, in hexadecimal."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        found.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def npz_bytes(weights: Weights) -> bytes:
    """Return the content of an ``.npz``; ``metadata`` in it is a string of JSON."""
    memory = io.BytesIO()
    contents: dict[str, Any] = dict(weights.arrays())
    contents["metadata"] = np.array(json.dumps(weights.metadata(), sort_keys=True))
    np.savez(memory, **contents)
    return memory.getvalue()


def safetensors_bytes(weights: Weights) -> bytes | None:
    """Return the content of a safetensors file, or None where that package is not installed."""
    try:
        from safetensors.numpy import save
    except ImportError:
        return None
    return _in_order(save(weights.arrays(), weights.metadata()))


def _in_order(content: bytes) -> bytes:
    """Return a safetensors file with its header sorted: the package writes metadata in any order."""
    n = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + n]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)  # what follows stays aligned
    return len(header).to_bytes(8, "little") + header + content[8 + n :]


def read(path: Path) -> Weights:
    """Return the network in a file of either kind.

    Raises:
        InvalidWeights: It is not one that `hpo run final` wrote, or is damaged.
    """
    try:
        with open_regular(path) as file:
            is_zip = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            metadata, arrays = _read_npz(path, file) if is_zip else tensors.read(file)
    except Damaged as error:
        kind = "" if is_zip else " or another kind of file"
        raise InvalidWeights(path, f"is damaged{kind} ({error})") from error
    except OSError as error:
        raise InvalidWeights(path, f"cannot be read: {error.strerror}") from error
    except MemoryError as error:
        raise InvalidWeights(path, "needs more memory than there is") from error
    return _checked(path, _of_format(path, metadata), arrays)


def _read_npz(path: Path, file: BinaryIO) -> tuple[Any, Arrays]:
    with archive.opened(file) as stored:
        if METADATA not in stored:
            raise InvalidWeights(path, f"holds {_listed(stored.names)}, and not our metadata")
        told = stored.read(METADATA)
        try:
            metadata = json.loads(str(told)) if told.dtype.kind == "U" and not told.shape else None
        except Exception as error:  # a damaged string can raise anything
            raise Damaged(f"its metadata are no JSON: {str(error)[:200]}") from error
        wanted = {*LAYERS, *STATISTICS}
        if len(stored.names) > 1 + len(wanted):
            raise InvalidWeights(path, f"holds {len(stored.names)} arrays, more than a network has")
        return metadata, {name: stored.read(name) for name in stored.names if name != METADATA}


def _of_format(path: Path, metadata: Any) -> dict[str, str]:
    found = metadata.get(FORMAT) if isinstance(metadata, dict) else None
    if found is None:
        raise InvalidWeights(path, "holds arrays that hpo did not write")
    if found != VERSION:
        raise InvalidWeights(path, f"was written by a newer hpo (format {str(found)[:20]})")
    if not all(isinstance(value, str) for value in metadata.values()):
        raise InvalidWeights(path, "has metadata that are no text")
    return dict(metadata)


def _checked(path: Path, metadata: dict[str, str], arrays: Arrays) -> Weights:
    """Return the weights, if they fit together and are what was written."""
    try:
        normalisation = Normalisation(metadata["normalisation"])
        loss = Loss(metadata["loss"])
        image_shape = tuple(_listing(metadata["image_shape"], int))
        white = _white(json.loads(metadata["white"]))
        class_names = tuple(_listing(metadata["class_names"], str))
        expected = metadata["sha256"]
    except (KeyError, ValueError, TypeError, OverflowError, RecursionError) as error:
        told = repr(error)[:200]
        raise InvalidWeights(path, f"has metadata that cannot be understood ({told})") from error
    is_feature = normalisation is Normalisation.FEATURE
    names = {*LAYERS, *(STATISTICS if is_feature else ())}
    if set(arrays) != names:
        raise InvalidWeights(path, f"holds the arrays {_listed(arrays)}; expected {_listed(names)}")
    _check_shapes(path, arrays, image_shape, class_names)
    bad = [name for name in sorted(names) if not np.isfinite(arrays[name]).all()]
    if is_feature and not bad and arrays["feature_deviation"].min() <= 0:
        bad = ["feature_deviation"]
    if bad:
        raise InvalidWeights(path, f"has values in {bad[0]} that no trained network has")
    if digest(arrays) != expected:
        raise InvalidWeights(path, "is damaged: the SHA-256 of its arrays is not the recorded one")
    statistics = Statistics(*(arrays[name] for name in STATISTICS)) if is_feature else None
    return Weights(
        network=Network(**{name: arrays[name] for name in LAYERS}),
        normalisation=normalisation,
        statistics=statistics,
        loss=loss,
        image_shape=image_shape,
        white=white,
        class_names=class_names,
        about=metadata,
    )


def _listing(text: str, kind: type[T]) -> list[T]:
    found = json.loads(text)
    if not isinstance(found, list) or any(type(value) is not kind for value in found):
        raise ValueError(f"expected a list of {kind.__name__}")
    return found


def _white(value: Any) -> float | None:
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 < float(value) < math.inf:
        raise ValueError(f"white is {value}")
    return float(value)


def _check_shapes(
    path: Path, arrays: Arrays, image_shape: tuple[int, ...], class_names: tuple[str, ...]
) -> None:
    """Refuse arrays that are not the layers of one network for such images and classes."""
    shapes = {name: array.shape for name, array in arrays.items()}
    told = ", ".join(f"{name} {shapes[name]}" for name in sorted(shapes))
    layers = {arrays[name].dtype.name for name in LAYERS}
    statistics = {arrays[name].dtype.name for name in STATISTICS if name in arrays}
    if layers not in ({"float32"}, {"float64"}) or not statistics <= {"float64"}:
        raise InvalidWeights(
            path, f"has arrays of unexpected types: {_listed(layers | statistics)}"
        )
    d, m, k = 0, 0, 0
    with suppress(ValueError):
        (d, m), (_, k) = shapes["w1"], shapes["w2"]
    expected: dict[str, tuple[int, ...]] = {"w1": (d, m), "b1": (m,), "w2": (m, k), "b2": (k,)}
    expected |= {name: (d,) for name in STATISTICS if name in shapes}
    if shapes != expected or min(d, m) < 1 or k < 2:
        raise InvalidWeights(path, f"has shapes that make no network: {told}")
    folds = len(image_shape) in (2, 3) and min(image_shape) > 0 and math.prod(image_shape) == d
    if (image_shape and not folds) or len(class_names) not in (0, k):
        raise InvalidWeights(
            path,
            f"is for images of {image_shape} and {len(class_names)} named classes, which its arrays "
            f"do not fit: {told}",
        )


def _listed(names: Any) -> str:
    return archive.listed(sorted(names))
