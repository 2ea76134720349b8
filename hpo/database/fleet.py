"""The workers of a database: who they are, that they live, and what dead ones leave behind.

Each worker has one row and one heartbeat, on the database's clock. Who beats lives, whatever else
seems so. A worker is dead

- at once, when its process was one of this machine and is surely gone (`hpo.machine.process`), or it left;
- when it misses its beat while we watch, and there is a sign of its death: its process seems to be
  gone, or it has been silent for longer than its grace, or its last beat lies in the future. Clocks
  are set and machines are cloned, so no such sign is enough on its own;
- when we ourselves saw it silent for longer than its grace, whatever the database's clock says.

Then its running attempts fail, and planning gives their slots new ones. Rows of workers that hold
nothing any more are deleted; one that only was silent makes its row again with its next beat.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from hpo.database import rows
from hpo.database.tables import IS_RUNNING, attempts, workers
from hpo.experiment.records import Attempt, State
from hpo.machine import process
from hpo.machine.process import this_worker
from hpo.machine.sightings import Sightings

GRACE = 60.0  #: seconds of silence after which a worker of another host is dead
LONGEST_GRACE = 86_400.0  #: seconds that may be asked for
BEAT = 2.0  #: seconds between two heartbeats at most
MISSED = 2.5  #: beats in whose time one must be seen, or it is missed
DIED = "its process died"
SILENT = "its worker fell silent"
_heard = Sightings()
OF_WORKER = (
    workers.c.id,
    workers.c.identity,
    workers.c.heartbeat_at,
    workers.c.grace,
    workers.c.ended_at.label("left_at"),
)


def beat_of(grace: float) -> float:
    """Return the seconds between two heartbeats of a worker."""
    return min(grace / 6, BEAT)


def patience_of(grace: float) -> float:
    """Return for how many seconds a worker that seems dead is watched for a heartbeat."""
    return MISSED * beat_of(grace)


present: set[str] = set()  #: workers that this process is


@dataclass(frozen=True)
class WorkerRow:
    """A worker as the database knows it."""

    id: str
    identity: dict[str, Any]
    heartbeat_at: float
    silent_for: float  #: seconds since its last heartbeat; negative if a clock was set back
    grace: float
    has_left: bool = False

    @property
    def is_alive(self) -> bool:
        """Whether it may still be working, as far as a single look can tell."""
        return self.is_timely and not process.is_surely_gone(self.identity)

    @property
    def is_timely(self) -> bool:
        """Whether its last heartbeat lies in its grace period by the database's clock."""
        return -1.0 <= self.silent_for <= self.grace

    @property
    def is_missed(self) -> bool:
        """Whether it is time that it is heard again, so that one may wonder."""
        late = self.silent_for > patience_of(self.grace)
        return late or not self.is_timely or process.is_gone(self.identity)


def living(connection: Connection) -> list[WorkerRow]:
    """Return the workers that have not left, oldest first; some may be dead."""
    return [row for row in _all(connection) if not row.has_left]


def n_dead_holders(connection: Connection) -> int:
    """Return how many workers are known to be dead and still hold something."""
    known = {row.id: row for row in _all(connection)}
    held = _held(connection)
    return len({str(who.get("id")) for who, token in held if cause_of_death(who, token, known)})


def settle(
    look: Callable[[Callable[[Connection], bool]], bool], stop: Callable[[], bool] = lambda: False
) -> None:
    """Watch until it is known of everybody who holds something whether they live.

    Args:
        look: Runs an action on a connection to the database.
    """
    end = time.monotonic() + 3 * patience_of(GRACE)
    while look(_is_undecided) and time.monotonic() < end and not stop():
        time.sleep(min(0.25, patience_of(GRACE) / 10))


def bury(connection: Connection, study: str) -> list[Attempt]:
    """Fail the running attempts of dead workers and return them."""
    running = rows.reached_of(connection, study)
    known = {row.id: row for row in _all(connection)}  # second: who claims is registered
    buried = []
    for attempt, saved in running:
        reason = cause_of_death(attempt.worker, attempt.token, known)
        if reason is not None and rows.update_attempt(
            connection,
            study,
            attempt,
            was=State.RUNNING,
            state=State.FAILED,
            reason=reason,
            saved=saved,
            ended_at=rows.now(connection),
            token=None,
            in_optuna=False,
        ):
            buried.append(attempt)
    sweep(connection)
    return buried


def sweep(connection: Connection) -> None:
    """Delete the rows of workers that left, are dead or have been silent, and hold nothing."""
    over = [row.id for row in _all(connection) if row.has_left or not row.is_timely or _cause(row)]
    if over:
        swept = set(over) - {who.get("id") for who, _ in _held(connection)}
        connection.execute(workers.delete().where(workers.c.id.in_(swept)))


def _all(connection: Connection) -> list[WorkerRow]:
    query = sa.select(*OF_WORKER, moment_of(connection))
    found = connection.execute(query.order_by(workers.c.started_at))
    return [worker_of(row, row.moment) for row in found]


def moment_of(connection: Connection) -> sa.ColumnElement[float]:
    """Return the time on the database's clock, once for all rows of a statement."""
    return sa.select(rows.clock(connection)).scalar_subquery().label("moment")


def worker_of(row: Row[Any], moment: float) -> WorkerRow:
    """Return what a row says of its worker, at a moment of the database's clock."""
    beat = number(row.heartbeat_at)
    return WorkerRow(
        row.id,
        identity(row.identity),
        beat,
        moment - beat,
        number(row.grace) or GRACE,
        row.left_at is not None,
    )


def _held(connection: Connection) -> list[tuple[dict[str, Any], str | None]]:
    """Return who holds running attempts of any study, with the token of each claim."""
    query = sa.select(attempts.c.worker, attempts.c.token).where(IS_RUNNING)
    return [(identity(row.worker), row.token) for row in connection.execute(query.distinct())]


def _is_undecided(connection: Connection) -> bool:
    known = {row.id: row for row in _all(connection)}
    for who, token in _held(connection):
        row = known.get(who.get("id", ""))
        if cause_of_death(who, token, known):
            continue
        if row is None and "id" in who:
            return True
        if row is not None and (not row.is_timely or process.is_gone(row.identity)):
            return True
    return False


def cause_of_death(
    identity: dict[str, Any] | None, token: str | None, known: dict[str, WorkerRow]
) -> str | None:
    """Return why who holds a claim is dead, or None if it lives as far as we know."""
    if identity is None or process.is_surely_gone(identity):
        return DIED
    if "id" not in identity:  # an objective of a user's own, which no heart beats for
        return DIED if process.is_gone(identity) else None
    if _is_left_behind(identity):
        return DIED
    worker = known.get(identity["id"])
    if worker is not None:
        return _cause(worker)
    # Its row was swept while it was silent: if it woke, its next beat makes a new one.
    unheard = _heard.unchanged_for(f"token {token}", token)
    return DIED if unheard > patience_of(GRACE) else None


def _is_left_behind(identity: dict[str, Any]) -> bool:
    """Tell whether this very process was that worker, and is it no more: a full disk kept its row."""
    is_ours = all(identity.get(key) == value for key, value in this_worker().items())
    return is_ours and identity["id"] not in present


def _cause(worker: WorkerRow) -> str | None:
    """Return why a worker is dead, or None if it lives as far as we know."""
    unheard = _heard.unchanged_for(worker.id, worker.heartbeat_at)
    if worker.has_left or process.is_surely_gone(worker.identity):
        return DIED
    is_missed = unheard > patience_of(worker.grace)
    if is_missed and process.is_gone(worker.identity):
        return DIED
    if unheard > worker.grace or (is_missed and not worker.is_timely):
        return SILENT
    return None


def identity(text: str | None) -> dict[str, Any]:
    """Return an identity as it was stored; of a damaged one nothing is known."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def number(stored: Any) -> float:
    """Return a number as it was stored; a damaged one is 0, which is long ago."""
    try:
        found = float(stored)
    except (TypeError, ValueError):
        return 0.0
    return found if math.isfinite(found) else 0.0
