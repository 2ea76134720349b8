"""The site is built without a network, asks for nothing from elsewhere, and misses no page."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import DOCS, ROOT, pages

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("`make docs` installs what builds the pages")
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        check=True,
        timeout=300,
    )
    return folder


def test_every_page_is_built(site: Path) -> None:
    built = {path.relative_to(site).with_suffix(".md") for path in site.rglob("*.html")}

    assert {page.relative_to(DOCS) for page in pages()[1:]} <= built


def test_no_page_asks_for_anything_from_elsewhere(site: Path) -> None:
    loads = re.compile(r"<(?:link|script|img|iframe)\b[^>]*\b(?:src|href)=\"?(https?:[^\" >]+)")
    for page in site.rglob("*.html"):
        assert loads.findall(page.read_text("utf-8")) == [], page


def test_the_api_has_its_signatures_and_examples(site: Path) -> None:
    text = re.sub(r"<[^>]+>", "", (site / "reference" / "python.html").read_text("utf-8"))

    assert "hpo.Logarithmic(-3, -1, 3)" in text
    assert "goes on with what is there" in text or "storage" in text
