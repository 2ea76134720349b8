"""A call of every command to the system or to the database fails, at every place that makes one.

Each command is a forked process in which one call raises. It ends well or in a sentence, never in
a traceback, and what it leaves the next run finishes with the same export.
"""

import builtins
import errno
import importlib
import io
import itertools
import json
import os
import pkgutil
import shutil
import signal
import sqlite3
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DatabaseError, InterfaceError, OperationalError

import hpo.cli
import model
import studies

ROOT = Path(hpo.cli.__file__).parents[2]
OURS = (str(ROOT / "hpo"), str(ROOT / "model"), str(ROOT / "studies"))
#: What the packages import where they use it.
LATE = ("alembic.command", "matplotlib.figure", "optuna.storages", "safetensors.numpy")
LATE += ("scipy.linalg.blas", "sqlalchemy.dialects.sqlite", "threadpoolctl", "typer.rich_utils")
#: From one place after which the next run is looked at, too, to the next; at 1 with every kind of fault.
EVERY = int(os.environ.get("HPO_EVERY", "5"))
ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EMFILE)
CALLS = (
    "open",
    "mkdir",
    "replace",
    "rename",
    "unlink",
    "remove",
    "rmdir",
    "stat",
    "lstat",
    "listdir",
)
CALLS += ("scandir", "fsync", "access", "readlink", "chmod", "ftruncate", "utime", "getcwd")
OF_DATABASE: tuple[tuple[Any, Exception], ...] = (
    (OperationalError, sqlite3.OperationalError("disk I/O error")),
    (InterfaceError, sqlite3.InterfaceError("bad parameter or other API misuse")),
    (DatabaseError, sqlite3.DatabaseError("database disk image is malformed")),
    (OperationalError, sqlite3.OperationalError("something that no hpo has heard of")),
)
RUN = ("run", "tiny.py", "--data", "digits")
#: What is run, in which of the folders that `folders` makes.
COMMANDS: list[tuple[str, Sequence[str]]] = [
    ("new", RUN),
    ("new", ("submit", "tiny.py", "--data", "digits")),
    ("new", (*RUN, "--dry-run")),
    ("new", ("data", "info", "digits")),
    ("new", ("data", "verify", "digits")),
    (
        "new",
        ("train", "--data", "digits", "--n-s", "10", "--n-validation", "300", "--plots", "plots"),
    ),
    ("new", ("check-gradients", "--data", "digits", "--hidden", "3", "--images", "5")),
    ("submitted", ("worker", "--data", "digits")),
    ("submitted", ("retry", "tiny-digits")),
    ("done", (*RUN, "--again")),
    ("done", ("doctor",)),
    ("damaged", ("doctor", "--repair")),
    ("done", ("best", "tiny-digits")),
    ("done", ("copy", "tiny-digits", "--to", "sqlite:///copy.db")),
    ("done", ("backup", "backup.db")),
    ("submitted", ("cancel", "tiny-digits")),
    ("submitted", ("queue",)),
    ("done", ("status",)),
    ("done", ("list",)),
    ("done", ("export", "tiny-digits")),
    ("done", ("export", "tiny-digits", "--format", "csv")),
    ("done", ("plot", "tiny-digits", "--out", "plots")),
    ("done", ("delete", "tiny-digits", "--yes")),
    ("done", ("predict", "tiny-digits-model/weights.npz", "image.npz")),
]


class Failing:
    """Counts calls, and lets the n-th fail: of all, or of those that are made at one place."""

    def __init__(self, n: int, place: str = "", kind: int = 0) -> None:
        self.n_left = n
        self.kind = kind
        self.place = place
        self.places: dict[str, None] = {}  #: where calls were made, in order

    def is_it(self, what: str) -> bool:
        here = place_of(what)
        self.places[here] = None
        if self.place in ("", here):
            self.n_left -= 1
        return self.n_left == 0 and self.place in ("", here)


def place_of(what: str) -> str:
    """Return which two of our lines make a call, the inner one first, and which call."""
    frame, lines = sys._getframe(2), list[str]()
    while frame is not None and len(lines) < 2:
        if frame.f_code.co_filename.startswith(OURS):
            lines.append(f"{Path(frame.f_code.co_filename).relative_to(ROOT)}:{frame.f_lineno}")
        frame = frame.f_back  # type: ignore[assignment]
    return f"{what} at {' from '.join(lines)}"


class System(Failing):
    """A call to the operating system fails, as on a full or broken disk or without rights."""

    def __init__(self, n: int, place: str = "", kind: int = 0) -> None:
        super().__init__(n, place, kind)
        for name in CALLS:
            setattr(os, name, self.wrapped(getattr(os, name), name))
        builtins.open = io.open = self.wrapped(open, "open")

    def wrapped(self, real: Callable[..., Any], name: str) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            if self.is_it(name):
                number = ERRORS[self.kind % len(ERRORS)]
                raise OSError(number, os.strerror(number))
            return real(*arguments, **named)

        return call


class Database(Failing):
    """A statement, a commit or a beginning fails, in ways that are known and others."""

    def __init__(self, n: int, place: str = "", kind: int = 0) -> None:
        super().__init__(n, place, kind)
        event.listen(Engine, "before_cursor_execute", self.at_statement)
        event.listen(Engine, "commit", lambda _: self.fail("COMMIT"))
        event.listen(Engine, "begin", lambda _: self.fail("BEGIN"))

    def at_statement(self, _: Connection, __: Any, statement: str, *___: Any) -> None:
        self.fail(statement)

    def fail(self, statement: str) -> None:
        if self.is_it(statement[:30]):
            kind, original = OF_DATABASE[self.kind % len(OF_DATABASE)]
            raise kind(statement, {}, original)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str
    traceback: str = ""
    has_failed: bool = False  #: whether the call came to pass
    places: Sequence[str] = ()  #: where calls were made


Fault = Callable[..., Failing]


def run(
    arguments: Sequence[str], fault: Fault = Failing, n: int = 0, place: str = "", kind: int = 0
) -> Ended:
    """Run a command in a process of its own, the n-th call of which fails; 0 is none.

    Args:
        place: Count the calls that are made there; all of them if it is not given.
        kind: How it fails.
    """
    reading, writing = os.pipe()
    sys.stderr.flush()
    child = os.fork()
    if child:
        os.close(writing)
        with open(reading, "rb") as answer:
            told = answer.read()
        os.waitpid(child, 0)
        return Ended(*json.loads(told)) if told else Ended(97, "", "", "it hung, or died")
    try:
        answer = json.dumps(_ended(arguments, fault(n, place, kind))).encode()
        while answer:
            answer = answer[os.write(writing, answer) :]
    finally:
        os._exit(0)


def _ended(arguments: Sequence[str], failing: Failing) -> list[Any]:
    ended: list[Any] = [98, "", "", "", False, []]
    out, err = io.StringIO(), io.StringIO()
    signal.alarm(300)  # a hang; a busy machine is slow
    sys.argv = ["hpo", *arguments]
    n = failing.n_left
    with redirect_stdout(out), redirect_stderr(err):
        try:
            hpo.cli.main()
        except SystemExit as end:
            ended[0] = end.code
        except BaseException:
            ended[3] = traceback.format_exc()
    ended[4] = failing.n_left <= 0 < n
    failing.n_left = 0
    ended[1:3] = out.getvalue(), err.getvalue()
    ended[5] = list(failing.places)
    return ended


def import_everything() -> None:
    """Import what commands import when they need it, or each fork would do so again."""
    for package in (hpo, model, studies):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    for name in LATE:
        importlib.import_module(name)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders to begin in: with a study file alone, and with a study in several states."""
    import_everything()
    base = tmp_path_factory.mktemp("folders")
    (base / "new").mkdir()
    (base / "new" / "tiny.py").write_text(
        "from hpo.definition.study import StudyDefinition\nfrom hpo.definition.grids import Values\n\n"
        "STUDY = StudyDefinition(name='tiny', grid=Values((1e-4, 1e-3)), n_s=10, n_cycles=1, hidden=3,"
        " evaluates_test=True)\n"
    )
    image = np.random.default_rng(0).integers(0, 16, (2, 8, 8)).astype("float64")
    np.savez(base / "new" / "image.npz", images=image)
    here = os.getcwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HPO_STORAGE", "sqlite:///hpo.db")
        for name, arguments in (
            ("submitted", ("submit", "tiny.py", "--data", "digits")),
            ("done", RUN),
        ):
            shutil.copytree(base / "new", base / name)
            os.chdir(base / name)
            assert run(arguments).status == 0
        shutil.copytree(base / "done", base / "damaged")
        connection = sqlite3.connect(base / "damaged" / "hpo.db")
        connection.execute("update hpo_results set value = 0.5 where cell = 1")
        connection.commit()
        connection.close()
    os.chdir(here)
    return base


@pytest.fixture
def enter(folders: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Begin in a fresh copy of a folder."""
    numbers = itertools.count()

    def begin(name: str) -> None:
        folder = workplace / str(next(numbers))
        shutil.copytree(folders / name, folder)
        monkeypatch.chdir(folder)
        shutil.rmtree(workplace / str(int(folder.name) - 1), ignore_errors=True)

    return begin


def fails_well(
    enter: Callable[[str], None],
    state: str,
    arguments: Sequence[str],
    fault: Fault,
    n: int = 1,
    place: str = "",
    kind: int = 0,
) -> Ended:
    """Let a call of a command fail, and look at how it ends."""
    enter(state)
    ended = run(arguments, fault, n, place, kind)
    where = f"{place or f'call {n}'}, kind {kind}, of {' '.join(arguments)}: {ended.err[-500:]}"
    assert not ended.traceback, f"{where}{ended.traceback}"
    assert "Traceback" not in ended.err, where
    assert ended.status in (0, 1), where
    said = "hpo: " in ended.err or "WRONG" in ended.out or "are still missing" in ended.err
    assert ended.status == 0 or said, where
    return ended


@pytest.mark.parametrize(
    ("state", "arguments", "fault", "n"),
    [
        ("new", RUN, System, 60),
        ("new", RUN, Database, 153),
        ("submitted", ("worker", "--data", "digits"), Database, 22),
        ("damaged", ("doctor", "--repair"), Database, 120),
        ("done", ("best", "tiny-digits"), System, 3),
        ("done", ("export", "tiny-digits"), Database, 7),
        ("done", ("plot", "tiny-digits", "--out", "plots"), System, 40),
        ("done", ("delete", "tiny-digits", "--yes"), Database, 30),
    ],
)
def test_a_call_that_fails_ends_a_command_in_a_sentence(
    enter: Callable[[str], None], state: str, arguments: Sequence[str], fault: Fault, n: int
) -> None:
    assert fails_well(enter, state, arguments, fault, n, kind=n).has_failed


@pytest.mark.exhaustive
@pytest.mark.parametrize("fault", [System, Database])
@pytest.mark.parametrize(("state", "arguments"), COMMANDS, ids=[" ".join(a) for _, a in COMMANDS])
def test_wherever_a_call_fails_a_command_ends_in_a_sentence_and_the_next_run_finishes(
    enter: Callable[[str], None], state: str, arguments: Sequence[str], fault: Fault
) -> None:
    enter("done")
    expected = run(("export", "tiny-digits")).out
    writes = arguments[0] in ("run", "submit", "worker", "doctor", "delete", "retry")
    enter(state)
    places = run(arguments, fault).places
    assert places or fault is Database  # some commands need none
    for number, place in enumerate(places):
        kinds = range(len(ERRORS)) if EVERY == 1 else [number]
        for kind in kinds:
            fails_well(enter, state, arguments, fault, place=place, kind=kind)
        if writes and number % EVERY == 0:
            run(("doctor", "--repair"))
            again = run(RUN)
            assert again.status == 0, f"{place}: {again.err[-500:]}{again.traceback}"
            assert run(("export", "tiny-digits")).out == expected, place
