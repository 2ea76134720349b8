"""Several worker processes for one study, watched over by the process that started them.

Each process has a pipe to its parent: the story goes up, the wish to stop comes down, and when
the parent dies the pipe closes, which is a wish to stop too. A process that dies by itself is
replaced; if that keeps happening without any progress, the crew gives up.
"""

import signal
import subprocess
from collections.abc import Callable
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from typing import Any

from hpo import rows
from hpo.errors import HpoError, WorkersDie
from hpo.member import STOP, Job, Member, Reserve, receive, tell
from hpo.plan import plan
from hpo.progress import Progress
from hpo.sources import Source
from hpo.storage import Storage
from hpo.study import OpenStudy

MAX_DEATHS = 3  #: deaths a worker without any result or finished cycle in between
PAUSE = 0.1  #: seconds between two looks at whether to stop


def work(
    storage: Storage,
    study: OpenStudy,
    source: Source,
    n_workers: int,
    progress: Progress,
    stop: Callable[[], bool],
    grace: float,
    reserve: Reserve,
) -> None:
    """Train the study with ``n_workers`` processes until nothing is left or ``stop`` says so.

    Raises:
        WorkersDie: Processes keep dying and nothing gets done.
        HpoError: A worker met a mistake of the user's; its sentence is passed on.
    """
    job = Job(storage.url, study.uuid, study.study_id, source, n_workers, grace, reserve.began)
    crew = [reserve.employ(job) for _ in range(n_workers)]
    n_deaths = 0
    reached = (0, 0)
    told = False
    try:
        while crew:
            storage.check()
            if stop() and not told:
                told = True
                for _, pipe in crew:
                    tell(pipe, STOP)
            pipes = {pipe: process for process, pipe in crew}
            for ready in wait(list(pipes), timeout=PAUSE):
                if not isinstance(ready, Pipe):
                    continue
                message = receive(ready)
                if message is not None:
                    _pass_on(message, progress)
                    continue
                process = pipes[ready]
                status = process.wait()
                crew.remove((process, ready))
                ready.close()
                if status == 0 or told:
                    continue
                before, reached = reached, _reached(storage, study)
                n_deaths = n_deaths + 1 if reached <= before else 1
                if n_deaths > MAX_DEATHS * n_workers:
                    raise WorkersDie(study.stored.name, status)
                progress.warn(f"A worker died ({_cause(status)}); another takes over.")
                plan(storage, study)
                crew.append(reserve.employ(job))
    finally:
        _dismiss(crew)


def _reached(storage: Storage, study: OpenStudy) -> tuple[int, int]:
    """Return how far the study is: results, and updates that checkpoints of the rest are at."""
    return storage.write(lambda connection: rows.progress_of(connection, study.uuid))


def _pass_on(message: tuple[Any, ...], progress: Progress) -> None:
    kind, *args = message
    if kind == "error":
        raise HpoError(args[0])
    if kind == "spent":
        args[0].received()
    getattr(progress, kind)(*args)


def _cause(status: int) -> str:
    if status < 0:
        return signal.Signals(-status).name
    return f"exit status {status}"


def _dismiss(crew: list[Member]) -> None:
    """Tell what is left to stop, and end it if it does not."""
    for _, pipe in crew:
        tell(pipe, STOP)
    for process, _ in crew:
        try:
            process.wait(timeout=3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
