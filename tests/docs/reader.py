"""Somebody who reads a page and types what stands there, in a folder and a shell of their own."""

import os
import re
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.docs.blocks import Block, differences, steps

SHELL = """set -euo pipefail
if [ -e "$STATE" ]; then . "$STATE"; fi
trap 'export -p > "$STATE"; printf "cd %q\\n" "$PWD" >> "$STATE"' EXIT
{command}
"""
#: Where the pages' PostgreSQL is; a test puts a real one in its place.
SHOWN_SERVER = re.compile(r"postgresql\+psycopg://[\w.]+@[\w.]+/\w+")


class Reader:
    """Runs blocks one after the other; variables and folder of the shell stay from one to the next."""

    def __init__(self, folder: Path, state: Path, server: str | None = None) -> None:
        self.folder, self.state, self.server = folder, state, server
        self.names: dict[str, Any] = {"__name__": "__main__"}

    def read(self, block: Block) -> None:
        """Do what a block says.

        Raises:
            AssertionError: It does not work, or prints something else than is shown.
        """
        if block.title is not None:
            (self.folder / block.title).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            exec(compile(block.text, str(block), "exec"), self.names)
        elif block.language == "sql":
            self._query(block)
        elif block.language == "sh":
            self._run(block, block.text)
        else:
            self._compare(block)

    def output(self, block: Block, command: str) -> str:
        """Return what a command prints, both outputs where it is meant to fail."""
        done = self._run(block, command)
        return done.stdout + (done.stderr if "status" in block.marks else "")

    def _compare(self, block: Block) -> None:
        for step in steps(block.text):
            came = self.output(block, step.command)
            found = differences(step.shown, came, roughly="roughly" in block.marks)
            told = "\n".join(found)
            assert not found, f"{block}: `{step.command}` prints something else:\n{told}\n\n{came}"

    def _query(self, block: Block) -> None:
        with closing(sqlite3.connect(self.folder / "hpo.db")) as database:
            for statement in filter(str.strip, block.text.split(";")):
                assert database.execute(statement).fetchall(), f"{block}: nothing is found"

    def _run(self, block: Block, command: str) -> subprocess.CompletedProcess[str]:
        if self.server is not None:
            command = SHOWN_SERVER.sub(self.server, command)
        done = subprocess.run(
            ["bash", "-c", SHELL.replace("{command}", command)],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=3600,
        )
        expected = int(block.marks.get("status", 0))
        assert done.returncode == expected, (
            f"{block}: `{command.strip()}` ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
        return done

    def _environment(self) -> dict[str, str]:
        ours = {k: v for k, v in os.environ.items() if k not in ("HPO_STORAGE", "BASH_ENV", "ENV")}
        return ours | {"STATE": str(self.state), "TERM": "dumb"}
