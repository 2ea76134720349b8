"""Work for idle workers: who holds a stack gives half of it back when somebody has none.

An idle worker says so in a row that expires (in the table of leases), and each holder looks for
such rows when it writes the end of a cycle, where trials can change hands without a loss.
"""

import json
import time
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy import Connection

from hpo import rows
from hpo.hosts import this_worker
from hpo.storage import Storage
from hpo.study import OpenStudy
from hpo.tables import leases

LASTS = 3.0  #: seconds that a worker counts as idle after it said so
WORTH_SHARING = 1.0  #: seconds of training left from which another worker's start pays


def say_idle(connection: Connection, study: str, worker: str) -> None:
    """Note that this worker has nothing to do for the study, for `LASTS` seconds."""
    no_longer_idle(connection, study, worker)
    connection.execute(
        leases.insert().values(
            name=_name(study, worker),
            token=worker,
            holder=json.dumps(this_worker()),
            expires_at=rows.now(connection) + LASTS,
        )
    )


def no_longer_idle(connection: Connection, study: str, worker: str) -> None:
    """Take that back."""
    connection.execute(leases.delete().where(leases.c.name == _name(study, worker)))


def n_idle(connection: Connection, study: str) -> int:
    """Return how many workers are idle while nothing of the study waits."""
    if rows.count_attempts(connection, study).get("waiting"):
        return 0
    here = sa.and_(
        leases.c.name.like(_name(study, "%")), leases.c.expires_at > rows.now(connection)
    )
    query = sa.select(sa.func.count()).select_from(leases).where(here)
    return connection.execute(query).scalar_one()


class Pace:
    """How long a stack takes for a cycle, and so what is left of it."""

    def __init__(self) -> None:
        self._cycle_began = time.monotonic()
        self._last_cycle = 0.0

    def cycle_ended(self) -> None:
        """Take the time of a cycle."""
        now = time.monotonic()
        self._last_cycle, self._cycle_began = now - self._cycle_began, now

    def surplus(
        self, storage: Storage, study: OpenStudy, cells: Sequence[int], cycles_left: int
    ) -> list[int]:
        """Return the cells to give back: an equal share for each idle worker."""
        if len(cells) < 2 or self._last_cycle * cycles_left < WORTH_SHARING:
            return []
        idle = storage.write(lambda connection: n_idle(connection, study.uuid))
        kept = -(-len(cells) // (idle + 1))
        return list(cells[kept:])


def _name(study: str, worker: str) -> str:
    return f"idle {study} {worker}"
