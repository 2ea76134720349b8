"""Cells taken from who is far slower than the others, or does not move, for idle workers to train.

They go on from their last checkpoint. Who held them learns it from the token, which is gone, and no
result depends on who trained it.
"""

import statistics
from collections.abc import Sequence
from functools import partial

from hpo.database import idle, rows
from hpo.database.connections import Connection
from hpo.database.holders import Held
from hpo.experiment.records import State
from hpo.mirror.study import OpenStudy
from hpo.workers import claims

SLOWER = 3.0  #: times that a worker is slower than others before its cells are taken
WORTH = 1.5  #: times that the others must be done sooner with them, from their last checkpoint on
MARGIN = 2.0  #: seconds that must be won beyond that, as every start costs
STANDS_STILL = 60.0  #: seconds without an update, or the worker's grace if that is longer


def from_slow(study: OpenStudy, held: Sequence[Held], pace: float | None) -> list[str]:
    """Let cells of who is too slow wait again; return a line for each worker that lost some.

    Args:
        held: The claims of the study.
        pace: Seconds that an update of a network takes the worker that looks, if it knows.
    """
    told = []
    for claim in held:
        others = [one.pace for one in held if one is not claim and one.pace is not None]
        known = [*others, pace] if pace else others
        usual = statistics.median_high(known) if known else None
        hangs = claim.still_for > max(STANDS_STILL, claim.grace)
        if hangs or _is_slow(claim, usual):
            take = partial(_taken, study=study, claim=claim, pace=usual, hangs=hangs)
            cells = study.storage.write(take)
            told += [_said(claim, cells, hangs)] if cells else []
    return told


def _is_slow(claim: Held, pace: float | None) -> bool:
    if pace is None or claim.pace is None or claim.pace < SLOWER * pace:
        return False
    return claim.seconds_left > WORTH * pace * claim.work_left + MARGIN


def _taken(
    connection: Connection, study: OpenStudy, claim: Held, pace: float | None, hangs: bool
) -> list[int]:
    """Let the cells of a claim wait, if others are done with them sooner; return which."""
    reached = rows.reached_of(connection, study.uuid)
    mine = [(attempt, saved) for attempt, saved in reached if attempt.token == claim.token]
    lengths = [study.experiment.recipe(a.slot.cell).n_updates - saved for a, saved in mine]
    n_idle = max(1, idle.n_idle(connection, study.uuid))
    needed = (pace or 0.0) * max(max(lengths, default=0), sum(lengths) / n_idle)
    if not hangs and claim.seconds_left < WORTH * needed + MARGIN:
        return []
    given = [attempt for attempt, _ in mine]
    moved = claims.release(connection, study, claim.token, given)
    return sorted({attempt.slot.cell for attempt in moved if attempt.state == State.WAITING})


def _said(claim: Held, cells: Sequence[int], hangs: bool) -> str:
    who = f"Worker {claim.who.get('pid')} on {claim.who.get('host')}"
    why = f"has not moved for {claim.still_for:.0f} s" if hangs else "is far slower than the others"
    numbers = ", ".join(map(str, cells))
    return f"{who} {why}; its cells {numbers} go on elsewhere from where they were saved."
