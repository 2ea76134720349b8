"""What a command says: its result on stdout, its story on stderr."""

import sys

from hpo.machine.printable import printable_lines


def say(text: str) -> None:
    """Write a line of the story."""
    print(printable_lines(text), file=sys.stderr, flush=True)  # noqa: T201  # stderr is the story


def tell(text: str) -> None:
    """Write a line, or several, of what a command was asked for."""
    print(printable_lines(text))  # noqa: T201  # stdout is the result
