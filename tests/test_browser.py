"""The browser of the tests notices what pages must not do."""

from pathlib import Path

import pytest

from tests.browser import PHONE, Browser

pytestmark = pytest.mark.browser
BAD = """<!DOCTYPE html>
<html><head><title>bad</title><meta name="viewport" content="width=device-width"></head><body>
<img src="http://127.0.0.1:9/a.png">
<div style="width: 900px">wide</div>
<p style="color: #ccc; background: #fff">pale</p>
<script>console.error("a mistake")</script>
</body></html>"""


def test_a_bad_page_is_found_out(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(BAD)

    browser.open(page.as_uri(), PHONE)

    assert browser.requests().elsewhere() == ["http://127.0.0.1:9/a.png"]
    assert browser.broken_pictures() == [""]
    assert any("a mistake" in line for line in browser.errors())
    assert browser.width() >= 900
    found = {line.split(":")[0] for line in browser.violations()}
    assert {"image-alt", "html-has-lang", "color-contrast"} <= found
    browser.open(page.as_uri(), PHONE)
    assert browser.requests().elsewhere("http://127.0.0.1:9/") == []
