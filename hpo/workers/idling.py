"""What a worker does while others hold what is left: looks for the dead, the slow, and new work."""

import random
import time
from collections.abc import Callable

from hpo.database import idle, rows, tally
from hpo.database.connections import Connection
from hpo.database.holders import holders
from hpo.experiment.records import State, StoredStudy
from hpo.mirror import study as studies
from hpo.mirror.study import OpenStudy
from hpo.planning.plan import plan_unless_planned
from hpo.training.progress import Progress
from hpo.workers import takeover
from hpo.workers.membership import Membership
from hpo.workers.silence import wait_for

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5  #: seconds between two looks at what others left
FOR_A_PLAN = 2.0  #: seconds that somebody else's plan is waited for before it is tried again
LOOKS_A_SECOND = 64  #: at holders of claims, by all who wait: with more of these, looks are rarer


def await_others(
    study: OpenStudy,
    progress: Progress,
    stop: Callable[[], bool],
    member: Membership,
    elsewhere: list[str],
) -> bool:
    """Wait until something is waiting again, then tell so; tell no when nothing is left here.

    A look takes a statement, and one more for those who may be dead; the more there are, the rarer
    it is.
    """
    has_said, worker = False, member.id
    pause, planned_until = FIRST_PAUSE, 0.0
    told: set[str] = set()
    try:
        while not stop() and not member.is_in_vain:
            sight = study.storage.read(lambda c: idle.look(c, study.uuid, worker, elsewhere))
            if sight.some_wait:
                return True
            if sight.some_wait_elsewhere:
                return False
            if not sight.some_run and sight.is_planned and time.monotonic() < planned_until:
                pass  # a rung is decided, or a generation is planned
            elif not sight.some_run:
                planned_until = time.monotonic() + FOR_A_PLAN
                goes_on = _left_over(study)
                if goes_on is not None:
                    return goes_on
            else:
                others = study.storage.read(lambda c: holders(c, study.uuid))
                if others.some_died and plan_unless_planned(study) is not None:
                    continue
                for line in takeover.from_slow(study, others.claims, member.gauge.pace):
                    progress.warn(line)
                pause = max(pause, len(others.claims) / LOOKS_A_SECOND)
                for missed in others.missed:
                    if missed.id not in told:
                        told.add(missed.id)
                        progress.warn(wait_for(missed))
                if not sight.is_said:
                    has_said = True
                    study.storage.write(lambda c: idle.say_idle(c, study.uuid, worker))
            time.sleep(pause * random.uniform(0.8, 1.2))  # so that not all look at once
            pause = max(pause, min(1.5 * pause, LONGEST_PAUSE))
    finally:
        if has_said:
            study.storage.finish(lambda c: idle.no_longer_idle(c, worker))
    return not stop()  # the study was called off, which the next look at it tells


def _left_over(study: OpenStudy) -> bool | None:
    """Plan again what a worker could not any more, or what a search wants next; tell if it waits.

    Nothing is told while somebody else plans.
    """

    def look(connection: Connection) -> tuple[dict[str, int], StoredStudy | None]:
        found = rows.study_by_uuid(connection, study.uuid)
        return tally.count_attempts(connection, study.uuid), found

    counts, now = study.storage.read(look)
    if not counts:
        studies.present(study)  # unless it was deleted
    is_grid = study.experiment.search is None
    if is_grid and not counts.get(State.FAILED) and not counts.get(State.PAUSED):
        is_as_known = now is None or now.experiment == study.experiment
        if now is None or (is_as_known and now.experiment.began_with is None):
            return False  # else what it grew by may be due
    if plan_unless_planned(study) is None:
        return None
    after = study.storage.read(lambda connection: tally.count_attempts(connection, study.uuid))
    # What another worker has claimed already is waited for.
    return bool(after.get(State.WAITING) or after.get(State.RUNNING))
