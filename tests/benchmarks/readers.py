"""Do readers slow the workers? Alternating runs of one study, alone and being looked at.

Readers are `hpo status` in a loop and a stock optuna-dashboard whose API is polled as its page
polls it. Time is from the first claim to the last result, on the database's clock. With --pinned
one worker has core 0 and the readers core 1, so that they share the database but no core.

    .venv/bin/python tests/benchmarks/readers.py --repetitions 5 --pinned
"""

import argparse
import json
import os
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import closing
from pathlib import Path

BIN = Path(sys.executable).parent
STATUS_PAUSE = 2.0  #: seconds between two `hpo status`
POLL_PAUSE = 2.0  #: seconds between two looks of the dashboard's page
STUDY = """
from hpo.definition.study import StudyDefinition
from hpo.definition.grids import Logarithmic

STUDY = StudyDefinition(name="watched", grid=Logarithmic(-5, -1, 24), n_s=300, n_cycles=24)
"""


class Readers:
    """Looks at a database until it is told that this is over."""

    def __init__(self, url: str, core: list[str]) -> None:
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.n_status = self.n_polls = 0
        self.failures: list[str] = []
        self._status = [*core, BIN / "hpo", "status", "--storage", url]
        self._api = f"http://127.0.0.1:{port}/api/studies"
        self._over = threading.Event()
        self._dashboard = subprocess.Popen(
            [*core, BIN / "optuna-dashboard", url, "--port", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait_for_dashboard()
        self._threads = [threading.Thread(target=t) for t in (self._ask_status, self._poll)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._dashboard.terminate()
        self._dashboard.wait()

    def _wait_for_dashboard(self) -> None:
        for _ in range(300):
            try:
                self._get("")
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise RuntimeError("The dashboard does not start.")

    def _get(self, path: str) -> dict[str, list[dict[str, int]]]:
        with urllib.request.urlopen(self._api + path, timeout=5) as answer:
            found: dict[str, list[dict[str, int]]] = json.load(answer)
        return found

    def _ask_status(self) -> None:
        while not self._over.wait(STATUS_PAUSE):
            done = subprocess.run(self._status, capture_output=True, text=True)
            self.n_status += 1
            if done.returncode:
                self.failures.append(done.stderr)

    def _poll(self) -> None:
        while not self._over.wait(POLL_PAUSE):
            try:
                for study in self._get("")["study_summaries"]:
                    self._get(f"/{study['study_id']}?after=0")
            except OSError as error:
                self.failures.append(repr(error))
            self.n_polls += 1


def seconds(folder: Path, name: str, with_readers: bool, options: argparse.Namespace) -> float:
    """Train the study once and return how long that took."""
    url = f"sqlite:///{folder / name}.db"
    mine, theirs = (["taskset", "-c", n] if options.pinned else [] for n in "01")
    n_workers = "1" if options.pinned else "2"
    what = (
        ["coarse", "--pruner", "none", "--data", options.cifar]
        if options.cifar
        else ["watched.py", "--data", "digits"]
    )
    command = [BIN / "hpo", "submit", *what, "--storage", url]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    readers = Readers(url, theirs) if with_readers else None  # its start is not measured
    if readers:
        readers.start()
    run = [*mine, BIN / "hpo", "run", *what, "--storage", url, "--workers", n_workers]
    subprocess.run(run, cwd=folder, check=True, capture_output=True)
    looks = ""
    if readers:
        readers.stop()
        looks = f", {readers.n_status} status, {readers.n_polls} polls, failed {readers.failures}"
    with closing(sqlite3.connect(folder / f"{name}.db")) as connection:
        query = "select max(ended_at) - min(claimed_at) from hpo_attempts"
        (taken,) = connection.execute(query).fetchone()
    tell(f"{name}: {taken:.2f} s, load {os.getloadavg()[0]:.1f}{looks}")
    return float(taken)


def tell(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--pinned", action="store_true")
    parser.add_argument("--cifar", help="folder of CIFAR-10: the coarse study instead of digits")
    options = parser.parse_args()
    taken: dict[bool, list[float]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "watched.py").write_text(STUDY)
        for n in range(options.repetitions):
            for with_readers in (n % 2 == 0, n % 2 == 1):  # neither is always first
                name = f"{n}-{'readers' if with_readers else 'alone'}"
                taken[with_readers].append(seconds(Path(folder), name, with_readers, options))
    for with_readers, times in taken.items():
        tell(
            f"{'readers' if with_readers else 'alone  '} mean {statistics.mean(times):.2f} s, standard "
            f"deviation {statistics.stdev(times):.2f} s, of {len(times)}"
        )
    slower = [b / a - 1 for a, b in zip(taken[False], taken[True], strict=True)]
    tell(
        f"slower by {statistics.mean(slower):.1%}, standard deviation {statistics.stdev(slower):.1%}"
    )


if __name__ == "__main__":
    main()
