"""A real browser as tests drive it: Chromium without a window, and what a page did in it."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PHONE, DESK = (390, 844), (1200, 900)  #: width and height of the window
OURS = ("file:", "data:", "blob:", "about:", "chrome:")


@dataclass(frozen=True)
class Requests:
    """The addresses that a page asked for."""

    urls: list[str]

    def elsewhere(self, *admitted: str) -> list[str]:
        """Return those that are neither in the page itself nor begin as is admitted."""
        return [url for url in self.urls if not url.startswith((*OURS, *admitted))]


class Browser:
    """Chromium behind its driver: ``open`` a page, then ask what it did and how it looks."""

    def __init__(self, folder: Path) -> None:
        """Start it, or skip the test where it cannot be.

        Args:
            folder: For the browser's own files.
        """
        selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
        found = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
        missing = [name for name, path in found.items() if path is None]
        if missing:
            pytest.skip(f"{' and '.join(missing)} not installed (apt install chromium-driver)")
        options = selenium.ChromeOptions()
        options.binary_location = found["chromium"]
        for argument in (
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--disable-background-networking",
            f"--user-data-dir={folder / 'profile'}",
        ):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        environ = os.environ | {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}
        environ.pop("LD_PRELOAD", None)  # the browser has clocks of its own
        service = selenium.ChromeService(found["chromedriver"], env=environ)
        from selenium.common.exceptions import WebDriverException

        try:
            self.driver: Any = selenium.Chrome(options, service)
        except WebDriverException as error:
            pytest.skip(f"Chromium does not start here: {str(error).splitlines()[0]}")

    def open(self, url: str, window: tuple[int, int] = DESK) -> None:
        """Open a page in a window of a size; what was logged before is forgotten."""
        width, height = window
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        for kind in ("browser", "performance"):
            self.driver.get_log(kind)
        self.driver.get(url)

    def ask(self, script: str, *arguments: object) -> Any:
        """Return what JavaScript returns in the page."""
        return self.driver.execute_script(script, *arguments)

    def errors(self) -> list[str]:
        """Return what the console said that is an error or a warning, since the page was opened."""
        found = self.driver.get_log("browser")
        return [one["message"] for one in found if one["level"] in ("SEVERE", "WARNING")]

    def requests(self) -> Requests:
        """Return what the page has asked for since it was opened."""
        told = [json.loads(one["message"])["message"] for one in self.driver.get_log("performance")]
        sent = [one["params"] for one in told if one["method"] == "Network.requestWillBeSent"]
        return Requests([one["request"]["url"] for one in sent])

    def width(self) -> int:
        """Return how wide the page is, in pixels; beyond the window it scrolls sideways."""
        return int(self.ask("return document.documentElement.scrollWidth"))

    def broken_pictures(self) -> list[str]:
        """Return the alternative texts of the pictures that did not load."""
        broken = "[...document.images].filter(i => !(i.complete && i.naturalWidth)).map(i => i.alt)"
        return list(self.ask(f"return {broken}"))

    def violations(self, least: tuple[str, ...] = ("serious", "critical")) -> list[str]:
        """Return what axe-core finds wrong with the page for people with disabilities."""
        axe = pytest.importorskip("axe_core_python.selenium", reason="axe-core is not installed")
        found = axe.Axe().run(self.driver)["violations"]
        return [
            f"{one['id']}: {one['help']}: {node['html'][:200]}"
            for one in found
            if one["impact"] in least
            for node in one["nodes"]
        ]

    def close(self) -> None:
        """End it."""
        self.driver.quit()
