"""A pseudo-terminal: runs a command on one and keeps the frames that it showed."""

import fcntl
import os
import pty
import select
import struct
import termios
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pyte

from tests.hpo.processes import SCRIPT

LINES = 40


class Shown(NamedTuple):
    frames: list[str]
    status: int
    is_coloured: bool


def ctrl_c(terminal: int, _: pyte.Screen) -> None:
    """Type it."""
    os.write(terminal, b"\x03")


def resized(columns: int) -> Callable[[int, pyte.Screen], None]:
    """Return what gives a terminal so many columns; the kernel tells who runs on it."""

    def resize(terminal: int, screen: pyte.Screen) -> None:
        screen.resize(LINES, columns)
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))

    return resize


def on_terminal(
    folder: Path,
    *arguments: str | Path,
    columns: int,
    interrupt: str = "",
    happens: Callable[[int, pyte.Screen], None] = ctrl_c,
    **environment: str,
) -> Shown:
    """Run a command to its end; something happens, Ctrl-C say, once a frame shows ``interrupt``."""
    size = struct.pack("HHHH", LINES, columns, 0, 0)
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, size)  # before the command can ask for it
        os.chdir(folder)
        known = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
        told = [str(SCRIPT), *map(str, arguments)]  # readline sets both, and os.environ hides it
        os.execve(SCRIPT, told, known | {"TERM": "xterm"} | environment)
    screen = pyte.Screen(columns, LINES)
    stream = pyte.ByteStream(screen)
    frames: list[str] = []
    is_coloured = False
    while True:
        select.select([terminal], [], [])
        try:
            stream.feed(os.read(terminal, 65536))
        except OSError:  # it has ended
            break
        frames.append("\n".join(line.rstrip() for line in screen.display).rstrip())
        is_coloured |= any(
            cell.fg != "default" or cell.bg != "default"
            for line in screen.buffer.values()
            for cell in line.values()
        )
        if interrupt and interrupt in frames[-1]:
            happens(terminal, screen)
            interrupt = ""
    os.close(terminal)
    return Shown(frames, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), is_coloured)
