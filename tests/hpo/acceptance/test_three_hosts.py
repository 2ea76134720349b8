"""Three hosts and one PostgreSQL: one is cut off, one dies, one is suspended, the server restarts.

Each host has names of its own for itself and for processes, where the machine lets us (`unshare`), a
cache of its own, and a way of its own to the server, which can be cut. All have the same boot id.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from hpo.commands import looking
from hpo.commands.doctor import examine
from hpo.database import tables
from hpo.database.reader import read_once
from hpo.testing import until
from tests.hpo import stores
from tests.hpo.ways import Way

pytestmark = pytest.mark.long
SCRIPT = Path(sys.executable).with_name("hpo")
DIGITS = """
import hpo

STUDY = hpo.StudyDefinition(
    name="hosts", grid=hpo.Logarithmic(-5, -1, 12), n_s=6000, n_cycles=4, pruner="halving"
)
"""
CIFAR10 = """
import hpo

STUDY = hpo.StudyDefinition(
    name="hosts", grid=hpo.Logarithmic(-5, -1, 8), n_s=800, n_cycles=2, pruner="halving"
)
"""
NAMES = {"digits": "hosts-digits", "cifar10": "hosts"}
SECONDS = {"digits": 300, "cifar10": 900}


class Host:
    """A worker process that believes to be alone on a machine of its own."""

    def __init__(self, number: int, folder: Path, server: Any, data: str) -> None:
        self.way = Way(server)
        self._folder = folder / f"host {number}"
        self._folder.mkdir()
        self._name, self._data = f"host{number}", data
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        asked = ["worker", NAMES[self._data], "--data", self._data, "--grace", "6"]
        command = [*alone(self._name), str(SCRIPT), *asked, "--storage", self.way.url]
        environ = os.environ | {"HPO_CACHE": str(self._folder / "cache")}
        with (self._folder / "log").open("a") as log:
            process = subprocess.Popen(
                command,
                cwd=self._folder,
                env=environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)

    @property
    def worker(self) -> psutil.Process:
        """The process that trains."""
        below = psutil.Process(self.processes[-1].pid)
        return [below, *below.children(recursive=True)][-1]

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text()

    def end(self) -> None:
        self.way.close()
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def alone(name: str) -> list[str]:
    """Return what a command is started with to have names of its own, as far as that is allowed."""
    tried = ["unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
    script = f'hostname {name} && exec "$@"'
    command = [*tried, "sh", "-c", script, "sh"]
    if shutil.which("unshare") is None:
        return []
    works = subprocess.run([*command, "true"], capture_output=True, timeout=30).returncode == 0
    return command if works else []


server = stores.own_server


@pytest.mark.parametrize("data", ["digits", "cifar10"])
@pytest.mark.timeout(1800)
def test_whatever_happens_to_three_hosts_the_bits_are_those_of_one_worker(
    server: Any, data: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if data == "cifar10":
        request.getfixturevalue("cifar10_folder")
    (tmp_path / "hosts.py").write_text(DIGITS if data == "digits" else CIFAR10)
    url = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    study, run = NAMES[data], ["hosts.py", "--data", data]
    hpo(tmp_path, "submit", *run, "--storage", url)
    hosts = [Host(n, tmp_path, server, data) for n in range(3)]
    try:
        for host in hosts:
            host.start()
        until(lambda: len(holders(url)) == 3, seconds=120)

        hosts[0].way.is_open.clear()  # cut off
        hosts[1].worker.kill()
        until(lambda: hosts[1].processes[-1].poll() is not None, seconds=30)
        hosts[1].start()
        suspended = hosts[2].worker
        until(lambda: n_paused(url) > 0, seconds=SECONDS[data])
        suspended.suspend()
        time.sleep(3)
        hosts[0].way.is_open.set()
        server.stop()
        time.sleep(1)
        server.start()
        suspended.resume()

        ends = [host.processes[-1] for host in hosts]
        until(lambda: all(one.poll() is not None for one in ends), seconds=SECONDS[data])
        assert [one.returncode for one in ends] == [0, 0, 0], [host.log for host in hosts]
        assert "Traceback" not in "".join(host.log for host in hosts)
    finally:
        for host in hosts:
            host.end()
    hpo(tmp_path, "run", *run, "--storage", "sqlite:///one.db", "--workers", "1")
    one = f"sqlite:///{tmp_path / 'one.db'}"
    exported = [looking.export(place, study, "json", print) for place in (url, one)]
    assert exported[0] == exported[1]
    examine(url, repair=True)
    assert not [finding for finding in examine(url) if finding.is_wrong]


def hpo(folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        [SCRIPT, *arguments], cwd=folder, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr


def holders(url: str) -> set[str]:
    running = tables.attempts.select().where(tables.attempts.c.state == "running")
    return {row.worker_id for row in read_once(url, lambda c: c.execute(running).all())}


def n_paused(url: str) -> int:
    paused = tables.attempts.select().where(tables.attempts.c.state == "paused")
    return len(read_once(url, lambda c: c.execute(paused).all()))
