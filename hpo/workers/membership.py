"""A process as a worker of a database, from entering to leaving (`hpo.database.fleet`)."""

import json
import threading
import uuid
from types import TracebackType
from typing import Any, Self

from hpo.database import fleet, heartbeat, housekeeping, queue
from hpo.database.connections import Connection
from hpo.database.storage import Interrupted, Storage
from hpo.errors import HpoError
from hpo.machine.environment import versions
from hpo.machine.process import this_worker
from hpo.workers.gauge import Gauge


class Membership:
    """A process as a worker, from entering to leaving; a thread keeps its heart beating."""

    def __init__(
        self, storage: Storage, grace: float = fleet.GRACE, data: str | None = None
    ) -> None:
        """Prepare to be one.

        Args:
            data: Fingerprint of the images of who takes any study about them.
        """
        self.id = str(uuid.uuid4())
        self.gauge = Gauge()
        #: Whether the study was called off, or what is held was given to others, by the last beat.
        self.is_in_vain = False
        self._study: str | None = None
        self._data = data
        self._n_steps = 0  #: of the gauge, at the last beat
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

    def turn_to(self, study: str | None, *, is_asked: bool = False) -> None:
        """Work for a study from now on, or for none.

        Args:
            is_asked: Somebody runs this very study here, so that our versions are its own from now on.
        """
        self._study, self.is_in_vain = study, False
        self.gauge.turn()
        here = json.dumps(versions(), sort_keys=True) if is_asked else ""

        def turn(connection: Connection) -> None:
            heartbeat.turn(connection, self.id, study)
            if study is not None and is_asked:
                queue.begin(connection, study, here)

        self._storage.finish(turn)

    def _enter(self, connection: Connection) -> None:
        self._register(connection)
        housekeeping.sweep(connection)

    def _register(self, connection: Connection) -> None:
        told = json.dumps(versions()) if self._data is not None else None
        more = {"data": self._data, "versions": told, "study": self._study}
        heartbeat.register(connection, self.identity, self._grace, **more)

    def _beat(self) -> None:
        while not self._over.wait(fleet.beat_of(self._grace)):
            try:
                self._storage.finish(self._touch, patience=self._grace / 6)
            except (HpoError, Interrupted, OSError):
                continue  # the next beat may get through; if none does, the lease is lost

    def _touch(self, connection: Connection) -> None:
        if self._over.is_set():
            return
        gauge, study = self.gauge, self._study
        token, n_steps = gauge.token, gauge.n_steps
        moves = None if token is None else n_steps != self._n_steps
        progress: dict[str, Any] = {"pace": gauge.pace, "work_left": gauge.work_left}
        told = heartbeat.beat(connection, self.id, study, token, moves=moves, **progress)
        self._n_steps = n_steps
        if told is None:  # we were silent, and were swept
            self._register(connection)
        elif study is not None:
            was_lost = token is not None and token == gauge.token and not told.holds
            self.is_in_vain = study == self._study and (told.is_cancelled or was_lost)

    def _leave(self, connection: Connection) -> None:
        heartbeat.leave(connection, self.id)
        housekeeping.sweep(connection)
