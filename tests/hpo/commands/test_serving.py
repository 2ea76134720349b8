"""``hpo serve``: keeps workers, answers machines and browsers, and lives through what happens to it."""

import json
import logging
import random
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

import hpo
from hpo.commands import serving
from hpo.commands.doctor import examine
from hpo.database import tables
from hpo.database.storage import Storage
from hpo.testing import until
from tests.hpo import stores

pytest.importorskip("waitress")
pytest.importorskip("prometheus_client")
pytestmark = pytest.mark.long
SCRIPT = Path(sys.executable).with_name("hpo")
server = stores.own_server


LONG = hpo.StudyDefinition(
    name="long", grid=hpo.Values((1e-4, 1e-3, 1e-2, 1e-1)), n_s=1000, n_cycles=4, pruner="halving"
)


class Served:
    """A service in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self.process, self._log = process, log
        self.address = ""

    def events(self, kind: str = "") -> list[dict[str, Any]]:
        told = [json.loads(line) for line in self._log.read_text().splitlines()]
        return [one for one in told if kind in ("", one["event"])]

    def asked(self, path: str, **options: Any) -> tuple[int, str]:
        request = urllib.request.Request(self.address + path, **options)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    @property
    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()


@contextmanager
def served(folder: Path, url: str, *more: str) -> Iterator[Served]:
    log = folder / f"log {random.randrange(10**6)}"
    asked = [SCRIPT, "serve", "--storage", url, "--data", "digits", "--port", "0", *more]
    with (
        log.open("w") as err,
        subprocess.Popen(asked, cwd=folder, stderr=err, text=True) as process,
    ):
        found = Served(process, log)
        try:
            until(lambda: process.poll() is not None or found.events("ready"), seconds=60)
            assert process.poll() is None, log.read_text()
            found.address = found.events("ready")[0]["address"].rstrip("/")
            yield found
        finally:
            process.kill()


def test_a_service_trains_what_is_submitted_and_answers(url: str, tmp_path: Path) -> None:
    with served(tmp_path, url, "--workers", "2") as service:
        study = hpo.submit("coarse", data="digits", storage=url)
        until(lambda: study.is_complete, seconds=60)
        until(lambda: len(service.events("trial")) == 8)

        assert service.asked("/healthz") == (200, "alive\n")
        assert service.asked("/readyz") == (200, "ready\n")
        status, told = service.asked("/metrics")
        assert status == 200
        assert 'hpo_trials{state="ended",study="coarse-digits"} 8.0' in told
        assert "hpo_kept_workers 2.0" in told
        assert "hpo_database_up 1.0" in told
        assert service.asked("/dashboard")[0] == 200
        assert "coarse-digits" in service.asked("/api/studies")[1]

        assert service.asked("/metrics", headers={"Host": "evil.example"})[0] == 421
        assert service.asked("/dashboard", headers={"Host": "evil.example"})[0] == 421
        status, told = service.asked("/api/studies", data=b"{}")
        assert (status, "nothing was changed" in told) == (405, True)
        assert service.asked("/healthz", data=b"")[0] == 405

        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(timeout=30) == 143
        assert [one["status"] for one in service.events("worker left")] == [0, 0]
        assert service.events()[-1]["event"] == "ended"
    assert not [finding for finding in examine(url) if finding.is_wrong]
    with Storage(url) as storage:
        assert storage.read(lambda c: c.execute(tables.workers.select()).all()) == []


def test_a_service_lives_through_a_storm_and_leaves_no_orphan(url: str, tmp_path: Path) -> None:
    rng = random.Random(7)
    quiet = f"sqlite:///{tmp_path / 'quiet.db'}"
    undisturbed = hpo.run(LONG, data="digits", storage=quiet)
    with served(tmp_path, url, "--workers", "3") as service:
        studies = []
        for n in range(12):
            studies.append(hpo.submit(LONG, data="digits", storage=url, name=f"s{n}"))
            time.sleep(rng.uniform(0.1, 1.5))
            if n % 2 and service.children:
                rng.choice(service.children).kill()
        until(lambda: all(study.is_complete for study in studies), seconds=240)
        assert service.process.poll() is None
        assert len(service.events("worker died")) >= 3
        left = [child.pid for child in service.children]
        service.process.kill()
    until(lambda: not any(psutil.pid_exists(pid) for pid in left))
    assert {len(study.results) for study in studies} == {4}
    assert {tuple(r.value for r in study.results) for study in studies} == {
        tuple(r.value for r in undisturbed.results)
    }
    examine(url, repair=True)
    assert not [finding for finding in examine(url) if finding.is_wrong]


def test_a_service_says_that_it_is_not_ready_while_the_database_is_away(
    server: Any, tmp_path: Path
) -> None:
    url = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    with served(tmp_path, url, "--workers", "1") as service:
        assert service.asked("/readyz")[0] == 200
        server.stop()
        assert service.asked("/readyz")[0] == 503
        assert service.asked("/healthz")[0] == 200
        assert "hpo_database_up 0.0" in service.asked("/metrics")[1]
        server.start()
        until(lambda: service.asked("/readyz")[0] == 200, seconds=60)
        study = hpo.submit("coarse", data="digits", storage=url)
        until(lambda: study.is_complete, seconds=60)
        assert service.process.poll() is None


def test_two_services_on_one_database_share_the_work(url: str, tmp_path: Path) -> None:
    with (
        served(tmp_path, url, "--workers", "1") as one,
        served(tmp_path, url, "--workers", "1") as two,
    ):
        studies = [hpo.submit("coarse", data="digits", storage=url, name=f"s{n}") for n in range(8)]
        until(lambda: all(study.is_complete for study in studies), seconds=120)
        until(lambda: len(one.events("trial")) + len(two.events("trial")) == 64)
        assert one.events("trial")
        assert two.events("trial")


def test_supervisors_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)
        systemd.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        monkeypatch.setenv("WATCHDOG_USEC", "2000000")
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        with served(tmp_path, f"sqlite:///{tmp_path / 'hpo.db'}", "--workers", "1") as service:
            assert systemd.recv(100) == b"READY=1"
            assert systemd.recv(100) == b"WATCHDOG=1"
            service.process.send_signal(signal.SIGTERM)
            told = b""
            while told != b"STOPPING=1":
                told = systemd.recv(100)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--log-format", "xml"), "--log-format must be text or json"),
        (("--storage", "mysql://x/y"), "mysql"),
        (("--host", "192.0.2.1"), "--host '192.0.2.1' is no address of this machine"),
        (("--host", "no such host"), "--host 'no such host' is no address of this machine"),
    ],
)
def test_what_a_service_cannot_do_is_a_sentence(
    tmp_path: Path, more: tuple[str, ...], said: str
) -> None:
    asked = [SCRIPT, "serve", "--data", "digits", "--port", "0", *more]
    done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_nobody_waits_for_a_janitor_whose_database_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "TIDIES_FOR", 0.3)
    hurry = serving._Hurry(lambda: False)
    url = f"sqlite:///{tmp_path / 'hpo.db'}"
    with Storage(url, hurry) as storage, Storage(url) as other, other.engine.begin():
        began = time.monotonic()
        with hurry:
            serving._tidy(storage, logging.getLogger("a test"))
        assert time.monotonic() - began < 10
        assert not hurry()
