"""A bit of the database file is another one: nothing ends in a traceback, and no export is wrong."""

import os
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

#: Bits that the long test flips, one after the other.
MANY = int(os.environ.get("HPO_BITS", "150"))
NAME = "tiny-digits"
EXPORTS = (("export", NAME), ("export", NAME, "--format", "csv"))
LOOKS = (("status",), ("list",), ("best", NAME))
Command = Callable[..., Any]


@pytest.fixture
def database(command: Command, write_study: Callable[..., str], workplace: Path) -> Path:
    """A finished study in a file as small as can be."""
    study = write_study(n_s=5, n_cycles=1, hidden=2, evaluates_test=True)
    assert command("run", study, "--data", "digits").status == 0
    path = workplace / "hpo.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("pragma journal_mode=delete")
    connection.execute("vacuum")
    connection.close()
    return path


def put(database: Path, content: bytes) -> None:
    for beside in ("-wal", "-shm", "-journal"):
        database.with_name(database.name + beside).unlink(missing_ok=True)
    database.write_bytes(content)


@pytest.mark.parametrize(
    ("seed", "n"),
    [(0, 7), pytest.param(1, MANY, marks=pytest.mark.exhaustive)],
    ids=["few", "many"],
)
def test_a_flipped_bit_changes_no_export_unless_doctor_says_so(
    command: Command, database: Path, seed: int, n: int
) -> None:
    sound = database.read_bytes()
    expected = {arguments: command(*arguments).out for arguments in EXPORTS}
    places = [place for place, byte in enumerate(sound) if byte]  # where something is written
    rng = random.Random(seed)
    for _ in range(n):
        place, bit = rng.choice(places), rng.randrange(8)
        where = f"bit {bit} of byte {place}"
        damaged = bytearray(sound)
        damaged[place] ^= 1 << bit
        put(database, damaged)
        told = {arguments: command(*arguments) for arguments in (*EXPORTS, *LOOKS, ("doctor",))}
        for arguments, answer in told.items():
            assert answer.status in (0, 1), where
            assert answer.status == 0 or answer.err or arguments == ("doctor",), where
        for arguments, whole in expected.items():
            is_whole = told[arguments].status == 0 and told[arguments].out == whole
            is_told = told[arguments].status == 1 or told["doctor",].status == 1
            assert is_whole or is_told, f"{where}: {' '.join(arguments)}"
        repaired = command("doctor", "--repair")
        assert repaired.status in (0, 1), where
        if repaired.status == 0 and told["doctor",].status == 1:
            again = command("run", "tiny.py", "--data", "digits")
            assert again.status in (0, 1), where
            if again.status == 0:
                assert command(*EXPORTS[0]).out == expected[EXPORTS[0]], where
