"""``hpo train`` and ``hpo check-gradients``: one network, with settings as they are typed."""

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]
SCRIPT = Path(sys.executable).with_name("hpo")
SHORT = ("train", "--data", "digits", "--n-s", "20", "--cycles", "1")


def test_the_last_values_are_printed(command: Command, workplace: Path) -> None:
    answer = command(*SHORT)

    assert answer.status == 0
    assert re.fullmatch(
        r"training   cost \d\.\d{4}  loss \d\.\d{4}  accuracy 0\.\d{4}\n"
        r"validation cost \d\.\d{4}  loss \d\.\d{4}  accuracy 0\.\d{4}\n"
        r"after 40 of 40 updates\n",
        answer.out,
    )
    assert answer.err == "1200 training images, 300 validation images\n"
    assert list(workplace.iterdir()) == []  # a training is no study


def test_the_notebooks_overfitting_check(command: Command) -> None:
    answer = command(
        *("train", "--data", "digits", "--schedule", "static", "--eta", "0.05", "--epochs", "200"),
        *("--batch-size", "10", "--train-images", "0:20", "--validation-images", "100:150"),
        *("--train-metrics", "full", "--dtype", "float64"),
    )

    assert "20 training images, 50 validation images" in answer.err
    assert re.search(r"^training .* accuracy 1\.0000$", answer.out, re.MULTILINE)
    assert answer.out.endswith("after 400 of 400 updates\n")


def test_validation_images_that_are_trained_on_are_told(command: Command) -> None:
    answer = command(
        *(
            "train",
            "--data",
            "digits",
            "--batch-size",
            "10",
            "--epochs",
            "1",
            "--schedule",
            "static",
        ),
        *("--eta", "0.05", "--train-images", "0:100", "--validation-images", "60:110"),
    )

    assert answer.err == (
        "Trained on: 40 of the 50 validation images. What comes of these says nothing about others.\n"
        "100 training images, 50 validation images\n"
    )


@pytest.mark.long
def test_one_cycle_and_three_as_in_the_notebook(cifar10_folder: Path, command: Command) -> None:
    answer = command(
        *("train", "--data", cifar10_folder, "--lambda", "0.01", "--n-s", "50", "--cycles", "1"),
        *("--train-batches", "1", "--validation-batch", "2", "--protocol", "notebook"),
    )

    assert "10000 training images, 10000 validation images" in answer.err
    assert answer.out.endswith("after 100 of 100 updates\n")


@pytest.mark.parametrize(
    "options",
    [
        ["--loss", "binary-cross-entropy"],
        ["--normalisation", "feature"],
        ["--normalisation", "none", "--eta-max", "0.001"],
        ["--flip", "0.5"],
        ["--train-metrics", "full"],
        ["--hidden", "10"],
        ["--seed", "7"],
        ["--protocol", "notebook"],
        ["--batch-size", "1200"],  # the whole training set
        ["--lambda", "4.9"],  # just below where the weights would change their sign
    ],
)
def test_every_option_has_an_effect(options: list[str], command: Command) -> None:
    plain, changed = command(*SHORT), command(*SHORT, *options)

    assert changed.status == 0
    assert changed.out != plain.out
    assert command(*SHORT, *options).out == changed.out


def test_an_earlier_run_changes_the_order(command: Command) -> None:
    notebook = (*SHORT, "--protocol", "notebook")

    assert command(*notebook).out != command(*notebook, "--after-epochs", "10").out


def test_the_length_defaults_to_two_cycles(command: Command) -> None:
    answer = command("train", "--data", "digits", "--n-s", "10")

    assert answer.out.endswith("after 40 of 40 updates\n")


def test_the_length_may_be_given_in_epochs(command: Command) -> None:
    answer = command("train", "--data", "digits", "--n-s", "10", "--epochs", "3")

    assert answer.out.endswith("after 36 of 36 updates\n")


def test_pictures_are_written_where_they_are_asked_for(command: Command, workplace: Path) -> None:
    answer = command(*SHORT, "--plots", "some/folder")

    names = ["curves.png", "learning-rate.png", "rate-range.png", "first-layer.png"]
    assert answer.err.splitlines()[1:] == [f"Wrote some/folder/{name}" for name in names]
    assert {path.name for path in (workplace / "some/folder").iterdir()} == set(names)


def test_pictures_that_cannot_be_written_are_refused_before_anything_is_trained(
    command: Command, workplace: Path
) -> None:
    (workplace / "file").write_text("")

    answer = command(*SHORT, "--plots", "file")

    assert answer.out == ""
    assert answer.err == (
        f"hpo: Cannot write file: {workplace}/file is not a folder. "
        "Check the path: a file stands where a folder should be.\n"
    )
    assert answer.status == 1


def test_pictures_need_a_folder_with_a_name(command: Command, workplace: Path) -> None:
    told = command(*SHORT, "--plots", "").sentence

    assert "Invalid value for '--plots': a folder has a name, got ''" in told
    assert list(workplace.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--lambda", "nan", "lambda must be 0 or more, got nan."),
        ("--n-s", "0", "n_s must be at least 1 update, got 0."),
        ("--flip", "nan", "The flip probability must be 0 to 1, got nan."),
        ("--train-batches", "a", "--train-batches must be like 1 or 1,2,3; got 'a'."),
        ("--train-images", "0:20", "name the images to validate on too"),
    ],
)
def test_settings_are_refused_before_images_are_read(
    option: str, value: str, sentence: str, command: Command
) -> None:
    told = command("train", "--data", "missing.npz", option, value).sentence

    assert sentence in told
    assert "missing.npz" not in told


def test_a_training_that_diverges_says_so(command: Command) -> None:
    answer = command(*SHORT, "--eta-max", "1e12")

    assert answer.status == 0
    assert "nan" in answer.out
    assert answer.out.endswith("Lower the rate or lambda.\n")
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--lambda", "-1"], "lambda must be 0 or more, got -1.0."),
        (["--lambda", "nan"], "lambda must be 0 or more, got nan."),
        (
            ["--lambda", "6"],
            "multiplies the weights by -0.2 an update; the factor 1 - 2 eta lambda",
        ),
        (["--lambda", "x"], "Invalid value for '--lambda'"),
        (["--n-s", "0"], "n_s must be at least 1 update, got 0."),
        (["--cycles", "0"], "0"),
        (["--cycles", "1000000000"], "cycles must be at most 10,000, got 1000000000."),
        (["--epochs", "20000"], "epochs must be at most 10,000, got 20000."),
        (["--n-s", "1" + "0" * 30], "n_s must be at most 10,000,000, got 1"),
        (["--n-s", "10000000", "--cycles", "100"], "2,000,000,000 updates; at most 1,000,000,000"),
        (["--hidden", "100000000000"], "hidden must be at most 100,000, got 100000000000."),
        (["--batch-size", "1" + "0" * 20], "batch_size must be at most 1,000,000, got 1"),
        (["--lambda", "inf"], "lambda must be 0 or more, got inf."),
        (["--flip", "nan"], "The flip probability must be 0 to 1, got nan."),
        (["--eta-max", "inf"], "The learning rates must satisfy 0 <= eta_min <= eta_max"),
        (["--seed", "4294967296"], "The seed must be 0 to 4294967295, got 4294967296."),
        (
            ["--protocol", "notebook", "--after-epochs", "1000000000"],
            "The earlier runs have at most 10,000 epochs together, got more.",
        ),
        (["--cycles", "-1"], "The training needs at least 1 update, got "),
        (["--cycles", "1", "--epochs", "1"], "Give the length of the training as cycles or as epo"),
        (["--batch-size", "5000"], "The batch size must be 1 to 1200, the number of training imag"),
        (["--batch-size", "0"], "The batch size must be 1 to 1200, the number of training images"),
        (["--hidden", "0"], "The hidden layer needs at least 1 unit, got 0."),
        (["--loss", "odd"], "loss must be cross-entropy or binary-cross-entropy, got 'odd'."),
        (["--normalisation", "odd"], "normalisation must be image or feature or none, got 'odd'."),
        (["--schedule", "odd"], "schedule must be cyclic or static, got 'odd'."),
        (["--schedule", "static"], "A static learning rate has no cycles; give the length in epo"),
        (["--dtype", "float16"], "dtype must be float32 or float64, got 'float16'."),
        (["--protocol", "odd"], "protocol must be standard or notebook, got 'odd'."),
        (["--train-metrics", "odd"], "train-metrics must be running or full, got 'odd'."),
        (["--eta-max", "-1"], "The learning rates must satisfy 0 <= eta_min <= eta_max"),
        (["--eta-min", "nan"], "The learning rates must satisfy 0 <= eta_min <= eta_max"),
        (["--flip", "3"], "The flip probability must be 0 to 1, got 3.0."),
        (["--flip", "0.5", "--protocol", "notebook"], "The notebook protocol has no flips"),
        (["--seed", "-1"], "seed"),
        (["--protocol", "notebook", "--after-epochs", "-3"], "-3"),
        (["--train-batches", "1"], "digits has no batches, only CIFAR-10 has. Use --data cifar10."),
        (["--train-batches", "a"], "--train-batches must be like 1 or 1,2,3; got 'a'."),
        (["--train-images", "0:20"], "name the images to validate on too, with --validation-imag"),
        (
            ["--train-images", "5:2", "--validation-images", "0:5"],
            "digits has images 0 to 1499; the part 5:2 is not in it.",
        ),
        (["--train-images", "a:b", "--validation-images", "0:5"], "a part of the images is like 0"),
    ],
)
def test_settings_that_cannot_be_trained(
    options: list[str], sentence: str, command: Command, workplace: Path
) -> None:
    told = command(*SHORT, *options).sentence

    assert sentence in told
    assert list(workplace.iterdir()) == []


def test_no_epochs_are_no_length(command: Command) -> None:
    told = command("train", "--data", "digits", "--epochs", "0").sentence

    assert "not both" not in told  # only one was given


@pytest.mark.parametrize(("batches", "n"), [("6", "[6]"), ("0", "[0]")])
def test_the_test_batch_cannot_be_trained_on(
    batches: str, n: str, cifar10_folder: Path, command: Command
) -> None:
    told = command("train", "--data", cifar10_folder, "--train-batches", batches).sentence

    assert told == (f"hpo: CIFAR-10 has the training batches 1 to 5, got {n}. Name some of them.")


def test_a_constant_image_is_a_sentence(command: Command, write_npz: Command) -> None:
    import numpy as np

    images = np.full((200, 4, 4), 7, np.uint8)

    told = command("train", "--data", write_npz(images=images), "--batch-size", "10").sentence

    assert "has one value throughout" in told


def test_a_training_is_interrupted_within_a_moment(workplace: Path) -> None:
    process = subprocess.Popen(
        [SCRIPT, "train", "--data", "digits", "--n-s", "10000000"],
        cwd=workplace,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert "training images" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)

    assert process.returncode == 130
    assert err.endswith("Interrupted before the end.\n")


@pytest.mark.parametrize("loss", ["cross-entropy", "binary-cross-entropy"])
def test_the_gradients_are_right(loss: str, command: Command) -> None:
    options = ("--images", "5", "--hidden", "6", "--loss", loss)
    answer = command("check-gradients", "--data", "digits", *options)

    assert answer.status == 0
    lines = answer.out.splitlines()
    assert [line.split(":")[0] for line in lines[:4]] == [
        f"relative error of {name}" for name in ("w1", "b1", "w2", "b2")
    ]
    assert lines[4] == "The gradients are right."


@pytest.mark.parametrize("option", ["--seed", "--hidden"])
def test_settings_of_the_gradient_check_have_limits(option: str, command: Command) -> None:
    told = command("check-gradients", "--data", "digits", option, "-1").sentence

    assert f"Invalid value for '{option}'" in told
