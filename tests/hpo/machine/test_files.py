"""Files for the user: all of them whole, or none, and one sentence when it cannot be."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from hpo.errors import OutputError
from hpo.machine import files


def test_files_are_written_into_a_folder_that_is_made(tmp_path: Path) -> None:
    written = files.write(tmp_path / "a/b", {"one": b"1", "two": b"22"})

    assert [path.read_bytes() for path in written] == [b"1", b"22"]
    assert sorted(p.name for p in (tmp_path / "a/b").iterdir()) == ["one", "two"]


def test_what_stood_there_is_replaced(tmp_path: Path) -> None:
    for content in (b"before", b"after"):
        files.write(tmp_path, {"one": content})

    assert (tmp_path / "one").read_bytes() == b"after"


def test_no_file_changes_when_the_last_one_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write(tmp_path, {"one": b"before", "two": b"before"})
    synced = []

    def fails(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)

    with pytest.raises(OutputError, match=r"Cannot write .*two: No space left on device\. Free"):
        files.write(tmp_path, {"one": b"after", "two": b"after"})
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {
        "one": b"before",
        "two": b"before",
    }


def test_a_folder_that_was_made_in_vain_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)

    with pytest.raises(OutputError):
        files.write(tmp_path / "new", {"one": b""})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_a_full_disk_is_a_sentence(mounted: Callable[[str], Path]) -> None:
    folder = mounted("size=64k")

    with pytest.raises(OutputError, match="No space left on device"):
        files.write(folder / "new", {"small": b"1", "large": b"1" * 200_000})
    assert list(folder.iterdir()) == []


@pytest.mark.long
def test_a_read_only_folder_is_refused_before_the_work(mounted: Callable[[str], Path]) -> None:
    folder = mounted("size=64k,ro")

    with pytest.raises(OutputError, match="Cannot write"):
        files.check_folder(folder / "new")


@pytest.mark.parametrize("name", ["file", "file/in/it"])
def test_a_file_in_the_way_is_refused_before_the_work(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError, match=r"Cannot write .*file is not a folder"):
        files.check_folder(tmp_path / name)


def test_a_folder_that_can_be_made_is_not_made_yet(tmp_path: Path) -> None:
    files.check_folder(tmp_path / "a/b")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["../x", "/etc/x", "", ".", "..", "-rf", "a/b", "a\nb", "<script>", "n" * 10_000, "é"]
)
def test_hostile_names_become_names_of_one_folder_here(name: str, tmp_path: Path) -> None:
    safe = files.safe_name(name)

    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}", safe)
    (tmp_path / f"{safe}-plots").mkdir()
    assert files.safe_name(name + "?") != safe
    assert files.safe_name("coarse-digits") == "coarse-digits"
