"""How many attempts and results there are, and in which state."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from hpo.database.rows import LAST_CHECKPOINT, clock
from hpo.database.tables import (
    IS_PAUSED,
    IS_RUNNING,
    IS_WAITING,
    LIVE,
    attempts,
    queue,
    results,
    studies,
    workers,
)
from hpo.experiment.records import Slot, State

HEARD = 5.0  #: seconds in which the heart of a worker must have beaten that is counted on


@dataclass(frozen=True)
class Pulse:
    """What a worker must know before it claims, whatever the size of the study."""

    digest: str | None  #: of the study's row: another one, if the study is another
    n_live: int  #: attempts that wait, run or are paused; of many only so many as asked for
    n_workers: float  #: that beat, and are not busy elsewhere; one far faster or slower counts so
    is_cancelled: bool  #: whether nobody is to train it


UNEQUAL = 3.0  #: how many times faster or slower a worker must be to count as more or less than one


def pulse(
    connection: Connection, study: str, at_most: int, pace: float | None = None
) -> Pulse | None:
    """Return how a study stands for who is about to claim; None if it is gone.

    Args:
        at_most: How many live attempts are counted.
        pace: Seconds that an update of a network takes there, if that is known.
    """
    mine = attempts.c.study == study, attempts.c.state.in_(LIVE)
    live = sa.select(sa.literal(1).label("one")).where(*mine)
    n_live = sa.select(sa.func.count()).select_from(live.limit(at_most).subquery())
    here = sa.func.coalesce(workers.c.study, study) == study
    free = sa.select(sa.func.sum(_worth(study, pace))).where(here, *is_heard(connection))
    cancelled = sa.select(queue.c.cancelled_at.is_not(None)).where(queue.c.study == study)
    row = connection.execute(
        sa.select(
            studies.c.digest,
            n_live.scalar_subquery(),
            free.scalar_subquery(),
            cancelled.scalar_subquery(),
        ).where(studies.c.uuid == study)
    ).one_or_none()
    return None if row is None else Pulse(row[0], row[1], float(row[2] or 0), bool(row[3]))


def is_heard(connection: Connection) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    """Return the condition for workers whose heart beats."""
    moment = clock(connection)
    return workers.c.ended_at.is_(None), workers.c.heartbeat_at.between(
        moment - HEARD,
        moment + 1.0,  # later: a clock was set
    )


def _worth(study: str, pace: float | None) -> sa.ColumnElement[float]:
    """Return as how many workers each one counts for one with a pace: 1 unless they differ much."""
    if pace is None:
        return sa.literal(1.0)
    theirs = workers.c.pace
    ratio = pace / sa.func.nullif(theirs, 0.0)
    differs = sa.or_(theirs > UNEQUAL * pace, theirs < pace / UNEQUAL)
    return sa.case((sa.and_(workers.c.study == study, theirs > 0, differs), ratio), else_=1.0)


def is_neglected_elsewhere(connection: Connection, study: str) -> bool:
    """Tell whether a worker should rather serve another study.

    So it is if one of higher priority waits, or one that nobody serves while this one has several.
    """
    mine = sa.select(queue.c.priority).where(queue.c.study == study).scalar_subquery()
    theirs = sa.select(queue.c.priority).where(queue.c.study == studies.c.uuid).scalar_subquery()
    heard = is_heard(connection)
    served = sa.exists().where(workers.c.study == studies.c.uuid, *heard)
    cancelled = sa.exists().where(
        queue.c.study == studies.c.uuid, queue.c.cancelled_at.is_not(None)
    )
    n_here = sa.select(sa.func.count()).where(workers.c.study == study, *heard).scalar_subquery()
    gap = sa.func.coalesce(theirs, 0) - sa.func.coalesce(mine, 0)
    others = sa.exists().where(
        studies.c.uuid != study,
        sa.or_(gap > 0, sa.and_(gap == 0, ~served, n_here > 1)),
        ~cancelled,
        sa.exists().where(attempts.c.study == studies.c.uuid, IS_WAITING),
    )
    return bool(connection.execute(sa.select(others)).scalar_one())


def live_by_study(connection: Connection) -> dict[str, dict[str, int]]:
    """Return how many attempts wait, run and are paused, of those studies that have any."""
    parts = [
        sa.select(attempts.c.study, sa.literal(str(state)), sa.func.count())
        .where(condition)
        .group_by(attempts.c.study)
        for state, condition in zip(LIVE, (IS_WAITING, IS_RUNNING, IS_PAUSED), strict=True)
    ]
    found: dict[str, dict[str, int]] = {}
    for study, state, n in connection.execute(sa.union_all(*parts)):
        found.setdefault(study, {})[state] = n
    return found


def is_rung_full(connection: Connection, study: str) -> bool:
    """Tell whether attempts are paused at a rung, and none waits or runs that may get there."""
    mine = attempts.c.study == study
    left, paused = (_any(mine, *some) for some in ((IS_WAITING, IS_RUNNING), (IS_PAUSED,)))
    return bool(connection.execute(sa.select(sa.and_(paused, ~left))).scalar_one())


def _any(
    mine: sa.ColumnElement[bool], *conditions: sa.ColumnElement[bool]
) -> sa.ColumnElement[bool]:
    return sa.or_(*(sa.exists().where(mine, condition) for condition in conditions))


def any_waits(connection: Connection, study: str) -> bool:
    """Tell whether an attempt of a study waits."""
    return bool(connection.execute(sa.select(_any(attempts.c.study == study, IS_WAITING))).scalar())


def any_left(connection: Connection, study: str) -> bool:
    """Tell whether an attempt of a study waits or runs, however many there are."""
    found = _any(attempts.c.study == study, IS_WAITING, IS_RUNNING)
    return bool(connection.execute(sa.select(found)).scalar_one())


def progress_of(connection: Connection, study: str) -> tuple[int, int]:
    """Return how many results there are, and the updates that unfinished trials have saved."""
    query = (
        sa.select(LAST_CHECKPOINT)
        .select_from(attempts)
        .where(attempts.c.study == study, attempts.c.state.in_(LIVE))
    )
    n_updates = sum(connection.execute(query).scalars())
    counted = sa.select(sa.func.count()).select_from(results).where(results.c.study == study)
    return connection.execute(counted).scalar_one(), n_updates


def count_attempts(connection: Connection, study: str) -> dict[str, int]:
    """Return how many attempts are in each state."""
    query = (
        sa.select(attempts.c.state, sa.func.count())
        .where(attempts.c.study == study)
        .group_by(attempts.c.state)
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def counts_by_study(connection: Connection) -> dict[str, dict[str, int]]:
    """Return by study what `count_attempts` does."""
    query = sa.select(attempts.c.study, attempts.c.state, sa.func.count()).group_by(
        attempts.c.study, attempts.c.state
    )
    found: dict[str, dict[str, int]] = {}
    for study, state, n in connection.execute(query):
        found.setdefault(study, {})[state] = n
    return found


def ended_slots(connection: Connection, study: str) -> set[Slot]:
    """Return the slots whose last attempt has ended, so that they must have a result."""
    query = (
        sa.select(attempts.c.cell, attempts.c.replicate, attempts.c.state)
        .where(attempts.c.study == study)
        .order_by(attempts.c.attempt)
    )
    last = {Slot(row.cell, row.replicate): row.state for row in connection.execute(query)}
    return {slot for slot, state in last.items() if state == State.ENDED}
