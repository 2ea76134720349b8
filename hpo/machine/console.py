"""What a command says: its result on stdout, its story on stderr."""

import sys

from hpo.machine.hints import completed
from hpo.machine.printable import printable_lines

TOLD_IN = ("text", "json")  #: what is told of studies


def say(text: str) -> None:
    """Write a line of the story."""
    print(printable_lines(completed(text)), file=sys.stderr, flush=True)  # noqa: T201  # stderr is the story


def say_reading(data: str) -> None:
    """Say on a terminal what a command begins with, before it has to import anything."""
    if sys.stderr.isatty():
        say(f"Reading {data} ...")


def tell(text: str, form: str = "text") -> None:
    """Write a line, or several, of what a command was asked for; JSON is for no people."""
    print(printable_lines(completed(text) if form == "text" else text))  # noqa: T201  # stdout is the result


def tell_at_once(text: str) -> None:
    """Write a line that somebody waits for at the other end of a pipe."""
    tell(text, "json")
    sys.stdout.flush()
