"""Downloads of several processes at once, and of one that is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import hpo
from hpo.errors import DownloadFailed
from tests.hpo.data.server import CONTENT, MD5, Server, get, part_of


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


def start_process(url: str, destination: Path) -> subprocess.Popen[str]:
    """Run `fetch` in a process of its own."""
    program = (
        "import sys; from pathlib import Path; from hpo.data.download import fetch; "
        "fetch(sys.argv[1], Path(sys.argv[2]), md5=sys.argv[3], size=int(sys.argv[4]))"
    )
    command = [sys.executable, "-c", program, url, str(destination), MD5, str(len(CONTENT))]
    root = str(Path(hpo.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": root, "no_proxy": "*"}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def test_of_two_processes_one_downloads_and_both_succeed(server: Server, destination: Path) -> None:
    server.delay = 0.7  # longer than the second one needs to start
    processes = [start_process(server.url, destination) for _ in range(2)]

    failures = [process.communicate(timeout=10)[1] for process in processes]

    assert failures == ["", ""]
    assert destination.read_bytes() == CONTENT
    assert server.asked == [None]


def test_a_killed_process_leaves_a_part_that_the_next_one_continues(
    server: Server, destination: Path
) -> None:
    server.silent_after = 200_000
    process = start_process(server.url, destination)
    while not part_of(destination).exists() or not part_of(destination).stat().st_size:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
    kept = part_of(destination).stat().st_size

    server.silent_after = None
    get(server.url, destination)

    assert destination.read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={kept}-"]


def test_a_stop_is_answered_while_another_process_downloads(
    server: Server, destination: Path
) -> None:
    server.silent_after = 1000
    process = start_process(server.url, destination)
    try:
        while not server.asked:
            assert process.poll() is None
            time.sleep(0.02)

        with pytest.raises(DownloadFailed, match="was stopped"):
            get(server.url, destination, stop=lambda: True)

        assert len(server.asked) == 1
    finally:
        process.kill()
        process.communicate(timeout=10)
