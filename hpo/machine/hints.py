"""Hints that can be typed as they are: commands that we name get the options that were given to this one.

Whoever says something names a command in backquotes, and need not know where the user's data and
database are.
"""

import re
import shlex
from collections.abc import Sequence

#: Options that go on in hints, and the commands that have them.
TAKEN = {
    "--data": ("run", "submit", "worker"),
    "--storage": (
        *("run", "submit", "worker", "best", "status", "list", "export", "plot", "delete"),
        *("doctor", "retry", "report", "dashboard"),
    ),
}
_HINT = re.compile(r"`hpo ([a-z]+)([^`\n]*)`")
_PASSWORD = re.compile(r"(://[^:/@]*):[^@/]*@")
_given: dict[str, str] = {}


def learn(arguments: Sequence[str]) -> None:
    """Take over what the user gave on the command line; what was given before is forgotten."""
    _given.clear()
    for place, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in TAKEN and equals:
            _given[name] = value
        elif name in TAKEN and place + 1 < len(arguments):
            _given[name] = arguments[place + 1]


def completed(text: str) -> str:
    """Return a text whose hints name the same data and database as the user did.

    >>> learn(["best", "coarse", "--storage", "sqlite:///my runs.db"])
    >>> completed("Run `hpo run coarse`.")
    "Run `hpo run coarse --storage 'sqlite:///my runs.db'`."
    >>> learn([])
    """
    return _HINT.sub(_complete, text) if _given else text


def _complete(found: re.Match[str]) -> str:
    command, rest = found.groups()
    for option, value in _given.items():
        if command not in TAKEN[option]:
            continue
        shown = shlex.quote(_PASSWORD.sub(r"\1:***@", value))
        if option == "--data":  # what is stored of data is their name, and no path
            rest = re.sub(r" --data \S+", "", rest)
        if option not in rest.split():
            rest += f" {option} {shown}"
    return f"`hpo {command}{rest}`"
