"""A report as pages: one HTML file that needs nothing else, and Markdown with picture files.

Whatever is put into a template is escaped for it, control characters first: names may hold anything.
"""

import base64
import re
import struct
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from hpo.machine.printable import printable, printable_lines
from hpo.machine.version import version
from hpo.views.figures import shorten
from hpo.views.reports.marks import HTML, MADE_BY, MARKDOWN
from hpo.views.reports.parts import Report

LONGEST = 2000  #: characters of anything that is no code
#: What Markdown makes something of, in the middle of a line; ``_`` only at the edge of a word.
SPECIAL = re.compile(r"([\\`*{}\[\]#|~$@!]|(?<!\w)_|_(?!\w)|(?<=:)/|(?<=\bwww)\.)")
FIRST = re.compile(r"^(\s*\d*)([-+.)](?=\s|$))")  #: and at its beginning


def files(report: Report) -> dict[str, bytes]:
    """Return the files of a report by name, the pages last."""
    pictures = {one.file: one.png for chapter in report.chapters for one in chapter.pictures}
    pages = {MARKDOWN: markdown(report), HTML: html(report)}
    return pictures | {name: text.encode() for name, text in pages.items()}


def html(report: Report) -> str:
    """Return the page with everything in it."""
    environment = _environment(lambda value: shorten(printable(value), LONGEST), autoescape=True)
    environment.filters |= {"code": _code_in_html, "address": _address, "size": _size}
    return _rendered(environment, HTML, report)


def markdown(report: Report) -> str:
    """Return the page that shows the pictures beside it."""
    environment = _environment(escaped, autoescape=False)
    environment.filters |= {"code": _code_in_markdown, "markup": Markup}
    return _rendered(environment, MARKDOWN, report)


def escaped(value: object) -> str:
    r"""Return text that Markdown shows as it is, on one line.

    >>> print(escaped("<script>*a*|[b](http://c)\n"), escaped("1. d"), escaped("eta_max 0.5"))
    &lt;script&gt;\*a\*\|\[b\](http:\//c)\\n 1\. d eta_max 0.5
    """
    told = SPECIAL.sub(r"\\\1", shorten(printable(value), LONGEST))
    told = FIRST.sub(r"\1\\\2", told)
    return told.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _environment(finalize: Any, *, autoescape: bool) -> Environment:
    def shown(value: object) -> object:
        return value if isinstance(value, Markup) else finalize(value)

    return Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates"), encoding="utf-8"),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=shown,
    )


def _rendered(environment: Environment, name: str, report: Report) -> str:
    page = environment.get_template(name)
    return page.render(report=report, version=version(), made_by=MADE_BY)


def _code_in_html(text: str) -> Markup:
    return escape(printable_lines(text))


def _code_in_markdown(text: str) -> Markup:
    """Return a block of code with a fence that nothing in it can close."""
    told = printable_lines(text)
    longest = max((len(run) for run in re.findall("`+", told)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markup(f"{fence}\n{told}\n{fence}")  # plain text; nothing is HTML in a fence


def _address(png: bytes) -> Markup:
    return Markup("data:image/png;base64,") + base64.b64encode(png).decode("ascii")


def _size(png: bytes) -> Markup:
    width, height = struct.unpack(">II", png[16:24])
    return Markup(f'width="{width:d}" height="{height:d}"')  # two numbers
