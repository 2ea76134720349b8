"""Those who hold running attempts of a study: that they live, how fast they are, whether they move."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from hpo.database import damage
from hpo.database.fleet import (
    GRACE,
    OF_WORKER,
    WorkerRow,
    cause_of_death,
    moment_of,
    number,
    worker_of,
)
from hpo.database.tables import IS_RUNNING, attempts, workers

_PROGRESS = (workers.c.pace, workers.c.work_left, workers.c.moved_at)


@dataclass(frozen=True)
class Held:
    """A claim, and how who holds it gets on."""

    token: str
    who: dict[str, Any]
    grace: float
    pace: float | None  #: seconds for an update of a network
    work_left: float  #: updates of networks
    still_for: float  #: seconds since its training was last seen to move; 0 if nobody knows

    @property
    def seconds_left(self) -> float:
        """How long it will take at this pace; 0 if nobody knows."""
        return (self.pace or 0.0) * self.work_left


@dataclass(frozen=True)
class Holders:
    """Those who hold running attempts of a study."""

    claims: list[Held]
    some_died: bool
    missed: list[WorkerRow]  #: who are not known to be dead, but have not been heard as they should


def holders(connection: Connection, study: str) -> Holders:
    """Look at those who hold running attempts of a study; several looks tell who is dead."""
    claim = (attempts.c.token, attempts.c.worker)
    columns: list[sa.ColumnElement[Any]] = [*claim, *OF_WORKER, *_PROGRESS, moment_of(connection)]
    query = (
        sa.select(*columns)
        .distinct()
        .select_from(attempts.outerjoin(workers, workers.c.id == attempts.c.worker_id))
        .where(attempts.c.study == study, IS_RUNNING)
    )
    some_died, missed = False, dict[str, WorkerRow]()
    claims = []
    for row in connection.execute(query):
        known = {} if row.id is None else {row.id: worker_of(row, row.moment)}
        who = damage.parsed_or_none(row.worker)
        some_died |= cause_of_death(who, row.token, known) is not None
        missed |= {name: worker for name, worker in known.items() if worker.is_missed}
        claims.append(_claim(row, who or {}))
    return Holders(claims, some_died, list(missed.values()))


def _claim(row: Row[Any], who: dict[str, Any]) -> Held:
    still = row.moment - row.moved_at if isinstance(row.moved_at, float) else 0.0
    pace = row.pace if isinstance(row.pace, float) and row.pace > 0 else None
    grace = number(row.grace) or GRACE
    return Held(str(row.token), who, grace, pace, number(row.work_left), max(0.0, still))
