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
    n_workers: int  #: that beat, and hold nothing of other studies


def pulse(connection: Connection, study: str, at_most: int) -> Pulse | None:
    """Return how a study stands for who is about to claim; None if it is gone.

    Args:
        at_most: How many live attempts are counted.
    """
    mine = attempts.c.study == study, attempts.c.state.in_(LIVE)
    live = sa.select(sa.literal(1).label("one")).where(*mine)
    n_live = sa.select(sa.func.count()).select_from(live.limit(at_most).subquery())
    alive = sa.select(sa.func.count()).where(
        workers.c.ended_at.is_(None),
        workers.c.heartbeat_at.between(clock(connection) - HEARD, clock(connection) + 1.0),
    )
    elsewhere = sa.select(sa.func.count(attempts.c.token.distinct()))
    elsewhere = elsewhere.where(IS_RUNNING, attempts.c.study != study)
    row = connection.execute(
        sa.select(
            studies.c.digest,
            n_live.scalar_subquery(),
            alive.scalar_subquery(),
            elsewhere.scalar_subquery(),
        ).where(studies.c.uuid == study)
    ).one_or_none()
    return None if row is None else Pulse(row[0], row[1], row[2] - row[3])


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
