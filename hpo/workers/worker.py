"""Claim, train, write, tell: what one process does for a study until nothing is waiting.

Every write checks the claim's token in its own transaction, so a worker that lost its claim
cannot write. Curve rows and the checkpoint of a cycle are written when it ends, together with
what ended there and with what Optuna shows of it.
"""

import time
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hpo.database import tables
from hpo.database.storage import Interrupted
from hpo.definition.pruning import parse
from hpo.errors import HpoError
from hpo.experiment.records import Outcome, Point, State
from hpo.mirror import study as studies
from hpo.mirror.study import OpenStudy
from hpo.training.phases import Phases
from hpo.training.progress import Progress
from hpo.training.trainer import Trainer
from hpo.workers import pace as sharing
from hpo.workers.claims import Claim, claim, fail, give_back, give_some_back, resume
from hpo.workers.cycle_end import endings_of, save, save_some, write
from hpo.workers.gauge import Gauge
from hpo.workers.idling import await_others
from hpo.workers.membership import Membership
from hpo.workers.outlook import Outlook
from model.training import Evaluation

if TYPE_CHECKING:
    from hpo.workers.optuna_pruner import OptunasPruner

TO_A_LOG_POINT = 2.0  #: seconds that who is told to stop trains on at most, to lose less


def work(
    study: OpenStudy,
    trainer: Trainer,
    progress: Progress,
    stop: Callable[[], bool],
    member: Membership,
    n_workers: int = 1,
    phases: Phases | None = None,
    elsewhere: Sequence[str] | None = None,
) -> None:
    """Train what is waiting until nothing is left, or until told to stop; then give back the rest.

    What others hold is waited for, because it comes back here if they die; unless something waits
    in a study of ``elsewhere``.

    Args:
        member: This process as a worker.
        elsewhere: Studies that it may turn to; None of one that works for this study alone.

    Raises:
        StudyDeleted: Somebody deleted the study.
    """
    phases = phases or Phases(time.time())
    member.turn_to(study.uuid, is_asked=elsewhere is None)
    try:
        _work(study, trainer, progress, stop, member, n_workers, phases, elsewhere)
    finally:
        member.turn_to(None)


def _work(
    study: OpenStudy,
    trainer: Trainer,
    progress: Progress,
    stop: Callable[[], bool],
    member: Membership,
    n_workers: int,
    phases: Phases,
    elsewhere: Sequence[str] | None,
) -> None:
    stop = study.storage.or_lost(stop)
    if study.experiment.search is not None:  # whoever watches may know fewer cells
        progress.grew(study.experiment)
    may_turn = elsewhere is not None
    outlook = Outlook(study, trainer, progress, n_workers, member.gauge, may_turn)
    phases.lap("start")
    while not stop():
        turn = outlook.next()
        if not turn.goes_on:
            return
        study = turn.study
        held = claim(study, turn.width, member.identity, turn.n_workers)
        phases.lap("database")
        if held is None:
            goes_on = await_others(study, progress, stop, member, list(elsewhere or ()))
            phases.lap("waiting")
            if not goes_on:
                return
            continue
        try:
            resume(study, held, progress)
            phases.lap("database")
            if held.attempts:
                _train(study, trainer, held, progress, stop, member, phases)
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
            member.gauge.end()
            member.is_in_vain = False
            give_back(study, held)
            phases.lap("database")
    study.storage.check()


def _train(
    study: OpenStudy,
    trainer: Trainer,
    held: Claim,
    progress: Progress,
    stop: Callable[[], bool],
    member: Membership,
    phases: Phases,
) -> None:
    slots = [attempt.slot for attempt in held.attempts.values()]
    held.unwritten = {slot.cell: [] for slot in slots}
    starts = {cell: checkpoint.network for cell, checkpoint in held.starts.items()}
    stack, go = trainer.start(slots, starts, held.n_updates)
    progress.claimed(slots, held.n_updates)
    pace, reached = sharing.Pace(held.n_updates), held.n_updates
    pruner = _pruner(study)
    phases.lap("prepare")
    member.is_in_vain = False
    member.gauge.begin(held.token, len(slots), _left(study, held, reached))
    stop = _Stop(stop, member)
    for evaluation in go(_Patience(stop, member.gauge), phases.lap):
        n_done = (evaluation.update - reached) * len(held.attempts)
        reached = evaluation.update
        endings = endings_of(study, evaluation)
        _remember(held, evaluation, progress)
        cycles = _cycles_ended(study, evaluation)
        if not endings and not cycles:
            if stop():
                trainer.check()
                save(study, held, stack, evaluation)
                return
            can_go = set(evaluation.keys)
            shared = pace.surplus(study, held.attempts, can_go, reached, is_cycle_end=False)
            if shared:
                save_some(study, held, stack, evaluation, shared)
                stack.drop(shared)
                give_some_back(study, held, shared)
            member.gauge.reached(n_done, len(held.attempts), _left(study, held, reached))
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
        member.gauge.reached(n_done, len(held.attempts), _left(study, held, reached))
        phases.lap("database")
        if stop():
            return


def _left(study: OpenStudy, held: Claim, n_updates: int) -> int:
    """Return how many updates of a network are left of what is held."""
    return sum(study.experiment.recipe(cell).n_updates - n_updates for cell in held.attempts)


class _Stop:
    """Says to stop also where a study was called off, or its cells were given to others."""

    def __init__(self, stop: Callable[[], bool], member: Membership) -> None:
        self._stop, self._member = stop, member

    def __call__(self) -> bool:
        return self._stop() or self._member.is_in_vain


class _Patience:
    """Says to stop a while after ``stop`` does, so that a log point may be reached, and saved."""

    def __init__(self, stop: Callable[[], bool], gauge: Gauge) -> None:
        self._stop, self._gauge = stop, gauge
        self._since: float | None = None

    def __call__(self) -> bool:
        self._gauge.step()
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
