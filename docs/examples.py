"""Examples in docstrings as blocks of code, for the page of the Python API."""

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"(?:^[ ]*>>> .*\n?(?:^[ ]*\S.*\n?)*)", re.MULTILINE)


class Examples(griffe.Extension):
    """Puts a fence around what begins with ``>>>``, which Markdown takes for a quotation."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of an object when it has been read."""
        if obj.docstring is not None:
            obj.docstring.value = EXAMPLE.sub(_fenced, obj.docstring.value)


def _fenced(found: "re.Match[str]") -> str:
    return f"```pycon\n{found[0].rstrip()}\n```\n"
