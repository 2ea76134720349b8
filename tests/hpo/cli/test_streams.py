"""Closed, full and abandoned output ends no command: its work is done, and the status says the rest."""

import os
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")

SCRIPT = Path(sys.executable).with_name("hpo")
NO_WORDS = "hpo: Standard output cannot be written ({}). The work is done and what belongs into the"
RUN = ("run", "tiny.py", "--data", "digits")
#: Commands that look, with what they need; each writes something to standard output.
LOOKING = [
    ("status",),
    ("list",),
    ("best", "tiny-digits"),
    ("export", "tiny-digits"),
    ("export", "tiny-digits", "--format", "csv"),
    ("doctor",),
    ("worker", "--data", "digits"),
    ("retry", "tiny-digits"),
    ("submit", "tiny.py", "--data", "digits"),
    ("run", "tiny.py", "--data", "digits"),  # all is done, and told again
    ("run", "tiny.py", "--data", "digits", "--dry-run"),
    ("train", "--data", "digits", "--cycles", "1", "--n-s", "5", "--n-validation", "300"),
    ("check-gradients", "--data", "digits"),
    ("data", "info", "digits"),
    ("data", "verify", "digits"),
    ("best", "--help"),
]
#: Where the output goes, the status of a command that did its work, and what is told of the loss.
LOSSES = [
    (">&-", 1, NO_WORDS.format("it is closed")),
    ("> /dev/full", 1, NO_WORDS.format("No space left on device")),
    ("1< /dev/null", 1, NO_WORDS.format("Bad file descriptor")),  # opened for reading
    ("2>&-", 0, ""),
    ("2> /dev/full", 0, ""),
    ("<&-", 0, ""),
    (">&- 2>&-", 1, ""),
    ("> /dev/full 2> /dev/full", 1, ""),
    ("<&- >&- 2>&-", 1, ""),
]


def shell(
    folder: Path, arguments: tuple[str, ...], redirection: str
) -> "subprocess.CompletedProcess[str]":
    line = f"{shlex.join([str(SCRIPT), *arguments])} {redirection}"
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, capture_output=True, text=True, timeout=120
    )


def results(folder: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / "hpo.db")) as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        return connection.execute("select value from hpo_results order by cell").fetchall()


@pytest.fixture
def done(command: Callable[..., Any], write_study: Callable[..., str], workplace: Path) -> Path:
    """A folder with a study that has been run."""
    write_study()
    assert command(*RUN).status == 0
    return workplace


@pytest.mark.parametrize(("redirection", "status", "told"), LOSSES)
def test_a_lost_output_is_told_by_the_status(
    workplace: Path, redirection: str, status: int, told: str
) -> None:
    answer = shell(workplace, ("data", "--help"), redirection)

    assert answer.returncode == status, answer.stderr
    assert answer.stderr.startswith(told)
    assert answer.stderr.count("\n") == bool(told)
    assert ("Look at the images" in answer.stdout) == (status == 0)


@pytest.mark.parametrize(
    ("redirection", "status"),
    [
        ("> /dev/full", 1),
        (">&- 2>&-", 1),
        pytest.param("2>&-", 0, marks=pytest.mark.long),
        pytest.param(
            "2>&1 | head -1 > /dev/null; exit ${PIPESTATUS[0]}", 141, marks=pytest.mark.long
        ),
    ],
)
def test_a_run_comes_to_its_end_whoever_listens(done: Path, redirection: str, status: int) -> None:
    before = results(done)
    (done / "hpo.db").unlink()

    answer = shell(done, (*RUN, "--workers", "1"), redirection)

    assert answer.returncode == status, answer.stderr
    assert "Traceback" not in answer.stderr
    assert results(done) == before
    assert answer.stdout.startswith("tiny-digits: 3 of 3 done") == (redirection == "2>&-")


def test_the_story_is_not_told_on_standard_output_when_standard_error_is_closed(
    done: Path,
) -> None:
    answer = shell(done, ("best", "nothing"), "2>&-")

    assert (answer.returncode, answer.stdout, answer.stderr) == (1, "", "")


def test_a_reader_that_has_seen_enough_is_told_by_the_status_alone(done: Path) -> None:
    line = ("export", "tiny-digits"), "| true; exit ${PIPESTATUS[0]}"

    assert shell(done, *line).stderr == ""
    # `true` may be gone before or after the one write that there is
    assert shell(done, *line).returncode in (0, 141)

    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [SCRIPT, "export", "tiny-digits"], cwd=done, stdout=writing, stderr=subprocess.PIPE
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, b"")


def test_a_question_that_nobody_can_answer_deletes_nothing(done: Path) -> None:
    answer = shell(done, ("delete", "tiny-digits"), "<&-")

    assert answer.returncode == 1
    assert "Aborted; nothing was changed." in answer.stderr
    assert "Traceback" not in answer.stderr
    assert len(results(done)) == 3


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_character_that_the_terminal_lacks_is_written_as_a_code(
    workplace: Path, encoding: str
) -> None:
    (workplace / "日本.npz").touch()
    answer = subprocess.run(
        [SCRIPT, "data", "info", "日本.npz"],
        cwd=workplace,
        env=os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "1"},
        capture_output=True,
    )

    assert answer.returncode == 1
    assert b"\\u65e5\\u672c.npz" in answer.stderr


def test_output_that_is_not_taken_at_once_is_waited_for(done: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with subprocess.Popen(
        [SCRIPT, "export", "tiny-digits", "--format", "csv"], cwd=done, stdout=writing
    ) as process:
        os.close(writing)
        with os.fdopen(reading, "rb") as file:
            text = file.read()
    assert process.returncode == 0
    assert text.count(b"\n") == 1 + 3 * 40


@pytest.mark.long
@pytest.mark.parametrize("arguments", LOOKING, ids=" ".join)
def test_no_command_minds_where_its_output_goes(done: Path, arguments: tuple[str, ...]) -> None:
    whole = shell(done, arguments, "")
    assert whole.returncode == 0, whole.stderr
    before = results(done)

    for redirection, status, told in LOSSES:
        answer = shell(done, arguments, redirection)

        assert answer.returncode == status, (redirection, answer.stderr)
        assert told in answer.stderr
        assert "Traceback" not in answer.stderr
        if status == 0 and arguments[0] != "doctor":
            assert answer.stdout == whole.stdout
    assert results(done) == before
