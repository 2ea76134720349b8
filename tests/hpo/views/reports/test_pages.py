"""A report as pages: what is put in is shown as it is and does nothing, in HTML and in Markdown."""

import base64
import itertools
import re
import struct
import zlib

import pytest

from hpo.views.reports import marks, pages
from hpo.views.reports.parts import Chapter, Picture, Report, Table
from tests.hpo.views.reports.parsed import page

HOSTILE = {
    "a script": "<script>alert(1)</script>",
    "an attribute": '" onerror="alert(1)',
    "lines": "a\nb\r\n# c",
    "a terminal": "a\x1b[31mb\x07",
    "a direction": "a\u202eb",
    "Markdown": "**a** ![b](http://c/d.png) [e](javascript:f) | g | `h` ~~i~~ $j$",
    "a list": "- a",
    "a number": "1. a",
    "a fence": "```\n<b>\n````",
    "a template": "{{ report.title }} {% for x in y %}",
    "length": "x" * 10_000,
}


def png(width: int = 2, height: int = 1) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + name
            + content
            + struct.pack(">I", zlib.crc32(name + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x80" * width) * height)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def report_of(text: str) -> Report:
    """Return a report that has a text in every place where there is one."""
    table = Table(text, [text, "b"], [[text, text], ["c", "d"]], marked=1)
    chapter = Chapter(
        name=text,
        asked=text,
        question=text,
        short=text,
        answer=[text, text],
        tables=[table],
        pictures=[Picture(file="a-lambda.png", caption=text, alt=text, png=png())],
        left_out=[text],
        cuts=[text],
        table_of_cuts=table,
        provenance=table,
        looks=table,
        definition=text,
    )
    return Report(title=text, chapters=[chapter], remarks=[text], steps=text, about_steps=[text])


PLAIN = page(pages.html(report_of("plain")))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_text_changes_the_tags_of_the_page(text: str) -> None:
    found = page(pages.html(report_of(text)))

    assert [tag for tag, _ in found.tags] == [tag for tag, _ in PLAIN.tags]
    assert [attrs.keys() for _, attrs in found.tags] == [attrs.keys() for _, attrs in PLAIN.tags]
    assert found.headings[0] == (1, pages.shorten(pages.printable(text), pages.LONGEST))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_both_pages_hold_nothing_that_a_terminal_would_obey(text: str) -> None:
    report = report_of(text)

    for told in (pages.html(report), pages.markdown(report)):
        assert all(character.isprintable() or character == "\n" for character in told)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_text_changes_the_lines_of_the_markdown(text: str) -> None:
    def kinds(told: str) -> list[str]:
        outside = re.sub(r"^(`{3,})\n.*?\n\1$", "CODE", told, flags=re.M | re.S)
        return [re.match(r"[#>|*!<-]*", line)[0] for line in outside.splitlines()]  # type: ignore[index]

    assert kinds(pages.markdown(report_of(text))) == kinds(pages.markdown(report_of("plain")))


def test_markdown_makes_nothing_of_what_a_name_holds() -> None:
    assert pages.escaped(HOSTILE["a script"]) == "&lt;script&gt;alert(1)&lt;/script&gt;"
    assert pages.escaped("![b](http://c) | `d`") == r"\!\[b\](http:\//c) \| \`d\`"
    assert pages.escaped("eta_max 0.5, n_s 20") == "eta_max 0.5, n_s 20"
    assert pages.escaped("_a_ www.b.c d@e.f") == r"\_a\_ www\.b.c d\@e.f"
    assert pages.escaped("- a") == r"\- a"
    assert pages.escaped("12) a") == r"12\) a"


def test_code_in_markdown_cannot_close_its_fence() -> None:
    told = pages.markdown(report_of(HOSTILE["a fence"]))

    assert "\n`````\n```\n<b>\n````\n`````\n" in told


def test_the_page_is_whole_in_itself_and_lets_nothing_in() -> None:
    (address,) = [attrs["src"] for attrs in PLAIN.all("img")]
    assert address == "data:image/png;base64," + base64.b64encode(png()).decode()
    assert [attrs["href"] for attrs in PLAIN.all("link")] == ["data:,"]
    assert {str(attrs["href"])[0] for attrs in PLAIN.all("a")} == {"#"}
    assert PLAIN.all("script") == []
    (policy,) = (a for a in PLAIN.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in str(policy["content"])


def test_the_page_says_its_language_and_its_headings_come_in_order() -> None:
    assert PLAIN.all("html") == [{"lang": "en"}]
    levels = [level for level, _ in PLAIN.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))


def test_every_header_of_a_table_says_what_it_is_a_header_of() -> None:
    assert {attrs.get("scope") for attrs in PLAIN.all("th")} == {"col", "row"}
    ids = {attrs["id"] for _, attrs in PLAIN.tags if "id" in attrs}
    named = {a["aria-labelledby"] for _, a in PLAIN.tags if "aria-labelledby" in a}
    assert named <= ids
    assert len(ids) == sum("id" in attrs for _, attrs in PLAIN.tags)


def test_pictures_have_a_text_instead_and_their_size() -> None:
    (picture,) = PLAIN.all("img")

    assert (picture["alt"], picture["width"], picture["height"]) == ("plain", "2", "1")


def test_equal_reports_are_equal_bytes_and_the_pages_come_last() -> None:
    files = pages.files(report_of("a"))

    assert list(files) == ["a-lambda.png", *reversed(marks.PAGES)]
    assert files == pages.files(report_of("a"))
