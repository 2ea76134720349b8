"""A worker process: started early, given its job, and telling its story to its parent.

A process needs half a second to import what it works with. So a run has its processes started
first thing (`Reserve`), and tells them what to do once that is settled. This module is all that
the parent needs for that, and imports nothing that takes long.
"""

import contextlib
import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from typing import TYPE_CHECKING, Any, Protocol, Self

from hpo.errors import HpoError, StorageError, SystemFault
from hpo.machine import garbage, marks
from hpo.machine.process import began
from hpo.training.phases import Phases

if TYPE_CHECKING:
    from hpo.data.source import Source

#: Modules that a worker needs and that take long to import.
WHAT_TAKES_LONG = ("hpo.workers.worker", "hpo.data.prepared", "model.blas")
STOP = "stop"  #: what a process is told that shall stop
STUMBLED = 3  #: exit status of one that met a fault which others need not meet
Member = tuple["subprocess.Popen[bytes]", Pipe]


@dataclass(frozen=True)
class Job:
    """What a worker process must know; everything else is in the database."""

    url: str
    file: tuple[int, int] | None  #: the SQLite file there, as `hpo.database.storage.Storage.file`
    study: str  #: its uuid
    study_id: int  #: Optuna's
    data: "Source"  #: pinned
    n_workers: int
    grace: float
    began: float  #: when the run began, in seconds of `time.time`
    environ: dict[str, str]  #: where the cache is

    def carry_out(self, teller: "Teller", stop: Callable[[], bool], phases: Phases) -> None:
        """Do it, in the worker's own process."""
        _work(self, teller, stop, phases)


class Task(Protocol):
    """Something that a process is started for; it travels through a pipe."""

    @property
    def began(self) -> float:
        """When the whole of it began, in seconds of `time.time`."""

    def carry_out(self, teller: "Teller", stop: Callable[[], bool], phases: Phases) -> None:
        """Do it, in the worker's own process."""


class Reserve:
    """Worker processes that wait for a job; those that get none are ended with the block."""

    def __init__(self, n: int = 0) -> None:
        self.began = began()
        self._idle = [_start() for _ in range(n)]

    def employ(self, job: Task) -> Member:
        """Give a process its job and return it."""
        process, pipe = self._idle.pop() if self._idle else _start()
        tell(pipe, job)
        return process, pipe

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process, pipe in self._idle:  # they hold nothing yet
            process.kill()
            process.wait()
            pipe.close()


def _start() -> Member:
    """Start a fresh interpreter: database connections must not cross a fork."""
    ours, theirs = multiprocessing.Pipe()
    # As in the command line: a folder named `model` in the current one is not ours.
    first = "from hpo.machine.search_path import keep_to_ours; keep_to_ours()"
    program = f"{first}; from hpo.workers.member import main; main({theirs.fileno()})"
    command = [sys.executable, "-P", "-c", program]
    # Born with SIGINT blocked: a terminal sends it to all, and a child must not end while importing.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    theirs.close()
    return process, ours


def main(descriptor: int) -> None:
    """Work, as a process of its own, whose pipe to its parent is ``descriptor``."""
    garbage.collect_seldom()
    pipe = Pipe(descriptor)
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent tells us
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    for name in WHAT_TAKES_LONG:  # while the parent settles the job
        importlib.import_module(name)
    job = receive(pipe)
    if job is None or isinstance(job, str):  # the parent is gone, or told us to stop
        os._exit(0)
    threading.Thread(target=_listen, args=(pipe, stopped), daemon=True).start()
    teller = Teller(pipe, stopped)
    phases = Phases(job.began)
    status = 0
    try:
        job.carry_out(teller, stopped.is_set, phases)
    except HpoError as error:
        status = STUMBLED if type(error) in (StorageError, SystemFault) else 0
        teller.send("stumbled" if status else "error", str(error))
    except OSError as error:  # of this process alone, as far as it can know
        status = STUMBLED
        teller.send("stumbled", str(SystemFault(error)))
    except ValueError as error:
        from model.errors import ModelError

        if not isinstance(error, ModelError):
            raise
        teller.send("error", str(error))
    phases.lap("database")
    teller.spent(phases)
    marks.remove()
    os._exit(status)  # the daemon threads of this process hold nothing that must be closed


def _work(job: Job, teller: "Teller", stop: Callable[[], bool], phases: Phases) -> None:
    from hpo.data import prepared
    from hpo.database import rows
    from hpo.database.storage import Interrupted, Storage
    from hpo.mirror.study import OpenStudy
    from hpo.training.trainer import Trainer
    from hpo.workers import worker
    from hpo.workers.membership import Membership

    try:
        storage = Storage(
            job.url, stop, makes=False, is_ready=True, file=job.file, notify=teller.warn
        )
        stored = storage.read(lambda connection: rows.study_by_uuid(connection, job.study))
        if stored is None:  # deleted meanwhile
            return
        study = OpenStudy(stored, job.study_id, storage)
        trainer = Trainer(study.experiment, prepared.again(job.data, job.environ))
        with Membership(storage, job.grace) as member:
            worker.work(study, trainer, teller, stop, member, job.n_workers, phases)
        if not stop():
            teller.send("done")
    except Interrupted:
        return


class Teller:
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

    def grew(self, *args: Any) -> None:
        """Tell the parent."""
        self.send("grew", *args)

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

    def spent(self, phases: Phases) -> None:
        """Tell the parent."""
        self.send("spent", phases)


def _listen(pipe: Pipe, stopped: threading.Event) -> None:
    """Wait for the parent's word; its death closes the pipe."""
    with contextlib.suppress(EOFError, OSError):
        pipe.recv()
    stopped.set()


def tell(pipe: Pipe, message: object) -> None:
    """Send a message; one that is gone needs none."""
    try:
        pipe.send(message)
    except OSError:
        return


def receive(pipe: Pipe) -> Any:
    """Return a message, or None when the other end is gone."""
    try:
        return pipe.recv()
    except (EOFError, OSError):
        return None
