"""``hpo dashboard`` as a program: it says where it is, and a signal ends it cleanly."""

import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna_dashboard")
SCRIPT = Path(sys.executable).with_name("hpo")


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.long)],
)
def test_a_signal_ends_the_dashboard_without_a_word(
    workplace: Path, storage: Any, run_grid: Callable[..., Any], number: int, status: int
) -> None:
    run_grid()
    asked = [SCRIPT, "dashboard", "--port", "0", "--storage", storage.url]
    with subprocess.Popen(
        asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as shown:
        assert shown.stderr is not None
        assert shown.stderr.readline() == "Opening the dashboard ...\n"
        line = shown.stderr.readline()
        assert line.startswith("The dashboard is at http://127.0.0.1:")
        with urllib.request.urlopen(line.split()[4], timeout=60) as answer:
            assert answer.status == 200
        shown.send_signal(number)
        out, err = shown.communicate(timeout=60)

    assert (shown.returncode, out, err) == (status, "", "")


def test_a_port_that_is_none_is_refused(command: Callable[..., Any]) -> None:
    assert "--port" in command("dashboard", "--port", "65536").sentence
