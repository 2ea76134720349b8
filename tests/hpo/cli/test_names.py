"""Studies on files with any name: what the name is made of can be typed, and is told."""

import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.definition.study import check_name
from model.npz import LONGEST_NAME, npz_name

LONG = "long-" * 40


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("my data (1).npz", "my-data-1"),
        ("données.npz", "données"),  # letters are letters
        (unicodedata.normalize("NFD", "données") + ".npz", "données"),  # as some systems store it
        ("a.b.c.npz", "a-b-c"),
        ("réseau de neurones!.NPZ", "réseau-de-neurones"),
        ("--.npz", "data"),
        ("(.npz", "data"),
        ("\x1b[31mred\n.npz", "31mred"),
        ("😀.npz", "data"),
        ("plain_1-2.npz", "plain_1-2"),
        ("cifar10 .npz", "cifar10-npz"),
    ],
)
def test_the_name_is_what_can_be_typed_of_the_file(file: str, name: str) -> None:
    assert npz_name(Path(file)) == name


@pytest.mark.parametrize(
    ("file", "name"), [("my data (1).npz", "my-data-1"), ("plain.npz", "plain"), ("😀.npz", "data")]
)
def test_a_study_is_named_for_it_and_that_is_told(
    command: Callable[..., Any], write_study: Any, write_npz: Any, file: str, name: str
) -> None:
    Path(write_npz("mine")).rename(file)

    answer = command("run", write_study(), "--data", file, "--dry-run")

    assert answer.out.startswith(f"tiny-{name}: 3 cells")
    if Path(file).stem != name:
        assert f"are named for {name!r}." in answer.err
    else:
        assert "named for" not in answer.err


def test_a_file_that_is_called_by_its_ending_alone_has_images_too(
    command: Callable[..., Any], write_study: Any, write_npz: Any
) -> None:
    Path(write_npz("mine")).rename(".npz")
    study = write_study()

    assert command("run", study, "--data", ".npz").status == 0
    assert command("run", study, "--data", ".npz").status == 0
    assert command("list").out.startswith("tiny-data: 3 cells")


def test_very_long_names_are_cut_and_stay_apart(tmp_path: Path) -> None:
    names = {npz_name(tmp_path / f"{LONG}{n}.npz") for n in range(9)}

    assert len(names) == 9
    assert {len(name) for name in names} == {LONGEST_NAME}


@given(st.text(st.characters(exclude_characters="/\0"), max_size=120))
def test_every_file_name_makes_a_name_for_a_study(stem: str) -> None:
    name = npz_name(Path(f"{stem}.npz"))

    check_name(f"tiny-{name}")
    assert name.isprintable()
    assert npz_name(Path(f"{name}.npz")) == name
