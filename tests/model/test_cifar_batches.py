"""Batches of CIFAR-10: a hostile pickle does nothing, and what is no batch is refused."""

import os
import pickle
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model.cifar import PYTHON_MD5, D, load
from model.errors import InvalidData
from tests.model.small_cifar import N, images_and_labels, md5, python_batch, write_folder


class Call:
    """Pickles as a call: unpickled without care, ``function(*arguments)`` is carried out."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


def hostile_calls(victim: Path) -> dict[str, Call]:
    return {
        "system": Call(os.system, f"touch {shlex.quote(str(victim))}"),
        "eval": Call(eval, f"open({str(victim)!r}, 'w').close()"),
        "exec": Call(exec, f"open({str(victim)!r}, 'w').close()"),
        "open": Call(open, str(victim), "w"),
        "tofile": Call(np.save, str(victim), [1]),
    }


HOSTILE = pytest.mark.parametrize("call", ["system", "eval", "exec", "open", "tofile"])
PLACES = pytest.mark.parametrize(
    "wrap",
    [
        lambda call: call,  # in place of the batch
        lambda call: {b"data": call, b"labels": [0]},  # in place of the images
        lambda call: {b"data": np.zeros((1, D), np.uint8), b"labels": [0], b"more": call},  # beside
    ],
)


@PLACES
@HOSTILE
@pytest.mark.parametrize("protocol", [2, 5])
def test_a_hostile_pickle_with_the_expected_digest_is_refused_and_does_nothing(
    call: str, wrap: Callable[[object], object], protocol: int, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    content = pickle.dumps(wrap(hostile_calls(victim)[call]), protocol)
    folder = write_folder(tmp_path / "batches", {"data_batch_1": content})

    with pytest.raises(
        InvalidData, match="data_batch_1 is no CIFAR batch and was refused: it asks"
    ):
        load(folder, (1,), python_md5={1: md5(content)})
    assert not victim.exists()


@HOSTILE
def test_the_same_pickle_would_have_created_the_file(call: str, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    opened = pickle.loads(pickle.dumps(hostile_calls(victim)[call]))

    if call == "open":
        opened.close()
    elif call == "tofile":
        victim = victim.with_suffix(".npy")
    assert victim.exists()


@PLACES
@HOSTILE
def test_a_hostile_pickle_is_refused_by_the_published_digests(
    call: str, wrap: Callable[[object], object], tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    content = pickle.dumps(wrap(hostile_calls(victim)[call]))
    folder = write_folder(tmp_path / "batches", {"data_batch_1": content})

    with pytest.raises(InvalidData, match=f"expected {PYTHON_MD5[1]} .* It was not opened"):
        load(folder, (1,))
    assert not victim.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",  # nothing
        b"N.",  # None
        b"\x80\x02}.",  # a batch without entries
        b"\x80\x02cnumpy\nndarray.tofile\n.",  # a name below an admitted one
        b"\x80\x04\x8c\x05numpy\x8c\x0eload.__module__\x93.",  # a path from an admitted module
    ],
)
def test_a_pickle_of_something_else_is_refused(content: bytes, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "batches", {"data_batch_1": content})

    with pytest.raises(InvalidData, match="data_batch_1 is no CIFAR batch and was refused"):
        load(folder, (1,), python_md5={1: md5(content)})


IMAGES, LABELS = images_and_labels(1)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        # a list is no array
        ({b"data": IMAGES.tolist(), b"labels": LABELS.tolist()}, "no array of bytes under b'data'"),
        # numbers of another type
        ({b"data": IMAGES.astype(float), b"labels": LABELS.tolist()}, "no array of bytes"),
        # images of another size
        ({b"data": IMAGES[:, 1:], b"labels": LABELS.tolist()}, r"images \(12, 3071\) and labels"),
        # a label too few
        ({b"data": IMAGES, b"labels": LABELS.tolist()[1:]}, r"and labels \(11,\); expected"),
        # an eleventh class
        ({b"data": IMAGES, b"labels": [10] * N}, "has labels outside 0 to 9"),
        # a class before the first
        ({b"data": IMAGES, b"labels": [-1] * N}, "has labels outside 0 to 9"),
        # halves
        ({b"data": IMAGES, b"labels": [0.5] * N}, "has labels outside 0 to 9"),
    ],
)
def test_a_pickle_that_is_no_batch_of_32_by_32_images_is_refused(
    batch: object, message: str, tmp_path: Path
) -> None:
    content = python_batch(batch)
    folder = write_folder(tmp_path / "batches", {"data_batch_1": content})

    with pytest.raises(InvalidData, match=message):
        load(folder, (1,), python_md5={1: md5(content)})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bytes(D), r"has 3,072 bytes, not a multiple of 3073"),  # an image without its label
        (b"\x0a" + bytes(D), "has labels outside 0 to 9"),  # an eleventh class
    ],
)
def test_a_binary_batch_of_other_bytes_is_refused(
    content: bytes, message: str, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "batches", {"data_batch_1.bin": content})

    with pytest.raises(InvalidData, match=message):
        load(folder, (1,), binary_md5={1: md5(content)})
