"""By what the files of a report are known again, so that nothing else is ever written over."""

from pathlib import Path

HTML, MARKDOWN = PAGES = "report.html", "report.md"
MADE_BY = "made by hpo report"  #: stands near the top of both pages
TOP, MOST = 2_000, 10_000_000  #: bytes


def is_ours(path: Path) -> bool:
    """Tell whether a file is a page of a report."""
    return MADE_BY in _text(path, TOP)


def pictures(page: Path) -> str:
    """Return the Markdown page of a report, which names its pictures; nothing if it is none."""
    return _text(page, MOST) if is_ours(page) else ""


def shows(page: str, name: str) -> bool:
    """Tell whether a page names a picture."""
    return f"]({name})" in page


def _text(path: Path, most: int) -> str:
    """Return the beginning of a regular file, or nothing."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            return file.read(most).decode("utf-8", "replace")
    except OSError:
        return ""
