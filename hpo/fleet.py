"""The workers of a database: who they are, that they live, and what dead ones leave behind.

Each worker has one row and one heartbeat, on the database's clock. A worker is dead when its
process on this host is gone, or when it has been silent for longer than its grace period; then
its running attempts fail, and planning gives their slots new ones.
"""

import json
import threading
import uuid
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection

from hpo import rows
from hpo.errors import HpoError
from hpo.hosts import is_dead, this_worker
from hpo.storage import Interrupted, Storage
from hpo.tables import Attempt, workers

GRACE = 60.0  #: seconds of silence after which a worker of another host is dead
DIED = "its process died"
SILENT = "its worker fell silent"


@dataclass(frozen=True)
class WorkerRow:
    """A worker as the database knows it."""

    id: str
    identity: dict[str, Any]
    silent_for: float  #: seconds since its last heartbeat
    grace: float

    @property
    def is_alive(self) -> bool:
        """Whether it may still be working."""
        return self.silent_for <= self.grace and not is_dead(self.identity)


class Membership:
    """A process as a worker, from entering to leaving; a thread keeps its heart beating."""

    def __init__(self, storage: Storage, grace: float = GRACE) -> None:
        self.id = str(uuid.uuid4())
        self.identity = this_worker() | {"id": self.id}
        self._storage = storage
        self._grace = grace
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._storage.write(self._register)
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

    def _register(self, connection: Connection) -> None:
        moment = rows.now(connection)
        connection.execute(workers.delete().where(workers.c.id == self.id))
        connection.execute(
            workers.insert().values(
                id=self.id,
                identity=json.dumps(self.identity),
                started_at=moment,
                heartbeat_at=moment,
                grace=self._grace,
            )
        )

    def _beat(self) -> None:
        while not self._over.wait(min(self._grace / 6, 10.0)):
            try:
                self._storage.finish(self._touch, patience=self._grace / 6)
            except (HpoError, Interrupted):
                continue  # the next beat may get through; if none does, the lease is lost

    def _touch(self, connection: Connection) -> None:
        if self._over.is_set():
            return
        mine = workers.update().where(workers.c.id == self.id)
        connection.execute(mine.values(heartbeat_at=rows.now(connection), ended_at=None))

    def _leave(self, connection: Connection) -> None:
        mine = workers.update().where(workers.c.id == self.id)
        connection.execute(mine.values(ended_at=rows.now(connection)))


def living(connection: Connection) -> list[WorkerRow]:
    """Return the workers that have not left, oldest first; some may be dead."""
    moment = rows.now(connection)
    query = workers.select().where(workers.c.ended_at.is_(None)).order_by(workers.c.started_at)
    return [
        WorkerRow(row.id, json.loads(row.identity), moment - row.heartbeat_at, row.grace)
        for row in connection.execute(query)
    ]


def has_dead(connection: Connection, study: str) -> bool:
    """Tell whether a running attempt of the study is held by a dead worker."""
    running = rows.attempts_of(connection, study, states=["running"])
    known = {row.id: row for row in living(connection)} if running else {}
    return any(_cause_of_death(attempt.worker, known) for attempt in running)


def bury(connection: Connection, study: str) -> list[Attempt]:
    """Fail the running attempts of dead workers and return them."""
    running = rows.attempts_of(connection, study, states=["running"])
    silence = {row.id: row for row in living(connection)}  # second: who claims is registered
    buried = []
    for attempt in running:
        reason = _cause_of_death(attempt.worker, silence)
        if reason is not None and rows.update_attempt(
            connection,
            study,
            attempt,
            was="running",
            state="failed",
            reason=reason,
            ended_at=rows.now(connection),
            token=None,
            in_optuna=False,
        ):
            buried.append(attempt)
    _forget_the_dead(connection, silence)
    return buried


def _cause_of_death(identity: dict[str, Any] | None, known: dict[str, WorkerRow]) -> str | None:
    if identity is None or is_dead(identity):
        return DIED
    worker = known.get(identity.get("id", ""))
    if worker is None:  # it left, or is of schema 1, where workers had no rows
        return DIED if "id" in identity else None
    return SILENT if worker.silent_for > worker.grace else None


def _forget_the_dead(connection: Connection, known: dict[str, WorkerRow]) -> None:
    """Close the rows of dead workers; one that only was silent opens its row again by beating."""
    dead = [row.id for row in known.values() if not row.is_alive]
    if dead:
        closed = workers.update().where(workers.c.id.in_(dead))
        connection.execute(closed.values(ended_at=rows.now(connection)))
