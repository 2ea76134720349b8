"""Several worker processes for one study, watched over by the process that started them.

Each process has a pipe to its parent: the story goes up, the wish to stop comes down, and when
the parent dies the pipe closes, which is a wish to stop too. A process that dies by itself is
replaced; if that keeps happening without any progress, the crew gives up.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any

from hpo import rows
from hpo.errors import HpoError, WorkersDie
from hpo.plan import plan
from hpo.progress import Progress
from hpo.sources import Source
from hpo.storage import Storage
from hpo.study import OpenStudy

MAX_DEATHS = 3  #: deaths a worker without any result or finished cycle in between
PAUSE = 0.1  #: seconds between two looks at whether to stop


@dataclass(frozen=True)
class Job:
    """What a worker process must know; everything else is in the database."""

    url: str
    study: str  #: its name
    data: str  #: spec of the source
    n_workers: int
    grace: float


def work(
    storage: Storage,
    study: OpenStudy,
    source: Source,
    n_workers: int,
    progress: Progress,
    stop: Callable[[], bool],
    grace: float,
) -> None:
    """Train the study with ``n_workers`` processes until nothing is left or ``stop`` says so.

    Raises:
        WorkersDie: Processes keep dying and nothing gets done.
        HpoError: A worker met a mistake of the user's; its sentence is passed on.
    """
    job = Job(storage.url, study.stored.name, source.spec, n_workers, grace)
    crew = [_start(job) for _ in range(n_workers)]
    n_deaths = 0
    reached = (0, 0)
    told = False
    try:
        while crew:
            if stop() and not told:
                told = True
                for _, pipe in crew:
                    _tell(pipe)
            pipes = {pipe: process for process, pipe in crew}
            for ready in wait(list(pipes), timeout=PAUSE):
                if not isinstance(ready, Pipe):
                    continue
                message = _receive(ready)
                if message is not None:
                    _pass_on(message, progress)
                    continue
                process = pipes[ready]
                process.join()
                crew.remove((process, ready))
                ready.close()
                if process.exitcode == 0 or told:
                    continue
                before, reached = reached, _reached(storage, study)
                n_deaths = n_deaths + 1 if reached <= before else 1
                if n_deaths > MAX_DEATHS * n_workers:
                    raise WorkersDie(study.stored.name, process.exitcode)
                progress.warn(f"A worker died ({_cause(process.exitcode)}); another takes over.")
                plan(storage, study)
                crew.append(_start(job))
    finally:
        _dismiss(crew)


def _reached(storage: Storage, study: OpenStudy) -> tuple[int, int]:
    """Return how far the study is: results, and updates that checkpoints of the rest are at."""
    return storage.write(lambda connection: rows.progress_of(connection, study.uuid))


def _start(job: Job) -> tuple[BaseProcess, Pipe]:
    context = multiprocessing.get_context("spawn")  # database connections must not cross a fork
    ours, theirs = context.Pipe()
    # The last thing a process imports before NumPy is this module.
    process = context.Process(target=_main, args=(job, theirs), daemon=True)
    # Born with SIGINT blocked: a terminal sends it to all, and a child must not end while importing.
    resource_tracker.ensure_running()  # which would unblock it in between
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    theirs.close()
    return process, ours


def _main(job: Job, pipe: Pipe) -> None:
    """Work, as a process of its own."""
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent tells us
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    threading.Thread(target=_listen, args=(pipe, stopped), daemon=True).start()
    teller = _Teller(pipe, stopped)
    try:
        _work(job, teller, stopped.is_set)
    except HpoError as error:
        teller.send("error", str(error))
    except ValueError as error:
        from model.errors import ModelError

        if not isinstance(error, ModelError):
            raise
        teller.send("error", str(error))
    os._exit(0)  # the daemon threads of this process hold nothing that must be closed


def _work(job: Job, teller: "_Teller", stop: Callable[[], bool]) -> None:
    from hpo import study as studies
    from hpo import worker
    from hpo.fleet import Membership
    from hpo.sources import resolve
    from hpo.storage import Interrupted
    from hpo.trainer import Trainer

    try:
        storage = Storage(job.url, stop)
        study = studies.find(storage, job.study)
        if study is None:  # deleted meanwhile
            return
        source = resolve(job.data, environ=os.environ, notify=teller.warn, stop=stop)
        trainer = Trainer(study.experiment, source.training())
        with Membership(storage, job.grace) as member:
            worker.work(storage, study, trainer, teller, stop, member.identity, job.n_workers)
    except Interrupted:
        return


class _Teller:
    """A Progress at the other end of a pipe."""

    def __init__(self, pipe: Pipe, stopped: threading.Event) -> None:
        self._pipe = pipe
        self._stopped = stopped
        self._lock = threading.Lock()

    def send(self, *message: Any) -> None:
        """Tell the parent; if it is gone, stop."""
        try:
            with self._lock:
                self._pipe.send(message)
        except OSError:
            self._stopped.set()

    def began(self, *args: Any) -> None:
        """Tell nothing: the parent said it already."""

    def claimed(self, *args: Any) -> None:
        """Tell the parent."""
        self.send("claimed", *args)

    def advanced(self, *args: Any) -> None:
        """Tell the parent."""
        self.send("advanced", *args)

    def ended(self, *args: Any) -> None:
        """Tell the parent."""
        self.send("ended", *args)

    def warn(self, text: str) -> None:
        """Tell the parent."""
        self.send("warn", text)


def _listen(pipe: Pipe, stopped: threading.Event) -> None:
    """Wait for the parent's word; its death closes the pipe."""
    with contextlib.suppress(EOFError, OSError):
        pipe.recv()
    stopped.set()


def _tell(pipe: Pipe) -> None:
    try:
        pipe.send("stop")
    except OSError:
        return  # it is gone, and `work` will find out


def _receive(pipe: Pipe) -> tuple[Any, ...] | None:
    """Return a message of a worker, or None when it is gone."""
    try:
        message: tuple[Any, ...] = pipe.recv()
    except (EOFError, OSError):
        return None
    return message


def _pass_on(message: tuple[Any, ...], progress: Progress) -> None:
    kind, *args = message
    if kind == "error":
        raise HpoError(args[0])
    getattr(progress, kind)(*args)


def _cause(status: int | None) -> str:
    if status is not None and status < 0:
        return signal.Signals(-status).name
    return f"exit status {status}"


def _dismiss(crew: list[tuple[BaseProcess, Pipe]]) -> None:
    """Tell what is left to stop, and end it if it does not."""
    for _, pipe in crew:
        _tell(pipe)
    for process, _ in crew:
        process.join(timeout=3)
        if process.is_alive():
            process.kill()
            process.join()
