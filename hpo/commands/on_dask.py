"""Workers on a Dask cluster: each of its workers keeps `hpo worker` children, bound by a pipe.

Dask places processes, and carries no results: those are in the database. A Dask worker that is killed takes
its children with it; one that appears gets its own.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import distributed
from distributed.diagnostics.plugin import WorkerPlugin

from hpo.commands.keeping import Keeper, Watch

ANSWERS_IN = 15.0  #: seconds that a scheduler has to answer
dask: Any = distributed  # which has no types


class KeptWorkers(WorkerPlugin):
    """Keeps a child for each thread of a Dask worker."""

    idempotent = True

    def __init__(self, watch: Watch) -> None:
        self.name = f"hpo worker {' '.join(watch.studies)}"
        self._watch = watch

    def setup(self, worker: Any) -> None:
        """Start them, in a Dask worker."""
        watch, n = replace(self._watch, environ=dict(os.environ)), worker.state.nthreads
        self._over, self._keeper = threading.Event(), Keeper(watch, n, _logged)
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


def _logged(_: int, kind: str, told: tuple[Any, ...]) -> None:
    if kind in ("error", "stumbled", "died"):  # into the Dask worker's own log
        logging.getLogger("distributed.worker").error("hpo worker: %s %s", kind, told[0])


@contextmanager
def working(where: str, watch: Watch) -> Iterator[Callable[[], bool]]:
    """Keep workers on a cluster for the time of a block, which gets what tells if it is there still."""
    plugin, seen = KeptWorkers(watch), time.monotonic()
    with ExitStack() as stack:
        asked: dict[str, Any] = {"scheduler_file" if Path(where).is_file() else "address": where}
        if where == "local":
            silent = {"dashboard_address": None, "silence_logs": logging.ERROR}
            asked = {
                "address": stack.enter_context(dask.LocalCluster(threads_per_worker=1, **silent))
            }
        client = stack.enter_context(dask.Client(**asked, timeout=ANSWERS_IN, set_as_default=False))
        client.register_plugin(plugin)

        def is_there() -> bool:
            nonlocal seen
            seen = time.monotonic() if client.status == "running" else seen
            return time.monotonic() - seen < ANSWERS_IN

        yield is_there
        if client.status == "running":
            client.unregister_worker_plugin(plugin.name)
