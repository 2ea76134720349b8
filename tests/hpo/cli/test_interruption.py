"""Signals to every command at any time: no traceback, and nothing is lost."""

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpo.commands.doctor import examine
from hpo.database.storage import Storage

SCRIPT = Path(sys.executable).with_name("hpo")
Command = Callable[..., Any]

#: What a program does at a certain moment; `KILL` is the signal to itself.
PROGRAM = """
import os, sys
sys.argv = ["/somewhere/hpo", *{arguments!r}]
KILL = lambda: os.kill(os.getpid(), {number})
import hpo.cli
{then}
hpo.cli.console()
"""
MOMENTS = {
    "while it is imported": "KILL()",
    "in the middle of a look": (
        "import hpo.database.reader as r; r.Reader._check_schema = lambda *_: KILL()"
    ),
    "while an object is taken down": (
        "import hpo.database.reader as r\n"
        "class Falls:\n    def __del__(self): KILL()\n"
        "r.Reader._check_schema = lambda *_: Falls() and None"
    ),
    "where another error follows": (
        "import hpo.database.reader as r\n"
        "def breaks(*_):\n"
        "    try: KILL()\n"
        "    except KeyboardInterrupt: raise ImportError('half a module')\n"
        "r.Reader._check_schema = breaks"
    ),
    "twice": (
        "import hpo.database.reader as r\n"
        "def deaf(*_):\n"
        "    try: KILL()\n"
        "    except KeyboardInterrupt: KILL()\n"
        "r.Reader._check_schema = deaf"
    ),
}


@pytest.fixture
def finished(command: Command, write_study: Callable[..., str], workplace: Path) -> Path:
    """A folder with a finished study, its weights, and an image to classify."""
    study = write_study(hidden=3, evaluates_test=True)
    assert command("run", study, "--data", "digits").status == 0
    image = np.random.default_rng(0).integers(0, 16, (3, 8, 8)).astype("float64")
    np.savez(workplace / "image.npz", images=image)
    sqlite3.connect("hpo.db").execute("pragma wal_checkpoint(truncate)").connection.close()
    return workplace


@pytest.mark.parametrize(
    ("moment", "number", "status"),
    [
        *((moment, signal.SIGINT, 130) for moment in MOMENTS),
        ("while it is imported", signal.SIGTERM, 143),
        ("in the middle of a look", signal.SIGTERM, 143),
    ],
)
def test_a_signal_ends_a_look_without_a_word(
    workplace: Path, moment: str, number: int, status: int
) -> None:
    Storage("sqlite:///hpo.db").close()
    program = PROGRAM.format(arguments=["list"], number=int(number), then=MOMENTS[moment])
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=workplace, capture_output=True, text=True, timeout=60
    )

    assert done.returncode == status
    assert "Traceback" not in done.stderr
    assert "KeyboardInterrupt" not in done.stderr
    assert done.stdout == ""


COMMANDS: list[Sequence[str]] = [
    ("run", "tiny.py", "--data", "digits", "--name", "another"),
    ("run", "tiny.py", "--data", "digits", "--again"),
    ("run", "tiny.py", "--data", "digits", "--dry-run"),
    ("submit", "tiny.py", "--data", "digits", "--name", "another"),
    ("worker", "--data", "digits"),
    ("retry", "tiny-digits"),
    ("delete", "tiny-digits", "--yes"),
    ("doctor",),
    ("doctor", "--repair"),
    ("copy", "tiny-digits", "--to", "sqlite:///copy.db"),
    ("queue",),
    ("cancel", "tiny-digits"),
    ("status",),
    ("list",),
    ("best", "tiny-digits"),
    ("export", "tiny-digits"),
    ("plot", "tiny-digits", "--out", "pictures"),
    ("predict", "tiny-digits-model/weights.npz", "image.npz"),
    ("data", "info", "digits"),
    ("data", "verify", "digits"),
    ("train", "--data", "digits", "--n-s", "50", "--n-validation", "300", "--plots", "pictures"),
    ("check-gradients", "--data", "digits", "--hidden", "5"),
    ("--help",),
]


@pytest.mark.long
@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_signals_at_any_time_end_a_command_without_a_traceback_and_lose_nothing(
    finished: Path, command: Command, arguments: Sequence[str]
) -> None:
    expected = command("export", "tiny-digits").out
    began = time.monotonic()
    subprocess.run([SCRIPT, *arguments], cwd=finished, capture_output=True, timeout=120, check=True)
    length = time.monotonic() - began
    shutil.copy(finished / "hpo.db", finished / "before.db")
    rng = random.Random(" ".join(arguments))
    for turn in range(12):
        process = subprocess.Popen(
            [SCRIPT, *arguments],
            cwd=finished,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        time.sleep(rng.uniform(0.05, length))
        number = rng.choice([signal.SIGINT, signal.SIGTERM])
        for _ in range(rng.choice([1, 1, 2])):
            process.send_signal(number)
            time.sleep(rng.choice([0, 0.01]))
        _, told = process.communicate(timeout=60)
        if "Traceback" in told and "hpo/cli" not in told:  # Python itself had not got to us yet
            continue
        assert process.returncode in (0, 1, 128 + number, -number), told
        assert "Traceback" not in told, f"turn {turn}: {told}"
        assert "Exception ignored" not in told, told
        assert process.returncode != 1 or "hpo: " in told, told
    command("run", "tiny.py", "--data", "digits")
    command("doctor", "--repair")
    assert [f.text for f in examine("sqlite:///hpo.db") if f.is_wrong] == []
    assert command("export", "tiny-digits").out == expected
