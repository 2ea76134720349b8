"""Workers on a Dask cluster: whatever is killed, nothing is lost, no orphan stays, bits are the same."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import hpo
from hpo.commands import looking
from hpo.commands.doctor import examine
from hpo.commands.elsewhere import train
from hpo.errors import HpoError
from hpo.testing import until

pytest.importorskip("distributed")
pytestmark = pytest.mark.long
SCRIPT = Path(sys.executable).with_name("hpo")
DASK = Path(sys.executable).with_name("dask")
STUDY = """
import hpo

STUDY = hpo.StudyDefinition(
    name="long", grid=hpo.Logarithmic(-5, -1, 12), n_s=1500, n_cycles=4, pruner="halving"
)
"""
RUN = ("run", "long.py", "--data", "digits")


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The export of a run that nothing disturbed, with one worker on SQLite."""
    folder = tmp_path_factory.mktemp("quiet")
    (folder / "long.py").write_text(STUDY)
    url = f"sqlite:///{folder / 'quiet.db'}"
    run = [SCRIPT, *RUN, "--workers", "1", "--storage", url]
    assert subprocess.run(run, cwd=folder, capture_output=True, timeout=120).returncode == 0
    return looking.export(url, "long-digits", "json", print)


class Cluster:
    """A scheduler and two Dask workers under their nannies, all processes of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.file = folder / "a scheduler.json"
        self.scheduler = self._start("scheduler", "--port", "0", "--no-dashboard")
        until(self.file.exists, seconds=60)
        self.workers = [self.add() for _ in range(2)]

    def add(self) -> "subprocess.Popen[bytes]":
        return self._start("worker", "--nthreads", "1", "--no-dashboard")

    def _start(self, what: str, *more: str) -> "subprocess.Popen[bytes]":
        asked = [DASK, what, "--scheduler-file", self.file, *more]
        with (self._folder / "dask.log").open("a") as log:
            return subprocess.Popen(asked, cwd=self._folder, stdout=log, stderr=log)

    @property
    def children(self) -> list[psutil.Process]:
        """The `hpo worker` children on all Dask workers."""
        found = []
        for worker in self.workers:
            if worker.poll() is None:
                for one in psutil.Process(worker.pid).children(recursive=True):
                    try:
                        if any("hpo.workers.member" in word for word in one.cmdline()):
                            found.append(one)
                    except psutil.Error:
                        continue
        return found

    def end(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.terminate()
        for process in (*self.workers, self.scheduler):
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    (tmp_path / "long.py").write_text(STUDY)
    found = Cluster(tmp_path)
    yield found
    found.end()


def running(cluster: Cluster, folder: Path, url: str) -> "subprocess.Popen[str]":
    asked = [SCRIPT, *RUN, "--storage", url, "--dask", cluster.file]
    process = subprocess.Popen(
        asked, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until(lambda: process.poll() is not None or len(cluster.children) == 2, seconds=60)
    assert process.poll() is None, process.communicate()
    return process


def test_killed_children_and_dask_workers_cost_nothing(
    cluster: Cluster, tmp_path: Path, postgresql_url: str, quiet: str
) -> None:
    process = running(cluster, tmp_path, postgresql_url)
    until(lambda: n_running(postgresql_url) > 0, seconds=60)
    killed = cluster.children[0]
    killed.kill()
    until(lambda: killed not in cluster.children and len(cluster.children) == 2, seconds=60)

    nanny = psutil.Process(cluster.workers[0].pid)
    orphans = [one for one in cluster.children if nanny in one.parents()]
    (dask_worker,) = [one for one in nanny.children() if is_dask_worker(one)]
    dask_worker.kill()
    until(lambda: not any(one.is_running() for one in orphans), seconds=60)
    until(lambda: len(cluster.children) == 2, seconds=60)
    cluster.workers.append(cluster.add())  # a node that appears

    out, told = process.communicate(timeout=200)
    assert process.returncode == 0, told
    assert out.startswith("long-digits: 12 of 12 done")
    assert looking.export(postgresql_url, "long-digits", "json", print) == quiet
    until(lambda: not cluster.children, seconds=60)
    assert not [finding for finding in examine(postgresql_url) if finding.is_wrong]


def is_dask_worker(process: psutil.Process) -> bool:
    """Tell the process that trains under a nanny from what helps it."""
    return bool(process.children())


def n_running(url: str) -> int:
    import json

    return sum(one["running"] for one in json.loads(looking.waiting(url, print, "json"))["queue"])


def test_a_lost_scheduler_is_told_and_ordinary_workers_go_on(
    cluster: Cluster, tmp_path: Path, postgresql_url: str, quiet: str
) -> None:
    process = running(cluster, tmp_path, postgresql_url)
    until(lambda: n_running(postgresql_url) > 0, seconds=60)
    children = cluster.children
    ordinary = subprocess.Popen(
        [SCRIPT, "worker", "long-digits", "--data", "digits", "--storage", postgresql_url],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
    )
    os.kill(cluster.scheduler.pid, signal.SIGKILL)

    _, told = process.communicate(timeout=120)
    assert process.returncode in (0, 1), told  # the ordinary one may have been quick
    if process.returncode:
        assert "is gone, and its workers end with it. Nothing is lost" in told
    assert "Traceback" not in told
    assert ordinary.wait(timeout=200) == 0
    assert looking.export(postgresql_url, "long-digits", "json", print) == quiet
    until(lambda: not any(one.is_running() for one in children), seconds=60)


def test_a_cluster_of_this_machine_runs_a_study(tmp_path: Path, quiet: str) -> None:
    (tmp_path / "long.py").write_text(STUDY)
    asked = [SCRIPT, *RUN, "--dask", "local", "--storage", "sqlite:///here.db"]
    done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    url = f"sqlite:///{tmp_path / 'here.db'}"
    assert looking.export(url, "long-digits", "json", print) == quiet


def test_ctrl_c_lets_the_children_give_back(tmp_path: Path) -> None:
    (tmp_path / "long.py").write_text(STUDY.replace("1500", "200_000"))
    asked = [SCRIPT, *RUN, "--dask", "local", "--storage", "sqlite:///here.db"]
    process = subprocess.Popen(asked, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    url = f"sqlite:///{tmp_path / 'here.db'}"
    until(lambda: (tmp_path / "here.db").exists() and is_written(url), seconds=60)
    until(lambda: n_running(url) > 0, seconds=60)
    time.sleep(1)
    below = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    until(lambda: not any(one.is_running() for one in below), seconds=30)
    assert n_running(url) == 0


def is_written(url: str) -> bool:
    try:
        return bool(looking.waiting(url, lambda _: None, "json"))
    except HpoError:
        return False


def test_a_file_of_this_machine_is_no_database_for_others(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'here.db'}"
    study = hpo.submit("coarse", data="digits", storage=url)
    with pytest.raises(HpoError, match="An SQLite file cannot be reached"):
        of_study(study, "tcp://10.0.0.1:8786")


def test_a_scheduler_that_does_not_answer_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpo.commands.on_dask.ANSWERS_IN", 0.5)
    url = f"sqlite:///{tmp_path / 'here.db'}"
    study = hpo.submit("coarse", data="digits", storage=url)
    with pytest.raises(HpoError, match="No Dask scheduler answers at 'tcp://127.0.0.1:1'"):
        of_study(study, "tcp://127.0.0.1:1")


def of_study(study: hpo.Study, where: str) -> Any:
    from hpo.data import sources
    from hpo.database.storage import Storage
    from hpo.mirror import study as studies

    with Storage(study.storage) as storage:
        found = studies.find(storage, study.name)
        assert found is not None
        source = sources.resolve("digits", environ={}, notify=print, report=lambda *_: None)
        return train(found, source, where, lambda: False, 60.0)


def test_a_study_that_is_called_off_ends_its_run_on_a_cluster(
    cluster: Cluster, tmp_path: Path, postgresql_url: str
) -> None:
    (tmp_path / "long.py").write_text(STUDY.replace("1500", "200_000"))
    process = running(cluster, tmp_path, postgresql_url)
    until(lambda: n_running(postgresql_url) > 0, seconds=60)
    hpo.cancel("long-digits", storage=postgresql_url)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1, told
    assert "'long-digits' was called off; `hpo run long --data digits" in told
    until(lambda: not cluster.children, seconds=60)


def test_two_runs_of_a_study_share_a_cluster_and_each_comes_to_its_end(
    cluster: Cluster, tmp_path: Path, postgresql_url: str, quiet: str
) -> None:
    both = [running(cluster, tmp_path, postgresql_url) for _ in range(2)]
    until(lambda: n_running(postgresql_url) > 0, seconds=60)
    both[0].send_signal(signal.SIGINT)  # and takes the workers along
    assert both[0].wait(timeout=60) == 130
    out, told = both[1].communicate(timeout=200)
    assert both[1].returncode == 0, told
    assert "Traceback" not in told
    assert out.startswith("long-digits: 12 of 12 done")
    assert looking.export(postgresql_url, "long-digits", "json", print) == quiet
    for pipe in (both[0].stdout, both[0].stderr):
        assert pipe is not None
        pipe.close()


def test_what_a_cluster_cannot_reach_is_refused_before_there_is_a_study(tmp_path: Path) -> None:
    asked = [SCRIPT, "run", "coarse", "--data", "digits", "--dask", "tcp://10.0.0.1:8786"]
    done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "An SQLite file cannot be reached" in done.stderr
    assert not (tmp_path / "hpo.db").exists()
