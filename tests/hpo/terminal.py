"""A pseudo-terminal: runs a command on one and keeps the frames that it showed."""

import fcntl
import os
import pty
import select
import struct
import termios
from pathlib import Path
from typing import NamedTuple

import pyte

from tests.hpo.processes import SCRIPT

LINES = 40


class Shown(NamedTuple):
    frames: list[str]
    status: int


def on_terminal(
    folder: Path, *arguments: str | Path, columns: int, term: str = "xterm", interrupt: str = ""
) -> Shown:
    """Run a command to its end; Ctrl-C is typed once a frame shows ``interrupt``."""
    size = struct.pack("HHHH", LINES, columns, 0, 0)
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, size)  # before the command can ask for it
        os.chdir(folder)
        known = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
        told = [str(SCRIPT), *map(str, arguments)]  # readline sets both, and os.environ hides it
        os.execve(SCRIPT, told, known | {"TERM": term})
    screen = pyte.Screen(columns, LINES)
    stream = pyte.ByteStream(screen)
    frames: list[str] = []
    while True:
        select.select([terminal], [], [])
        try:
            stream.feed(os.read(terminal, 65536))
        except OSError:  # it has ended
            break
        frames.append("\n".join(line.rstrip() for line in screen.display).rstrip())
        if interrupt and interrupt in frames[-1]:
            os.write(terminal, b"\x03")
            interrupt = ""
    os.close(terminal)
    return Shown(frames, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
