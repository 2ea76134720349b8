"""Weights as files: what goes in comes out, and what is anything else is refused."""

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpo.errors import InvalidWeights
from hpo.weights.file import NPZ, SAFETENSORS, Weights, digest, npz_bytes, read, safetensors_bytes
from model.data import Statistics
from model.losses import Loss
from model.network import Network, initialise
from model.normalisation import Normalisation

WRITERS: dict[str, Callable[[Weights], bytes | None]] = {
    NPZ: npz_bytes,
    SAFETENSORS: safetensors_bytes,
}


def weights(**exchanged: Any) -> Weights:
    """Return a network of 12 inputs, 5 hidden units and 3 classes."""
    network = initialise(np.random.default_rng(0), 12, 5, 3).astype(np.float32)
    settings: dict[str, Any] = {
        "network": network,
        "normalisation": Normalisation.FEATURE,
        "statistics": Statistics(np.arange(12.0), np.arange(12.0) + 1),
        "loss": Loss.CROSS_ENTROPY,
        "image_shape": (2, 2, 3),
        "white": 255.0,
        "class_names": ("cat", "dög", "ship"),
        "about": {"study": "final", "lambda": "0.001"},
    }
    return Weights(**settings | exchanged)


def write(folder: Path, kind: str, given: Weights) -> Path:
    content = WRITERS[kind](given)
    assert content is not None
    path = folder / kind
    path.write_bytes(content)
    return path


def exchanged(name: str, value: np.ndarray) -> Weights:
    """Return the weights with another array in its place."""
    return weights(network=replace(weights().network, **{name: value}))


@pytest.mark.parametrize("kind", WRITERS)
def test_what_goes_in_comes_out(tmp_path: Path, kind: str) -> None:
    given = weights()
    found = read(write(tmp_path, kind, given))

    assert digest(found.arrays()) == digest(given.arrays())
    assert found.statistics is not None
    for name in ("normalisation", "loss", "image_shape", "white", "class_names"):
        assert getattr(found, name) == getattr(given, name)
    assert {**found.about, **given.about} == found.about
    assert (found.d, found.n_classes, found.class_name(1)) == (12, 3, "dög")


@pytest.mark.parametrize("kind", WRITERS)
def test_a_network_without_statistics_names_and_pictures(tmp_path: Path, kind: str) -> None:
    given = weights(
        normalisation=Normalisation.NONE,
        statistics=None,
        image_shape=(),
        white=None,
        class_names=(),
    )
    found = read(write(tmp_path, kind, given))

    assert (found.statistics, found.white, found.image_shape) == (None, None, ())
    assert found.class_name(2) == "2"


@pytest.mark.parametrize("kind", WRITERS)
def test_the_same_weights_are_the_same_bytes(kind: str) -> None:
    about = {f"key {i}": str(i) for i in range(20)}
    contents = {WRITERS[kind](weights(about=about)) for _ in range(5)}

    assert len(contents) == 1


def test_the_package_itself_reads_what_was_written(tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.numpy import load_file

    path = write(tmp_path, SAFETENSORS, weights())

    np.testing.assert_array_equal(load_file(path)["w1"], weights().network.w1)
    with safe_open(path, framework="numpy") as stored:
        assert stored.metadata()["study"] == "final"
        assert json.loads(stored.metadata()["class_names"]) == ["cat", "dög", "ship"]


def test_the_npz_holds_no_pickle_and_its_metadata_as_json(tmp_path: Path) -> None:
    with np.load(write(tmp_path, NPZ, weights()), allow_pickle=False) as stored:
        metadata = json.loads(str(stored["metadata"]))

        assert set(stored.files) == {*weights().arrays(), "metadata"}
    assert metadata == weights().metadata()
    assert all(isinstance(value, str) for value in metadata.values())


def test_the_digest_covers_names_types_shapes_and_values() -> None:
    array = np.arange(6.0)
    different = [
        {"a": array},
        {"b": array},
        {"a": array.astype(np.float32)},
        {"a": array.reshape(2, 3)},
        {"a": array + 1},
    ]

    assert len({digest(arrays) for arrays in different}) == len(different)
    assert digest({"a": array, "b": array}) == digest({"b": array, "a": array})


NAN = np.full(5, np.nan, np.float32)


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (exchanged("b1", NAN), "has values in b1 that no trained network has"),
        (exchanged("b1", np.zeros(4, np.float32)), "has shapes that make no network: b1 (4,), b2"),
        (exchanged("w1", np.zeros(60, np.float32)), "has shapes that make no network"),
        (exchanged("w2", np.zeros((5, 4), np.float32)), "has shapes that make no network"),
        (exchanged("b1", np.zeros(5, np.float64)), "unexpected types: float32, float64"),
        (exchanged("b1", np.zeros(5, np.int32)), "unexpected types"),
        (weights(statistics=None), "expected b1, b2, feature_deviation, feature_mean, w1, w2"),
        (weights(normalisation=Normalisation.IMAGE), "holds the arrays b1, b2, feature_deviation"),
        (weights(statistics=Statistics(np.zeros(12), np.zeros(12))), "in feature_deviation that"),
        (weights(statistics=Statistics(np.zeros(3), np.ones(3))), "has shapes that make no networ"),
        (weights(image_shape=(2, 2)), "is for images of (2, 2) and 3 named classes"),
        (weights(image_shape=(12,)), "is for images of (12,)"),
        (weights(image_shape=(-3, -4)), "is for images of (-3, -4)"),
        (weights(class_names=("a", "b")), "and 2 named classes, which its arrays do not fit"),
        (weights(white=-1.0), "metadata that cannot be understood"),
        (weights(white=float("nan")), "metadata that cannot be understood"),
    ],
)
def test_weights_that_are_none_are_refused(
    tmp_path: Path, kind: str, given: Weights, fault: str
) -> None:
    path = write(tmp_path, kind, given)

    with pytest.raises(InvalidWeights, match=re.escape(fault)):
        read(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("normalisation", "odd"),
        ("loss", "odd"),
        ("image_shape", "[2, "),
        ("image_shape", "7"),
        ("class_names", "null"),
        ("white", '"bright"'),
        ("sha256", None),
    ],
)
def test_metadata_that_cannot_be_understood_is_refused(
    tmp_path: Path, key: str, value: str | None
) -> None:
    metadata = weights().metadata() | {key: value}
    told = {k: v for k, v in metadata.items() if v is not None}
    np.savez(tmp_path / NPZ, metadata=np.array(json.dumps(told)), **weights().arrays())

    with pytest.raises(InvalidWeights, match="has metadata that cannot be understood"):
        read(tmp_path / NPZ)


def test_weights_of_a_newer_hpo_are_refused(tmp_path: Path) -> None:
    told = json.dumps(weights().metadata() | {"hpo_weights": "2"})
    np.savez(tmp_path / NPZ, metadata=np.array(told), **weights().arrays())

    with pytest.raises(InvalidWeights, match=r"was written by a newer hpo \(format 2\)"):
        read(tmp_path / NPZ)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_changed_bit_is_noticed(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, kind, weights())
    wanted = weights().network.w1.tobytes()
    content = bytearray(path.read_bytes())
    content[content.index(wanted) + 2] ^= 1
    path.write_bytes(content)

    with pytest.raises(InvalidWeights, match="is damaged"):
        read(path)


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    path = write(tmp_path, kind, weights())
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])

    with pytest.raises(InvalidWeights, match="is damaged"):
        read(path)


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    arrays = weights().arrays()
    np.savez(tmp_path / "foreign.npz", **arrays)
    np.savez(tmp_path / "odd.npz", metadata=np.array("{}"), **arrays)
    np.savez(tmp_path / "text.npz", metadata=np.array("no JSON"), **arrays)
    save_file(arrays, tmp_path / "foreign.safetensors")
    (tmp_path / "notes.txt").write_text("The weights are at home.")
    np.save(tmp_path / "array.npy", np.zeros(3))

    for name, fault in {
        "foreign.npz": "holds b1, b2, feature_deviation, feature_mean, w1, w2, and not our metadata",
        "odd.npz": "holds arrays that hpo did not write",
        "text.npz": "is damaged",
        "foreign.safetensors": "holds arrays that hpo did not write",
        "notes.txt": "is damaged or another kind of file",
        "array.npy": "is damaged or another kind of file",
        "nothing": "cannot be read: No such file or directory",
        ".": "cannot be read: Is a directory",
    }.items():
        with pytest.raises(InvalidWeights, match=fault):
            read(tmp_path / name)


class Bomb:
    """Leaves a trace when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("exploded",)


def test_a_pickle_is_not_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bomb = np.empty(1, object)
    bomb[0] = Bomb()
    told = np.array(json.dumps(weights().metadata()))
    np.savez(tmp_path / NPZ, metadata=told, **weights().arrays() | {"b1": bomb})

    with pytest.raises(InvalidWeights, match="is damaged"):
        read(tmp_path / NPZ)
    assert capsys.readouterr().out == ""


def test_without_the_package_there_is_only_the_npz(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, SAFETENSORS, weights())
    for name in ("safetensors", "safetensors.numpy"):
        monkeypatch.setitem(sys.modules, name, None)

    assert safetensors_bytes(weights()) is None
    assert read(path).class_names == weights().class_names  # reading does without it
    assert isinstance(read(write(tmp_path, NPZ, weights())).network, Network)
