"""A process as a worker of a database, from entering to leaving (`hpo.database.fleet`)."""

import threading
import uuid
from types import TracebackType
from typing import Self

from hpo.database import fleet, housekeeping
from hpo.database.connections import Connection
from hpo.database.storage import Interrupted, Storage
from hpo.errors import HpoError
from hpo.machine.process import this_worker


class Membership:
    """A process as a worker, from entering to leaving; a thread keeps its heart beating."""

    def __init__(self, storage: Storage, grace: float = fleet.GRACE) -> None:
        self.id = str(uuid.uuid4())
        self.identity = this_worker() | {"id": self.id}
        self._storage = storage
        self._grace = grace
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        fleet.present.add(self.id)
        self._storage.write(self._enter)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join(timeout=1)
        self._storage.finish(self._leave)
        fleet.present.discard(self.id)

    def _enter(self, connection: Connection) -> None:
        self._register(connection)
        housekeeping.sweep(connection)

    def _register(self, connection: Connection) -> None:
        fleet.register(connection, self.identity, self._grace)

    def _beat(self) -> None:
        while not self._over.wait(fleet.beat_of(self._grace)):
            try:
                self._storage.finish(self._touch, patience=self._grace / 6)
            except (HpoError, Interrupted, OSError):
                continue  # the next beat may get through; if none does, the lease is lost

    def _touch(self, connection: Connection) -> None:
        if self._over.is_set():
            return
        if not fleet.beat(connection, self.id):  # we were silent, and were swept
            self._register(connection)

    def _leave(self, connection: Connection) -> None:
        fleet.leave(connection, self.id)
        housekeeping.sweep(connection)
