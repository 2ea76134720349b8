"""Weights that were made to harm, or came to harm: read rightly, or refused in one sentence."""

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hpo.errors import InvalidWeights
from hpo.weights.file import Weights, npz_bytes, read, safetensors_bytes
from model import archive
from model.losses import Loss
from model.network import Network
from model.normalisation import Normalisation

WHOLE = Weights(
    network=Network(
        np.ones((4, 2), np.float32),
        np.ones(2, np.float32),
        np.ones((2, 3), np.float32),
        np.ones(3, np.float32),
    ),
    normalisation=Normalisation.NONE,
    statistics=None,
    loss=Loss.CROSS_ENTROPY,
    image_shape=(2, 2),
    white=255.0,
    class_names=("a", "b", "c"),
    about={},
)
DEEP = "[" * 100_000


def refusal(path: Path) -> str:
    with pytest.raises(InvalidWeights) as refused:
        read(path)
    told = str(refused.value)
    assert len(told.splitlines()) == 1
    assert len(told) < 1000
    return told


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
def test_every_flipped_bit_and_every_cut_is_right_or_a_sentence(tmp_path: Path, kind: str) -> None:
    content = npz_bytes(WHOLE) if kind == "npz" else safetensors_bytes(WHOLE)
    assert content is not None
    path = tmp_path / "it"
    for place in range(0, len(content), 7):
        flipped = content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :]
        for damaged in (flipped, content[:place]):
            path.write_bytes(damaged)
            try:
                found = read(path)
            except InvalidWeights:
                continue
            else:  # what is not of the network, as a date or a name of a class
                for layer, value in vars(found.network).items():
                    np.testing.assert_array_equal(value, vars(WHOLE.network)[layer])


def with_header(header: object, content: bytes = b"", *, raw: bytes | None = None) -> bytes:
    told = json.dumps(header).encode() if raw is None else raw
    return len(told).to_bytes(8, "little") + told + content


def entry(
    dtype: object = "F32", shape: object = (2,), offsets: object = (0, 8)
) -> dict[str, object]:
    return {"w1": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 7,
        b"\0" * 100,
        b"\xff" * 100,
        (1 << 62).to_bytes(8, "little") + b"{}",
        with_header([]),
        with_header(None),
        with_header({"w1": 3}),
        with_header({"w1": {}}),
        with_header({}, raw=DEEP.encode()),
        with_header({}, raw=b'{"w1":' * 1000),
        with_header({}, raw=b"\xff\xfe{}"),
        with_header({}, raw=b'{"w1": ' + b"9" * 10_000 + b"}"),
        with_header(entry(), bytes(4)),  # less than it says
        with_header(entry(shape=(10**18, 10**18), offsets=(0, 8)), bytes(8)),
        with_header(entry(shape=(-2, -1)), bytes(8)),
        with_header(entry(shape=(2.0,)), bytes(8)),
        with_header(entry(shape=(True, 2)), bytes(8)),
        with_header(entry(shape="22"), bytes(8)),
        with_header(entry(offsets=(8, 0)), bytes(8)),
        with_header(entry(offsets=(-8, 0)), bytes(8)),
        with_header(entry(offsets=(0, 8, 9)), bytes(8)),
        with_header(entry(offsets=(0, 10**30)), bytes(8)),
        with_header(entry(dtype="BF16", offsets=(0, 4)), bytes(4)),
        with_header(entry(dtype=["F32"]), bytes(8)),
        with_header(entry(), bytes(8)),  # sound, but not ours
        with_header({"__metadata__": "ours"}),
        with_header({"__metadata__": {"hpo_weights": ["1"]}}),
        with_header({"__metadata__": {"hpo_weights": "1", "white": 3}}),
    ],
)
def test_a_header_that_says_anything_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights.safetensors").write_bytes(content)
    refusal(tmp_path / "weights.safetensors")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image_shape", DEEP),
        ("image_shape", "[1e400]"),
        ("image_shape", "[2.5, 2]"),
        ("image_shape", "[true, 4]"),
        ("image_shape", '"22"'),
        ("image_shape", "{}"),
        ("image_shape", "[" + "9" * 5000 + "]"),
        ("class_names", DEEP),
        ("class_names", '"abc"'),
        ("class_names", "[1, 2, 3]"),
        ("white", "NaN"),
        ("white", "1e999"),
        ("white", "true"),
        ("white", "[255]"),
        ("white", "9" * 5000),
        ("loss", "x" * 100_000),
        ("hpo_weights", "2" * 100_000),
        ("sha256", ""),
    ],
)
@pytest.mark.parametrize("kind", ["npz", "safetensors"])
def test_metadata_that_say_anything_are_a_sentence(
    tmp_path: Path, kind: str, field: str, value: str
) -> None:
    from safetensors.numpy import save

    metadata = WHOLE.metadata() | {field: value}
    if kind == "npz":
        stream = io.BytesIO()
        np.savez(stream, **WHOLE.arrays(), metadata=np.array(json.dumps(metadata)))
        content = stream.getvalue()
    else:
        content = save(WHOLE.arrays(), metadata)
    (tmp_path / "it").write_bytes(content)
    refusal(tmp_path / "it")


@pytest.mark.parametrize(
    "metadata",
    [
        np.array(DEEP),
        np.array("[]"),
        np.array(3),
        np.array(["{}", "{}"]),
        np.array(b"{}"),
        np.frombuffer(b"\xff\xff\xff\x7f", "<U1").reshape(()),  # no letter has this number
    ],
    ids=["deep", "list", "number", "two", "bytes", "no letter"],
)
def test_metadata_of_another_kind_are_a_sentence(tmp_path: Path, metadata: np.ndarray) -> None:
    np.savez(tmp_path / "it.npz", **WHOLE.arrays(), metadata=metadata)
    refusal(tmp_path / "it.npz")


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "SMALL", 1 << 16)
    path = tmp_path / "it.npz"
    path.write_bytes(npz_bytes(WHOLE))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as members:
        members.writestr("feature_mean.npy", bytes(10 << 20))
    assert "would unpack to 10,485,760 bytes" in refusal(path)


def test_a_file_of_a_million_arrays_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "it.npz"
    path.write_bytes(npz_bytes(WHOLE))
    with zipfile.ZipFile(path, "a") as members:
        for n in range(100):
            members.writestr(f"{n}.npy", b"")
    assert "holds 105 arrays, more than a network has" in refusal(path)


@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        Path.mkdir,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to("/dev/null"),
        lambda path: path.symlink_to("nowhere"),
        lambda path: path.symlink_to(path.name),
    ],
    ids=["fifo", "folder", "zero", "null", "dangling", "loop"],
)
@pytest.mark.parametrize("name", ["weights.npz", "weights.safetensors"])
def test_what_is_no_file_is_a_sentence_at_once(
    tmp_path: Path, make: Callable[[Path], None], name: str
) -> None:
    make(tmp_path / name)
    assert "cannot be read: " in refusal(tmp_path / name)
