"""``hpo predict``: real pictures in, classes out, and one sentence for everything else."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hpo.commands import running
from hpo.commands.request import Order
from hpo.data.source import Source
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.definition.study import StudyDefinition
from hpo.held_out import final
from hpo.views.story import Story
from hpo.weights.file import read
from model.data import digits, digits_test

Command = Callable[..., Any]
TEST = digits_test()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a network for the digits, trained well enough for a test."""
    folder = tmp_path_factory.mktemp("trained")
    storage = Storage(f"sqlite:///{folder / 'hpo.db'}")
    definition = StudyDefinition(name="last", grid=Values((1e-3,)), n_s=100, evaluates_test=True)
    study = running.run(Order(definition, digits()), storage, Story(), lambda: False).study
    final.show_test_images(study, digits(), Source(spec="digits", name="digits"))
    final.write_model(study, digits(), folder / "model")
    storage.close()
    return folder / "model"


@pytest.fixture
def trained(command: Command, workplace: Path, model: Path) -> Command:
    """The command line in a folder with the network in ``model``, and nothing else."""
    shutil.copytree(model, workplace / "model")
    return command


@pytest.fixture
def picture(workplace: Path) -> str:
    """The first test image as a PNG file of its own size."""
    pixels = TEST.images[0].reshape(8, 8) * 15.9375  # 16 becomes 255
    Image.fromarray(pixels.astype(np.uint8)).save("picture.png")
    return "picture.png"


@pytest.mark.parametrize("weights", ["model/weights.npz", "model/weights.safetensors"])
def test_a_line_has_name_class_and_probability(
    weights: str, trained: Command, picture: str
) -> None:
    answer = trained("predict", weights, picture)

    assert (answer.status, answer.err) == (0, "")
    name, label, probability = answer.out.rstrip("\n").split("\t")
    assert (name, label) == ("picture.png", str(TEST.labels[0]))
    assert 0.1 < float(probability) <= 1


def test_top_shows_more_classes_on_the_same_line(trained: Command, picture: str) -> None:
    (line,) = trained("predict", "model/weights.npz", picture, "--top", "10").out.splitlines()

    fields = line.split("\t")
    assert sorted(fields[1::2]) == [str(i) for i in range(10)]
    probabilities = [float(p) for p in fields[2::2]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, abs=1e-3)


def test_the_accuracy_on_the_test_images_is_the_one_that_was_told(
    trained: Command, workplace: Path
) -> None:
    np.savez("test.npz", images=TEST.images, labels=TEST.labels)

    *lines, last = trained("predict", "model/weights.npz", "test.npz").out.splitlines()

    told = read(workplace / "model/weights.npz").about["test_accuracy"]
    assert last.split("\t")[:2] == ["accuracy", f"{float(told):.4f}"]
    assert [line.split("\t")[0] for line in lines] == [str(i) for i in range(297)]


def test_without_labels_there_is_no_accuracy(trained: Command) -> None:
    np.savez("few.npz", images=TEST.images[:3].reshape(-1, 8, 8))

    answer = trained("predict", "model/weights.npz", "few.npz")

    assert [line.split("\t")[0] for line in answer.out.splitlines()] == ["0", "1", "2"]


def test_a_picture_of_another_size_is_resized_with_a_note(trained: Command, picture: str) -> None:
    Image.open(picture).convert("RGB").resize((200, 100)).save("photo.jpg")

    answer = trained("predict", "model/weights.npz", "photo.jpg", picture)

    assert answer.err == "photo.jpg was resized from 200 x 100 to 8 x 8 pixels.\n"
    assert [line.split("\t")[0] for line in answer.out.splitlines()] == ["photo.jpg", picture]


def test_a_prediction_needs_neither_data_nor_database(
    trained: Command, picture: str, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPO_DATA", "/nowhere")

    assert trained("predict", "model/weights.npz", picture).status == 0
    assert not (workplace / "hpo.db").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["model/weights.npz", "nothing.png"], "nothing.png cannot be read as an image: No such f"),
        (["model/weights.npz", "."], ". cannot be read as an image: Is a directory."),
        (
            ["model/weights.npz", "notes.txt"],
            "notes.txt is not an image file that hpo reads.",
        ),
        (["model/weights.npz", "half.png"], "half.png cannot be read as an image: image file is t"),
        (["model/weights.npz", "grey.png"], "grey.png has one value throughout, so it has no cont"),
        (["model/weights.npz", "half.npz"], "half.npz cannot be read as an .npz file"),
        (["model/weights.npz", "wide.npz"], "an image has shape (4, 16); the network takes (8, 8)"),
        (["model/weights.npz", "picture.png", "--top", "11"], "--top must be at most 10, the clas"),
        (["model/weights.npz", "picture.png", "--top", "0"], "Invalid value for '--top'"),
        (["model/weights.npz"], "Missing argument"),
        (["nothing.npz", "picture.png"], "nothing.npz cannot be read: No such file or directory."),
        (["model", "picture.png"], "model cannot be read: Is a directory."),
        (["notes.txt", "picture.png"], "notes.txt is damaged or another kind of file"),
        (["picture.png", "picture.png"], "picture.png is damaged or another kind of file"),
        (["half.npz", "picture.png"], "half.npz is damaged"),
        (["half.safetensors", "picture.png"], "half.safetensors is damaged"),
        (["wide.npz", "picture.png"], "wide.npz holds images, and not our metadata. Expected weig"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(
    arguments: list[str], told: str, trained: Command, picture: str, workplace: Path
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 50), dtype=np.uint8)
    Image.fromarray(noise).save("noise.png")
    Image.new("L", (8, 8), 100).save("grey.png")
    np.savez("wide.npz", images=np.zeros((2, 4, 16)))
    (workplace / "notes.txt").write_text("It was a seven.")
    for name, whole in {
        "half.png": "noise.png",
        "half.npz": "model/weights.npz",
        "half.safetensors": "model/weights.safetensors",
    }.items():
        (workplace / name).write_bytes((workplace / whole).read_bytes()[:1000])

    answer = trained("predict", *arguments)

    assert told in answer.sentence
    assert len(answer.sentence.splitlines()) == 1
    assert answer.out == ""


def test_bad_pictures_are_named_and_the_others_classified(
    trained: Command, picture: str, workplace: Path
) -> None:
    Image.new("L", (8, 8), 100).save("grey.png")
    images = TEST.images[:5].astype(float)
    images[1], images[3, 5] = 3, np.nan  # no contrast, and not finite
    np.savez("few.npz", images=images, labels=TEST.labels[:5])
    (workplace / "half.npz").write_bytes(b"PK")

    answer = trained(
        "predict", "model/weights.npz", "nothing.png", picture, "grey.png", "half.npz", "few.npz"
    )

    assert answer.status == 1
    told = answer.err.splitlines()
    for line, start in zip(
        told, ("nothing.png", "half.npz", "grey.png", "few.npz:1", "few.npz:3"), strict=True
    ):
        assert line.startswith(start)
    names = [line.split("\t")[0] for line in answer.out.splitlines()]
    assert names == [picture, "few.npz:0", "few.npz:2", "few.npz:4", "accuracy"]
    assert answer.out.splitlines()[-1].endswith(" of 3")


def test_many_bad_pictures_are_counted(trained: Command) -> None:
    np.savez("bad.npz", images=np.ones((50, 64)))

    answer = trained("predict", "model/weights.npz", "bad.npz")

    assert "None of the 50 images can be classified." in answer.sentence
    assert len(answer.err.splitlines()) == 22
    assert "30 more images cannot be classified either." in answer.err


def test_a_network_for_colour_takes_grey_pictures_and_names_its_classes(
    command: Command, write_study: Command, write_npz: Command, workplace: Path
) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (200, 5, 6, 3), dtype=np.uint8)
    labels = rng.integers(0, 3, 200)
    data = write_npz(images=images, labels=labels, test_images=images, test_labels=labels)
    study = write_study("last", grid="Values((1e-3,))", batch_size=10, evaluates_test=True)
    command("run", study, "--data", data, "--out", "model")
    Image.fromarray(images[0, ..., 0]).save("grey.png")
    Image.fromarray(images[0]).save("colour.png")

    answer = command("predict", "model/weights.npz", "grey.png", "colour.png", "mine.npz")

    grey, colour, first, *_, last = [line.split("\t") for line in answer.out.splitlines()]
    assert (grey[0], colour[0], first[0]) == ("grey.png", "colour.png", "mine.npz:0")
    assert colour[1:] == first[1:]
    assert last[0] == "accuracy"
    assert last[2].endswith(" of 200")


@pytest.mark.parametrize(
    ("value", "shown"), [(1.0000001, "0 to 1"), (-1e-8, "-1e-08 to 1"), (1.03, "0 to 1.03")]
)
def test_a_value_a_little_beyond_white_changes_no_picture(
    command: Command, write_study: Command, write_npz: Command, value: float, shown: str
) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (200, 5, 6), dtype=np.uint8)
    images, labels = pixels / 255, rng.integers(0, 3, 200)
    images[0, 0, 0], images[1, 0, 0], images[2, 0, 0] = 0, 1, value
    data = write_npz(images=images, labels=labels, test_images=images, test_labels=labels)
    study = write_study(
        "last", "Values((1e-3,))", batch_size=10, evaluates_test=True, normalisation="none"
    )
    command("run", study, "--data", data, "--out", "model")
    Image.fromarray(pixels[7]).save("it.png")

    answer = command("predict", "model/weights.npz", "it.png", "mine.npz")

    assert (
        "White is taken to be 1 in the training images, which have the values " + shown
        in answer.err
    )
    lines = [line.split("\t") for line in answer.out.splitlines()]
    assert lines[0][1:] == lines[8][1:]
    card = Path("model/model-card.md").read_text()
    assert f"Values: {shown};" in " ".join(card.split())
    assert "is taken to be 1." in " ".join(card.split())


def test_the_installed_script_predicts(trained: Command, picture: str, process: Command) -> None:
    answer = process("predict", "model/weights.safetensors", picture)

    assert (answer.status, answer.err) == (0, "")
    assert answer.out.count("\t") == 2
