"""What a person sees in the dashboard: our winner, its note and curves; and a refusal to edit."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna_dashboard")
pytestmark = pytest.mark.browser
SCRIPT = Path(sys.executable).with_name("hpo")
STATES = """
const r = new XMLHttpRequest(); r.open('GET', '/api/studies/1', false); r.send();
return JSON.parse(r.responseText).trials.map(trial => trial.state)
"""  #: of the trials, as the page asks for them
PATIENCE = 60.0  #: seconds for a page to show something
DEFINITION = """
from hpo import StudyDefinition, Values

STUDY = StudyDefinition(
    name="seen", grid=Values((1e-4, 1e-3, 1e-2)), n_s={n_s}, n_cycles=2, replicates=5, pruner="none"
)
"""


def environ() -> dict[str, str]:
    return {**os.environ, "HPO_STORAGE": "sqlite:///hpo.db"}


def hpo(folder: Path, *arguments: str) -> str:
    line = [SCRIPT, *arguments]
    done = subprocess.run(
        line, cwd=folder, env=environ(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_line(folder: Path, n_s: int) -> list[str]:
    (folder / "seen.py").write_text(DEFINITION.format(n_s=n_s))
    return ["run", "seen.py", "--data", "digits", "--workers", "1"]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Serve the database of this test's folder, and return the address."""
    started: list[subprocess.Popen[str]] = []

    def serve() -> str:
        line = [SCRIPT, "dashboard", "--port", "0"]
        shown = subprocess.Popen(
            line, cwd=tmp_path, env=environ(), stderr=subprocess.PIPE, text=True
        )
        started.append(shown)
        assert shown.stderr is not None
        shown.stderr.readline()
        found = re.search(r"http://\S+/", shown.stderr.readline())
        assert found is not None
        return found[0].rstrip("/")

    yield serve
    for shown in started:
        shown.terminate()
        assert shown.communicate(timeout=60)[1] == ""  # nothing failed meanwhile
        assert shown.returncode == 143


def text_of(browser: Any, wanted: str) -> str:
    """Return what the page says, once it says what is wanted."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = str(browser.ask("return document.body.innerText"))
        if wanted in found:
            return found
        assert time.monotonic() < deadline, f"{wanted!r} is not in: {found}"
        time.sleep(0.2)


def drawn(browser: Any, picture: str) -> int:
    """Return how many traces the picture with this identifier has, once it has any."""
    count = (
        f"const p = document.getElementById({picture!r}); return p && p.data ? p.data.length : 0"
    )
    deadline = time.monotonic() + PATIENCE
    while not (found := int(browser.ask(count))):
        assert time.monotonic() < deadline, f"nothing is drawn in {picture}"
        time.sleep(0.2)
    return found


def pictures_of(browser: Any) -> set[str]:
    """Return the names of the artifacts on the page, once all its pictures are loaded."""
    wanted = (
        "const of = i => i.src.includes('/artifacts/'); const all = [...document.images].filter(of);"
        "return all.length > 0 && all.every(i => i.complete && i.naturalWidth > 0)"
    )
    deadline = time.monotonic() + PATIENCE
    while not browser.ask(wanted):
        assert time.monotonic() < deadline, "artifacts are not loaded"
        time.sleep(0.2)
    told = str(browser.ask("return document.body.innerText"))
    return set(re.findall(r"[\w-]+\.(?:png|html)", told))


def photograph(browser: Any, name: str) -> None:
    """Keep a picture of the page where somebody wants to look at it."""
    folder = os.environ.get("HPO_SCREENSHOTS")
    if folder:
        browser.driver.save_screenshot(str(Path(folder) / f"{name}.png"))


def test_a_finished_study_is_shown_with_our_winner_and_cannot_be_edited(
    tmp_path: Path, served: Callable[[], str], browser: Any
) -> None:
    hpo(tmp_path, *run_line(tmp_path, 20))
    before = hpo(tmp_path, "export", "seen-digits")
    told = hpo(tmp_path, "best", "seen-digits").splitlines()[0]
    winner = re.search(r"lambda \S+ \(cell \d\) with validation accuracy (0\.\d+)", told)
    assert winner is not None
    address = served()

    browser.open(f"{address}/dashboard/studies/1", (1400, 2400))
    text_of(browser, "Best Trial")
    page = text_of(browser, winner[0])  # an attribute of the study
    best = re.search(r"Best Trial.*?(0\.\d+)", page, re.DOTALL)
    assert best is not None
    assert f"{float(best[1]):.4f}" == winner[1]
    assert drawn(browser, "plot-history") >= 1
    text_of(browser, "Study Artifacts")
    assert {"report.html", "lambda.png", "curves.png"} <= pictures_of(browser)
    photograph(browser, "dashboard-finished")

    browser.open(f"{address}/dashboard/studies/1/note")
    assert "The value of a trial is the mean of its cell" in text_of(browser, winner[0])
    photograph(browser, "dashboard-note")

    browser.open(f"{address}/dashboard/studies/1/trials")
    assert "mean of its cell" in text_of(browser, "mean of its cell")
    photograph(browser, "dashboard-trials")

    browser.open(f"{address}/dashboard/studies/1", (1400, 2400))
    text_of(browser, "Best Trial")
    assert not browser.errors()
    assert not browser.requests().elsewhere(address)
    status, reason = browser.ask(
        "const r = new XMLHttpRequest(); r.open('POST', '/api/studies/1/rename', false);"
        "r.send('{}'); return [r.status, r.responseText]"
    )
    assert status == 405
    assert "only shows studies" in reason
    assert hpo(tmp_path, "export", "seen-digits") == before


def test_a_study_that_runs_is_shown_and_ends_as_if_nobody_had_looked(
    tmp_path: Path, served: Callable[[], str], browser: Any
) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    hpo(alone, *run_line(alone, 300))
    hpo(tmp_path, "submit", *run_line(tmp_path, 300)[1:4])
    address = served()
    browser.open(f"{address}/dashboard/studies/1/note")
    text_of(browser, "No cell is complete yet")
    line = [SCRIPT, *run_line(tmp_path, 300)]
    with subprocess.Popen(
        line, cwd=tmp_path, env=environ(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        browser.open(f"{address}/dashboard/studies/1", (1400, 2400))
        states: set[str] = set()
        while running.poll() is None:
            states |= set(browser.ask(STATES))
            photograph(browser, "dashboard-running")
            time.sleep(0.5)
        assert not browser.errors()
        assert running.returncode == 0

    assert "Running" in states
    browser.open(f"{address}/dashboard/studies/1/note")
    text_of(browser, "The winner is")
    assert hpo(tmp_path, "export", "seen-digits") == hpo(alone, "export", "seen-digits")
