"""Claim, train, write, tell: what one process does for a study until nothing is waiting.

Every write checks the claim's token in its own transaction, so a worker that lost its claim
cannot write. Curve rows and the checkpoint of a cycle are written when it ends, together with
what ended there and with what Optuna shows of it.
"""

import random
import time
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from hpo.database import idle, rows, tables, tally
from hpo.database.connections import Connection
from hpo.database.fleet import holders
from hpo.database.storage import Interrupted
from hpo.definition.pruning import parse
from hpo.errors import HpoError
from hpo.experiment.records import Outcome, Point, State, StoredStudy
from hpo.mirror import study as studies
from hpo.mirror.study import OpenStudy
from hpo.planning.plan import plan_unless_planned
from hpo.training.phases import Phases
from hpo.training.progress import Progress
from hpo.training.trainer import Trainer
from hpo.workers import pace as sharing
from hpo.workers.claims import Claim, claim, fail, give_back, give_some_back, resume
from hpo.workers.cycle_end import endings_of, save, write
from hpo.workers.outlook import Outlook
from hpo.workers.silence import wait_for
from model.training import Evaluation

if TYPE_CHECKING:
    from hpo.workers.optuna_pruner import OptunasPruner

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5  #: seconds between two looks at what others left
FOR_A_PLAN = 2.0  #: seconds that somebody else's plan is waited for before it is tried again
TO_A_LOG_POINT = 2.0  #: seconds that who is told to stop trains on at most, to lose less
LOOKS_A_SECOND = 64  #: at holders of claims, by all who wait: with more of these, looks are rarer


def work(
    study: OpenStudy,
    trainer: Trainer,
    progress: Progress,
    stop: Callable[[], bool],
    identity: dict[str, Any],
    n_workers: int = 1,
    phases: Phases | None = None,
    elsewhere: Sequence[str] = (),
) -> None:
    """Train what is waiting until nothing is left, or until told to stop; then give back the rest.

    What others hold is waited for, because it comes back here if they die; unless something waits
    in a study of ``elsewhere``.

    Raises:
        StudyDeleted: Somebody deleted the study.
    """
    phases = phases or Phases(time.time())
    stop = study.storage.or_lost(stop)
    if study.experiment.search is not None:  # whoever watches may know fewer cells
        progress.grew(study.experiment)
    outlook = Outlook(study, trainer, progress, n_workers)
    phases.lap("start")
    while not stop():
        study, width, n_workers = outlook.next()
        held = claim(study, width, identity, n_workers)
        phases.lap("database")
        if held is None:
            goes_on = _await_others(study, progress, stop, identity["id"], list(elsewhere))
            phases.lap("waiting")
            if not goes_on:
                return
            continue
        try:
            resume(study, held, progress)
            phases.lap("database")
            if held.attempts:
                _train(study, trainer, held, progress, stop, phases)
        except Interrupted:
            pass
        except HpoError:  # the database, which every other cell would meet too
            raise
        except Exception as error:  # this training; the next one may go better
            is_short = isinstance(error, MemoryError)
            needs = f"This training needs more memory than there is: {error}"
            progress.warn(needs if is_short else traceback.format_exc().rstrip())
            fail(study, held, f"{type(error).__name__}: {error}")
        finally:
            give_back(study, held)
            phases.lap("database")
    study.storage.check()


def _await_others(
    study: OpenStudy,
    progress: Progress,
    stop: Callable[[], bool],
    worker: str,
    elsewhere: list[str],
) -> bool:
    """Wait until something is waiting again, then tell so; tell no when nothing is left here.

    A look takes a statement, and one more for those who may be dead; the more there are, the rarer
    it is.
    """
    has_said = False
    pause, planned_until = FIRST_PAUSE, 0.0
    told: set[str] = set()
    try:
        while not stop():
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
                pause = max(pause, others.n / LOOKS_A_SECOND)
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
    return False


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


def _train(
    study: OpenStudy,
    trainer: Trainer,
    held: Claim,
    progress: Progress,
    stop: Callable[[], bool],
    phases: Phases,
) -> None:
    slots = [attempt.slot for attempt in held.attempts.values()]
    held.unwritten = {slot.cell: [] for slot in slots}
    starts = {cell: checkpoint.network for cell, checkpoint in held.starts.items()}
    stack, go = trainer.start(slots, starts, held.n_updates)
    progress.claimed(slots, held.n_updates)
    pace = sharing.Pace(held.n_updates)
    pruner = _pruner(study)
    phases.lap("prepare")
    for evaluation in go(_Patience(stop), phases.lap):
        endings = endings_of(study, evaluation)
        _remember(held, evaluation, progress)
        cycles = _cycles_ended(study, evaluation)
        if not endings and not cycles:
            if stop():
                trainer.check()
                save(study, held, stack, evaluation)
                return
            continue
        trainer.check()
        written = write(study, held, stack, evaluation, endings, cycles)
        lost = written.lost
        if lost:
            studies.present(study)  # else it was deleted, and nobody has them
            progress.warn(f"Cells {lost} were given to another worker meanwhile; they are dropped.")
        going_on = [cell for cell in cycles if cell not in lost and cell not in endings]
        if going_on and pruner is not None:
            endings |= pruner.cut(held, {cell: cycles[cell] for cell in going_on})
        over = list(dict.fromkeys([*lost, *endings, *written.paused]))
        ended = {cell: held.attempts.pop(cell) for cell in over}
        stack.drop(over)
        for cell, ending in endings.items():
            if cell not in lost:
                progress.ended(ended[cell].slot, ending.outcome, ending.value)
        for attempt in written.decided:
            if attempt.state == State.ENDED:
                progress.ended(attempt.slot, Outcome.PRUNED, None)
        if cycles:
            shared = pace.surplus(study, held.attempts, set(cycles), evaluation.update)
            stack.drop(shared)
            give_some_back(study, held, shared)
        phases.lap("database")
        if stop():
            return


class _Patience:
    """Says to stop a while after ``stop`` does, so that a log point may be reached, and saved."""

    def __init__(self, stop: Callable[[], bool]) -> None:
        self._stop = stop
        self._since: float | None = None

    def __call__(self) -> bool:
        if not self._stop():
            return False
        if self._since is None:
            self._since = time.monotonic()
        return time.monotonic() - self._since > TO_A_LOG_POINT


def _pruner(study: OpenStudy) -> "OptunasPruner | None":
    """Return who cuts at the end of a cycle without waiting for others; None if nobody does."""
    pruning = parse(study.experiment.definition.pruner)
    if not pruning.is_optunas:
        return None
    from hpo.workers.optuna_pruner import (
        OptunasPruner,  # with Optuna, which takes a worker long to import
    )

    return OptunasPruner(study, pruning)


def _cycles_ended(study: OpenStudy, evaluation: Evaluation) -> dict[int, int]:
    """Return the cells whose cycle ends at this log point, with its number."""
    found = {
        cell: study.experiment.recipe(cell).cycle_end(evaluation.update) for cell in evaluation.keys
    }
    return {cell: cycle for cell, cycle in found.items() if cycle is not None}


def _remember(held: Claim, evaluation: Evaluation, progress: Progress) -> None:
    parts = (evaluation.training, evaluation.validation)
    for place, cell in enumerate(evaluation.keys):
        values = tuple(float(getattr(p, m)[place]) for p in parts for m in tables.MEASURES)
        held.unwritten[cell].append(Point(evaluation.update, values))
        progress.advanced(held.attempts[cell].slot, evaluation.update, values[-1])
