"""What the operating system refuses is told as what it is, with advice that fits it."""

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpo.data import sources
from hpo.errors import ADVICE, OutputError, SystemFault
from hpo.machine import files as output


def fault(number: int, *files: Any) -> OSError:
    return OSError(number, os.strerror(number), *files)


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "Free some space"),
        (errno.EDQUOT, "Free some of your share"),
        (errno.EACCES, "Ask for permission"),
        (errno.EPERM, "Ask for permission"),
        (errno.EROFS, "Nothing can be written there"),
        (errno.ENOENT, "Check the path"),
        (errno.ENOTDIR, "a file stands where a folder should be"),
        (errno.EISDIR, "a folder stands where a file should be"),
        (errno.EMFILE, "ulimit -n"),
        (errno.EIO, "Check the disk"),
        (errno.ENAMETOOLONG, "Choose a shorter name"),
        (errno.ELOOP, "lead in a circle"),
    ],
)
def test_the_advice_is_for_the_error_that_came(number: int, advice: str) -> None:
    for error in (OutputError(Path("a/b"), fault(number)), SystemFault(fault(number, "a/b"))):
        assert advice in str(error)
        assert f"a/b: {os.strerror(number)}. " in str(error)
        assert ("space" in str(error).replace(os.strerror(number), "")) == (number == errno.ENOSPC)


def test_an_error_without_advice_is_told_alone() -> None:
    assert str(OutputError(Path("a"), fault(errno.EXDEV))) == (
        f"Cannot write a: {os.strerror(errno.EXDEV)}."
    )
    assert str(OutputError(Path("a"), OSError("odd"))) == "Cannot write a: odd."
    assert str(SystemFault(OSError())) == "The operating system reports: OSError."
    assert all(advice.endswith(".") for advice in ADVICE.values())


def test_files_are_named_as_far_as_they_are_known() -> None:
    between = OSError(errno.EACCES, "Permission denied", "a", None, "b")
    assert str(SystemFault(between)).startswith("Cannot use a or b: Permission denied. Ask for")
    assert str(SystemFault(fault(errno.EROFS, b"raw"))).startswith("Cannot write raw: ")
    assert str(SystemFault(fault(errno.EMFILE, 3))).startswith("The operating system reports: ")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EAGAIN, errno.EIO, errno.ENOSPC])
def test_a_command_that_meets_one_ends_with_its_sentence(
    command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise fault(number, "some/file")

    monkeypatch.setattr(sources, "resolve", fails)

    told = command("run", "coarse", "--data", "digits", "--dry-run").sentence

    assert re.search(rf"some/file: {re.escape(os.strerror(number))}\. {ADVICE[number][:9]}", told)


def test_a_folder_with_too_long_a_name_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"File name too long\. Choose a shorter name\."):
        output.write(tmp_path / ("x" * 300), {"one": b""})


def test_links_in_a_circle_are_told_so(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")

    with pytest.raises(OutputError, match="Check the path|lead in a circle"):
        output.check_folder(tmp_path / "a" / "c")
