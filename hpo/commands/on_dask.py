"""Workers on a Dask cluster: each of its workers keeps `hpo worker` children, bound by a pipe.

Dask places processes, and carries no results: those are in the database. A Dask worker that is killed takes
its children with it; one that appears gets its own.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import distributed
from distributed.diagnostics.plugin import WorkerPlugin

from hpo.commands.keeping import Keeper, Watch, into_log
from hpo.errors import HpoError

ANSWERS_IN = 15.0  #: seconds that a scheduler has to answer
LOG = logging.getLogger("distributed.worker")  #: which Dask shows
dask: Any = distributed  # which has no types


class KeptWorkers(WorkerPlugin):
    """Keeps a child for each thread of a Dask worker."""

    idempotent = True

    def __init__(self, watch: Watch) -> None:
        self.name = watch.title
        self._watch = watch

    def setup(self, worker: Any) -> None:
        """Start them, in a Dask worker."""
        watch = replace(self._watch, environ=dict(os.environ))
        self._over = threading.Event()
        self._keeper = Keeper(watch, worker.state.nthreads, into_log(LOG))
        self._thread = threading.Thread(target=self._keep, name="hpo", daemon=True)
        self._thread.start()

    def _keep(self) -> None:
        while not self._over.is_set():
            self._keeper.look(0.5)
        self._keeper.drain()

    def teardown(self, worker: Any) -> None:
        """Let them give back what they hold."""
        del worker
        self._over.set()
        self._thread.join(timeout=15)


@contextmanager
def working(where: str, watch: Watch) -> Iterator[Callable[[], bool]]:
    """Keep workers on a cluster for the time of a block, which gets what tells if it is there still.

    Args:
        where: Address of a scheduler, its file, or ``local``.

    Raises:
        HpoError: It does not answer.
    """
    for name in list(logging.root.manager.loggerDict):  # what is wrong is said in a sentence
        if name.partition(".")[0] in ("distributed", "tornado", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    asked: dict[str, Any] = {"scheduler_file" if Path(where).is_file() else "address": where}
    if where == "local":  # a cluster of the client's own, which ends with it
        asked = {
            "threads_per_worker": 1,
            "dashboard_address": None,
            "silence_logs": logging.CRITICAL,
        }
    try:
        client = dask.Client(**asked, timeout=ANSWERS_IN, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        told = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise HpoError(f"No Dask scheduler answers at {where!r} ({told}).") from error
    plugin = KeptWorkers(watch)
    seen = registered = time.monotonic()
    try:
        client.register_plugin(plugin)

        def is_there() -> bool:
            nonlocal seen, registered
            seen = time.monotonic() if client.status == "running" else seen
            if seen - registered > ANSWERS_IN:  # another run of the study may have ended
                registered = seen
                with suppress(OSError):
                    client.register_plugin(plugin)
            return time.monotonic() - seen < ANSWERS_IN

        yield is_there
    finally:
        if client.status == "running":
            with suppress(OSError, ValueError):  # another run of the study was the first to end
                client.unregister_worker_plugin(plugin.name)
        client.close(timeout=5)
