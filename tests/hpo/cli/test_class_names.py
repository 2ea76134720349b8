"""Names of classes that were made to harm: data cannot carry any, and those of weights are shown."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpo.weights.file import Weights, npz_bytes, read, safetensors_bytes
from model.losses import Loss
from model.network import Network
from model.normalisation import Normalisation

Command = Callable[..., Any]
#: The likeliest class is the place of the largest value.
NAMED = Weights(
    network=Network(*(np.float32(a) for a in (np.eye(3), np.zeros(3), np.eye(3), np.zeros(3)))),
    normalisation=Normalisation.NONE,
    statistics=None,
    loss=Loss.CROSS_ENTROPY,
    image_shape=(),
    white=None,
    class_names=("a", "b", "c"),
    about={},
)
HOSTILE = {
    "<script>alert(1)</script>": "<script>alert(1)</script>",
    "a\naccuracy\t1.0000": r"a\naccuracy\t1.0000",
    "a\r\x1b[2J\x1b]0;title\x07": r"a\r\x1b[2J\x1b]0;title\x07",
    "\u202efdp\u2028\x85": r"\u202efdp\u2028\x85",
    "\ud800": r"\ud800",
    "=cmd()": "=cmd()",
    "[red]x[/]": "[red]x[/]",
    "n" * 10_000: "n" * 10_000,
    "": "",
}


@pytest.mark.parametrize("form", ["npz", "safetensors"])
@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_class_of_any_name_is_one_field_of_one_line(
    command: Command, workplace: Path, name: str, form: str
) -> None:
    weights = replace(NAMED, class_names=(name, "b", "c"))
    content = npz_bytes(weights) if form == "npz" else safetensors_bytes(weights)
    if content is None:
        pytest.skip("safetensors is not installed")
    Path(f"weights.{form}").write_bytes(content)
    np.savez("images.npz", images=np.eye(3, dtype=np.float32), labels=np.array([1, 1, 2]))

    answer = command("predict", f"weights.{form}", "images.npz", "--top", "3")

    lines = answer.out.removesuffix("\n").split("\n")
    assert answer.status == 0
    assert len(lines) == 4
    assert [len(line.split("\t")) for line in lines] == [7, 7, 7, 3]
    assert lines[0].split("\t")[1] == HOSTILE[name]
    assert lines[3] == "accuracy\t0.6667\t2 of 3"
    assert all(field.isprintable() for line in lines for field in line.split("\t"))
    assert read(Path(f"weights.{form}")).class_names[0] == name  # programs get it as it is


def test_names_in_a_data_file_are_not_read(command: Command, write_npz: Any) -> None:
    rng = np.random.default_rng(0)
    labels, images = rng.integers(0, 3, 40), rng.integers(0, 256, (40, 4, 4), dtype=np.uint8)
    names = np.array(list(HOSTILE)[:3])
    write_npz(class_names=names, test_images=images, test_labels=labels)
    Path("last.py").write_text(
        "from hpo import StudyDefinition, Values\n\n"
        'STUDY = StudyDefinition(name="last", grid=Values((1e-3,)), n_s=5, evaluates_test=True)\n'
    )

    told = command("data", "info", "mine.npz")
    run = command("run", "last.py", "--data", "mine.npz", "--out", "model")

    assert (told.status, run.status) == (0, 0)
    assert not any(name in told.out + run.out + run.err for name in names)
    assert read(Path("model/weights.npz")).class_names == ()
    predicted = command("predict", "model/weights.npz", "mine.npz").out.splitlines()
    assert {line.split("\t")[1] for line in predicted[:-1]} <= {"0", "1", "2"}


def test_labels_that_are_names_are_refused_in_one_sentence(
    command: Command, write_npz: Any
) -> None:
    write_npz(labels=np.resize(list(HOSTILE), 200))

    answer = command("run", "coarse", "--data", "mine.npz")

    assert (answer.status, answer.out) == (1, "")
    assert "Store the number of the class, from 0 on, as an integer." in answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize("name", ["a\nhpo: everything is fine", "\x1b[2J", "n" * 10_000])
def test_an_array_of_any_name_is_told_in_one_line(
    command: Command, workplace: Path, name: str
) -> None:
    np.savez("mine.npz", **{name: np.zeros(3)})

    answer = command("run", "coarse", "--data", "mine.npz")

    assert (answer.status, answer.out) == (1, "")
    assert answer.err.count("\n") == 1
    assert answer.err.removesuffix("\n").isprintable()
    assert len(answer.err) < 500
