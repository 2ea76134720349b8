"""Workers that are kept: started again when they end, and gone when their parent is."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

import hpo
from hpo.commands import keeping
from hpo.commands.keeping import Keeper, Watch
from hpo.testing import until

pytestmark = [pytest.mark.long]


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    url = f"sqlite:///{tmp_path / 'a kept.db'}"
    hpo.submit("coarse", data="digits", storage=url)
    return Watch(url, "digits", environ={"HPO_CACHE": str(tmp_path)})


Told = list[tuple[int, str, tuple[Any, ...]]]


def test_kept_workers_train_what_waits_and_go_when_told_to(watch: Watch) -> None:
    told: Told = []
    keeper = Keeper(watch, 2, lambda *what: told.append(what))
    study = hpo.load("coarse-digits", storage=watch.url)
    end = time.monotonic() + 60
    while not study.is_complete and time.monotonic() < end:
        keeper.look(0.2)
    assert keeper.n_alive == 2
    keeper.drain()
    assert keeper.n_alive == 0
    assert study.is_complete
    kinds = [kind for _, kind, _ in told]
    assert kinds.count("started") == kinds.count("left") == 2
    assert kinds.count("ended") == 8


def test_one_that_dies_is_started_again_after_a_pause_that_grows(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "FIRST_PAUSE", 0.1)
    told: Told = []
    keeper = Keeper(watch, 1, lambda *what: told.append(what))
    keeper._places[0].pause = 0.1
    for n in range(3):
        until_started(keeper, n + 1)
        os.kill(keeper.pids[0], signal.SIGKILL)
    until_started(keeper, 4)
    keeper.drain()
    pauses = [what[1] for _, kind, what in told if kind == "died"]
    assert pauses == pytest.approx([0.2, 0.4, 0.8])


def until_started(keeper: Keeper, n: int) -> None:
    end = time.monotonic() + 30
    while keeper.n_starts < n or not keeper.pids:
        assert time.monotonic() < end
        keeper.look(0.05)


def test_a_worker_that_cannot_work_says_why(watch: Watch) -> None:
    told: Told = []
    keeper = Keeper(Watch(watch.url, "/no/such.npz"), 1, lambda *what: told.append(what))
    end = time.monotonic() + 30
    while not any(kind == "died" for _, kind, _ in told) and time.monotonic() < end:
        keeper.look(0.1)
    keeper.drain()
    (said,) = [what[0] for _, kind, what in told if kind == "error"]
    assert "/no/such.npz" in said


KEEPING = """
import sys
from hpo.commands.keeping import Keeper, Watch
keeper = Keeper(Watch(sys.argv[1], "digits"), 2, lambda *told: None)
while True:
    keeper.look(0.2)
    print(*keeper.pids, flush=True)
"""


def test_no_orphan_stays_when_the_parent_is_killed(watch: Watch) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KEEPING, watch.url], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pids: list[int] = []
        while len(pids) < 2:
            pids = list(map(int, parent.stdout.readline().split()))
        parent.kill()
    until(lambda: not any(psutil.pid_exists(pid) for pid in pids))


def test_where_no_process_can_be_made_it_is_told_and_tried_again_later(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: Told = []

    def none_left(*_: Any) -> Any:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    keeper = Keeper(watch, 1, lambda *what: told.append(what))
    with monkeypatch.context() as patched:
        patched.setattr(keeping.Reserve, "employ", none_left)
        for _ in range(3):
            keeper.look(0.01)
    assert [kind for _, kind, _ in told] == ["stumbled"]
    assert "No worker can be started" in told[0][2][0]
    until(lambda: keeper.look(0.1) or keeper.n_alive == 1, seconds=20)
    keeper.drain()
