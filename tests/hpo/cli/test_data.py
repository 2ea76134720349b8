"""``hpo data info``, ``hpo data verify`` and ``hpo data shuffle``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.data import digits, digits_test

Command = Callable[..., Any]

#: Of the official images in either format, training and test; a changed one orphans stored studies.
FINGERPRINTS = [
    "ea141b92f47247287ddb0aaaa9bf389396ec8abcbdf60f70db99c2c9fa8c9f10",
    "38e5ecb19a1932da88faef65a32e26a39bf9768d8c9d7a1cd8bcf0f429803ff0",
]


def test_info_says_what_the_images_are(command: Command) -> None:
    answer = command("data", "info", "digits")

    assert (answer.status, answer.err) == (0, "")
    assert answer.out.splitlines()[:3] == [
        "name:         digits",
        "from:         digits",
        "images:       1,500 of 8 x 8, uint8",
    ]
    counts = answer.out.splitlines()[3].removeprefix("classes:      10, images in each: ")
    assert sum(int(n) for n in counts.split(", ")) == 1500
    assert f"fingerprint:  {digits().fingerprint}" in answer.out


def test_verify_hashes_the_test_images_too(command: Command) -> None:
    assert command("data", "verify", "digits").out.splitlines() == [
        "digits: 1,500 training images are sound",
        f"training fingerprint: {digits().fingerprint}",
        "297 test images are sound",
        f"test fingerprint:     {digits_test().fingerprint}",
    ]


def test_an_npz_is_shown_with_its_place(
    command: Command, write_npz: Command, workplace: Path
) -> None:
    answer = command("data", "info", write_npz("faces"))

    assert answer.out.splitlines()[:3] == [
        "name:         faces",
        f"from:         npz:{workplace}/faces.npz",
        "images:       200 of 4 x 4, uint8",
    ]


def test_an_npz_without_test_images_says_so(command: Command, write_npz: Command) -> None:
    answer = command("data", "verify", write_npz())

    assert answer.status == 0
    assert answer.out.endswith("There are no test images.\n")


def test_wrong_test_images_are_found(command: Command, write_npz: Command) -> None:
    import numpy as np

    data = write_npz(test_images=np.zeros((5, 3), np.uint8), test_labels=np.arange(5) % 3)

    told = command("data", "verify", data).sentence

    assert "a test image has shape (3,), a training image (4, 4); they must agree" in told


def test_flat_rows_are_counted_in_values(command: Command, write_npz: Command) -> None:
    import numpy as np

    data = write_npz(images=np.arange(1400, dtype=np.uint8).reshape(200, 7))

    assert "images:       200 of 7 values, uint8" in command("data", "info", data).out


@pytest.mark.parametrize("spec", [".", "nothing.npz"])
def test_what_is_no_data_is_a_sentence(spec: str, command: Command) -> None:
    assert "Expected cifar10, digits, auto" in command("data", "info", spec).sentence


def test_the_official_files_are_sound(cifar10_folder: Path, command: Command) -> None:
    answer = command("data", "verify", cifar10_folder)

    lines = answer.out.splitlines()
    assert lines[0].endswith(": 50,000 training images are sound")
    assert lines[2] == "10,000 test images are sound"
    assert [line.split()[-1] for line in (lines[1], lines[3])] == FINGERPRINTS


def test_a_sorted_file_is_refused_until_it_is_shuffled(
    command: Command, write_npz: Command, write_study: Command, workplace: Path
) -> None:
    labels = np.sort(np.arange(400) % 3)
    labels[:40:3] = 1  # so that not all are of one class
    images = np.random.default_rng(0).integers(0, 256, (400, 4, 4), dtype=np.uint8)
    images[:, 0, 0] = labels  # to be found again
    data = write_npz(
        "sorted", images=images, labels=labels, test_images=images[:9], test_labels=labels[:9]
    )
    study = write_study()

    refused = command("run", study, "--data", data).sentence
    assert "Class 2 of sorted has 133 training images and none among the first 40" in refused
    assert "`hpo data shuffle FILE NEW_FILE`" in refused
    assert not (workplace / "hpo.db").exists()
    assert "Class 2 of sorted" in command("train", "--data", data, "--cycles", "1").sentence
    info = command("data", "info", data)
    assert info.status == 0
    assert "validation:   no study can be made. Class 2 of sorted" in info.out

    assert command("data", "shuffle", data, "mixed.npz").status == 0
    with np.load(workplace / "mixed.npz") as mixed:
        assert np.array_equal(mixed["images"][:, 0, 0], mixed["labels"])
        assert sorted(mixed["labels"].tolist()) == sorted(labels.tolist())
        assert np.array_equal(mixed["test_images"], images[:9])
    done = command("run", study, "--data", "mixed.npz")
    assert done.status == 0
    assert done.err.count("mixed has only 40 validation images: one is 2.5 points of accuracy") == 1
    again = command("run", study, "--data", "mixed.npz")
    assert "validation images: one is" not in again.err
    info = command("data", "info", "mixed.npz")
    assert "validation:   the first 40, which show every class" in info.out
    assert "values:       0 to 255; white is 255, a guess from these values" in info.out


def test_a_stored_study_on_a_sorted_file_goes_on(
    command: Command,
    write_npz: Command,
    write_study: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    labels = np.sort(np.arange(200) % 3)
    labels[:20:3] = 1
    data, study = write_npz("sorted", labels=labels), write_study()
    with monkeypatch.context() as patch:  # as an older hpo did
        patch.setattr("hpo.data.parts.check", lambda *_: None)
        assert command("run", study, "--data", data).status == 0
    before = command("export", "tiny-sorted").out

    assert command("run", study, "--data", data).status == 0
    assert command("export", "tiny-sorted").out == before
    assert command("run", study, "--data", data, "--replicates", "2").status == 0
    assert command("run", study, "--data", data, "--name", "new").status == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["mine.npz", "mine.npz"], "Cannot write mine.npz: it exists already"),
        (["mine.npz", "link.npz"], "Cannot write link.npz: it exists already"),
        (["mine.npz", "mixed.zip"], "must end with .npz"),
        (["mine.npz", "no/such\0folder.npz".replace("\0", "/mine.npz/")], "Cannot write"),
        (["nothing.npz", "mixed.npz"], "No such file: nothing.npz"),
        (["mine.npz", "mixed.npz", "--seed", "-1"], "--seed"),
    ],
)
def test_what_cannot_be_shuffled_is_a_sentence(
    command: Command, write_npz: Command, workplace: Path, arguments: list[str], told: str
) -> None:
    write_npz()
    (workplace / "link.npz").symlink_to("nowhere")
    (workplace / "no").write_text("in the way")
    before = (workplace / "mine.npz").read_bytes()
    assert told in command("data", "shuffle", *arguments).sentence
    assert (workplace / "mine.npz").read_bytes() == before
