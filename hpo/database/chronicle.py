"""When, where and with what a study was trained, as its rows tell."""

import math
from collections import Counter
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from hpo.database import damage
from hpo.database.tables import attempts, results, studies


@dataclass(frozen=True)
class Chronicle:
    """The outer circumstances of a study; times are seconds since 1970 on the database's clock."""

    created_at: float | None
    last_ended_at: float | None  #: when the last training ended, so far
    n_attempts: int
    n_failed: int
    hosts: tuple[str, ...]  #: where those trained that hold or ended an attempt
    #: Versions and BLAS, with the number of results that were made there, most of them first.
    environments: tuple[tuple[dict[str, str], int], ...]


def of_study(connection: Connection, study: str) -> Chronicle:
    """Return when, where and with what a study was trained; what cannot be read is left out."""
    created = sa.select(studies.c.created_at).where(studies.c.uuid == study)
    mine = attempts.c.study == study
    columns = (attempts.c.state, attempts.c.ended_at, attempts.c.worker)
    found = connection.execute(sa.select(*columns).where(mine)).all()
    ended = [row.ended_at for row in found if _is_time(row.ended_at)]
    workers = [damage.parsed_or_none(row.worker) or {} for row in found]
    made_in = connection.execute(sa.select(results.c.environment).where(results.c.study == study))
    counted = Counter(made_in.scalars().all()).most_common()
    read = [(damage.parsed_or_none(text), n) for text, n in counted]
    return Chronicle(
        created_at=connection.execute(created).scalar_one_or_none(),
        last_ended_at=max(ended, default=None),
        n_attempts=len(found),
        n_failed=sum(row.state == "failed" for row in found),
        hosts=tuple(sorted({str(worker["host"]) for worker in workers if "host" in worker})),
        environments=tuple(
            ({str(key): str(value) for key, value in one.items()}, n) for one, n in read if one
        ),
    )


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
