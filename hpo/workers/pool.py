"""Several worker processes for one study, watched over by the process that started them.

Each process has a pipe to its parent: the story goes up, the wish to stop comes down, and when
the parent dies the pipe closes, which is a wish to stop too. A process that dies by itself is
replaced; if that keeps happening without any progress, its place stays vacant until there is some.
What ends one does not end the others; when nobody is left, the crew gives up.
"""

import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from typing import Any

from hpo.data.source import Source
from hpo.database import tally
from hpo.errors import HpoError, StorageError, WorkersDie
from hpo.mirror.study import OpenStudy
from hpo.planning.plan import plan
from hpo.training.progress import Progress
from hpo.workers.member import STOP, STUMBLED, Job, Member, Reserve, receive, tell
from hpo.workers.stopped import Warden

MAX_DEATHS = 3  #: deaths a worker without any result or finished cycle in between
PAUSE = 0.1  #: seconds between two looks at whether to stop
LEAVE = 10.0  #: seconds in which a process ends that was told to


def work(
    study: OpenStudy,
    source: Source,
    n_workers: int,
    progress: Progress,
    stop: Callable[[], bool],
    grace: float,
    reserve: Reserve,
    environ: Mapping[str, str],
) -> None:
    """Train the study with ``n_workers`` processes until nothing is left or ``stop`` says so.

    Raises:
        WorkersDie: Processes keep dying and nothing gets done.
        HpoError: A worker met a mistake of the user's; its sentence is passed on.
    """
    job = Job(
        study.storage.url,
        study.storage.file,
        study.uuid,
        study.study_id,
        source,
        n_workers,
        grace,
        reserve.began,
        dict(environ),
    )
    crew = _Crew(study, progress, lambda: reserve.employ(job), n_workers)
    warden = Warden(study.storage, crew.processes, grace)
    warden.start()
    try:
        crew.work(stop, warden)
    finally:
        warden.leave()
        _dismiss(crew.members)


class _Crew:
    """The processes that work now, and what became of those before them."""

    def __init__(
        self,
        study: OpenStudy,
        progress: Progress,
        employ: Callable[[], Member],
        n_workers: int,
    ) -> None:
        self.members = [employ() for _ in range(n_workers)]
        self._storage, self._study, self._progress = study.storage, study, progress
        self._employ = employ
        self._n_workers = n_workers
        self._n_deaths = 0  #: since anything got done
        self._n_vacant = 0  #: places of those who died too often
        self._reached = (0, 0)
        self._told_at: float | None = None  #: when all were told to stop
        self._said: set[str] = set()
        self._fault = ""  #: what the last one said that could not go on
        self._status = 0  #: of the last one that died

    def processes(self) -> "list[subprocess.Popen[bytes]]":
        """Return the processes that work now."""
        return [process for process, _ in self.members]

    def work(self, stop: Callable[[], bool], warden: Warden) -> None:
        """Listen to them until all have ended."""
        while self.members and not self._is_late():
            self._storage.check()
            if stop():
                self._tell_to_stop()
            if self._told_at is not None:
                warden.is_over.set()
            members = {pipe: process for process, pipe in self.members}
            for ready in wait(list(members), timeout=PAUSE):
                if not isinstance(ready, Pipe):
                    continue
                message = receive(ready)
                if message is not None:
                    self._heard(*message)
                else:
                    self._ended(members[ready], ready, warden)
        if self._n_vacant and self._told_at is None:
            raise HpoError(self._fault) if self._fault else self._they_die()

    def _is_late(self) -> bool:
        return self._told_at is not None and time.monotonic() - self._told_at > LEAVE

    def _tell_to_stop(self) -> None:
        if self._told_at is None:
            self._told_at = time.monotonic()
            for _, pipe in self.members:
                tell(pipe, STOP)

    def _heard(self, kind: str, *args: Any) -> None:
        if kind == "error":
            raise HpoError(args[0])
        if kind == "stumbled":  # over a fault that need not be everybody's
            self._fault = args[0]
            return
        if kind == "done":  # nothing is left, so nobody has anything to do
            self._tell_to_stop()
            return
        if kind == "warn":  # several may wait for the same one
            if args[0] in self._said:
                return
            self._said.add(args[0])
        if kind == "spent":
            args[0].received()
        getattr(self._progress, kind)(*args)
        if kind == "ended":
            self._n_deaths = 0
            self._hire(self._n_vacant)

    def _ended(self, process: "subprocess.Popen[bytes]", pipe: Pipe, warden: Warden) -> None:
        status = process.wait()
        self.members.remove((process, pipe))
        pipe.close()
        if status == 0 or self._told_at is not None:
            return
        self._status = status
        was_stopped = process.pid in warden.ended
        with suppress(StorageError):  # one that holds it up may be gone soon
            before, self._reached = self._reached, _reached(self._study)
            self._n_deaths = self._n_deaths if self._reached <= before else 0
        self._n_deaths += not was_stopped
        if self._n_deaths > (1 if status == STUMBLED else MAX_DEATHS) * self._n_workers:
            self._n_vacant += 1  # the others may get on
            return
        what = "was stopped and held up others, so it was ended" if was_stopped else "died"
        cause = "" if was_stopped else f" ({_cause(status)})"
        if status == STUMBLED:
            self._progress.warn(f"A worker gave up; another takes over. {self._fault}")
        else:
            self._progress.warn(f"A worker {what}{cause}; another takes over.")
        with suppress(StorageError):
            plan(self._study)
        self._n_vacant += 1
        self._hire(1)

    def _hire(self, n: int) -> None:
        self._n_vacant -= n
        self.members += [self._employ() for _ in range(n)]

    def _they_die(self) -> WorkersDie:
        return WorkersDie(self._study.stored.name, self._status)


def _reached(study: OpenStudy) -> tuple[int, int]:
    """Return how far the study is: results, and updates that checkpoints of the rest are at."""
    return study.storage.read(lambda connection: tally.progress_of(connection, study.uuid))


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
