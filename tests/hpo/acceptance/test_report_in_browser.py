"""A report opened from disk in a real browser: whole in itself, on a phone, on paper, for everybody."""

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hpo
from tests.browser import DESK, PHONE, Browser

pytestmark = pytest.mark.browser
GRID = hpo.StudyDefinition(
    name="coarse",
    grid=hpo.Values((1e-4, 1e-3, 1e-2, 1e-1)),
    n_s=12,
    n_cycles=2,
    pruner="halving",
    replicates=2,
)
SPACE = hpo.StudyDefinition(
    name="mine",
    space=hpo.Space(
        lambda_=hpo.Real(1e-4, 1e-1, logarithmic=True),
        eta_max=hpo.Real(0.05, 0.3),
        budget=800,
        width=4,
        sampler="random",
    ),
    n_s=12,
    n_cycles=2,
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a grid, a search, a final and a study that has not begun, as a page on disk."""
    folder = tmp_path_factory.mktemp("a report")
    url = f"sqlite:///{folder / 'hpo.db'}"
    hpo.run(GRID, storage=url)
    hpo.run(SPACE, storage=url)
    hpo.run("final", parent="coarse-digits", storage=url, out=folder / "model")
    hpo.submit(replace(GRID, name="waiting"), storage=url)
    names = ("coarse-digits", "mine-digits", "final-digits", "waiting-digits")
    return hpo.report(*names, storage=url, folder=folder / "report", data="digits")[-1]


@pytest.mark.parametrize("window", [PHONE, DESK], ids=["phone", "desk"])
def test_the_page_is_whole_fits_and_is_for_everybody(
    report: Path, browser: Browser, window: tuple[int, int]
) -> None:
    browser.open(report.as_uri(), window)

    assert len(browser.ask("return [...document.images]")) > 15
    assert browser.broken_pictures() == []
    assert browser.requests().elsewhere() == []
    assert browser.errors() == []
    assert browser.width() <= window[0]
    assert browser.violations() == []


def test_a_window_of_a_phone_shows_tables_and_pictures_by_scrolling_them_alone(
    report: Path, browser: Browser
) -> None:
    browser.open(report.as_uri(), PHONE)

    wide = "[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth)"
    assert browser.ask(f"return {wide}.length") > 5
    assert browser.ask(f"return {wide}.every(e => e.tabIndex == 0)")


def test_the_page_prints_on_paper_with_everything_on_it(report: Path, browser: Browser) -> None:
    browser.open(report.as_uri())

    printed: Any = browser.driver.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})

    content = base64.b64decode(printed["data"])
    assert content.startswith(b"%PDF")
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    size = {"width": 680, "height": 960, "deviceScaleFactor": 1, "mobile": False}  # A4, in pixels
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    parts = "[...document.querySelectorAll('figure, table, pre')]"
    wide = f"{parts}.filter(e => e.getBoundingClientRect().right > 690)"
    assert browser.ask(f"return {wide}.map(e => e.textContent.slice(0, 80))") == []
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


@pytest.mark.parametrize(
    "name", ["<script>document.title = 'broken'</script>", "x" * 500, '" onload="alert(1)']
)
def test_a_hostile_name_does_nothing_in_the_browser(
    name: str, tmp_path: Path, browser: Browser
) -> None:
    import sqlalchemy as sa

    url = f"sqlite:///{tmp_path / 'hpo.db'}"
    hpo.run(replace(GRID, grid=hpo.Values((1e-3,)), pruner="none"), storage=url)
    engine = sa.create_engine(url)
    with engine.begin() as connection:  # as others rename it
        connection.execute(sa.text("update studies set study_name = :name"), {"name": name})
    engine.dispose()
    page = hpo.report(name, storage=url, folder=tmp_path / "report")[-1]

    browser.open(page.as_uri(), PHONE)

    assert browser.ask("return document.title") == f"Report on {name}"
    assert browser.ask("return document.scripts.length") == 0
    assert browser.errors() == []
    assert browser.broken_pictures() == []
    assert browser.width() <= PHONE[0]
    assert browser.violations() == []
