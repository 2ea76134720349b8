"""Claim, train, write, tell: what one process does for a study until nothing is waiting.

Every write checks the claim's token in its own transaction, so a worker that lost its claim
cannot write. Curve rows and the checkpoint of a cycle are written when it ends, together with
what ended there; Optuna is told afterwards.
"""

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection

from hpo import checkpoints, record, rows, sharing, tables
from hpo.claims import Claim, claim, fail, give_back, give_some_back, resume
from hpo.errors import HpoError
from hpo.fleet import has_dead
from hpo.plan import plan
from hpo.profile import Phases
from hpo.progress import Progress
from hpo.storage import Interrupted, Storage
from hpo.study import OpenStudy
from hpo.tables import Point
from hpo.trainer import Trainer
from model.stack import Stack
from model.training import Evaluation

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5  #: seconds between two looks at what others left


@dataclass(frozen=True)
class _Ending:
    outcome: str
    value: float | None
    hits: bytes


def work(
    storage: Storage,
    study: OpenStudy,
    trainer: Trainer,
    progress: Progress,
    stop: Callable[[], bool],
    identity: dict[str, Any],
    n_workers: int = 1,
    phases: Phases | None = None,
) -> None:
    """Train what is waiting until nothing is left, or until told to stop; then give back the rest.

    What others hold is waited for, because it comes back here if they die.
    """
    phases = phases or Phases(time.time())
    width = _fair_width(storage, study, trainer, n_workers)
    phases.lap("start")
    while not stop():
        held = claim(storage, study, width, identity)
        phases.lap("database")
        if held is None:
            goes_on = _await_others(storage, study, stop, identity["id"])
            phases.lap("waiting")
            if not goes_on:
                return
            continue
        try:
            resume(storage, study, held, progress)
            phases.lap("database")
            if held.attempts:
                _train(storage, study, trainer, held, progress, stop, phases)
        except Interrupted:
            pass
        except HpoError:  # the database, which every other cell would meet too
            raise
        except Exception as error:  # this training; the next one may go better
            progress.warn(traceback.format_exc().rstrip())
            fail(storage, study, held, f"{type(error).__name__}: {error}")
        finally:
            give_back(storage, study, held)
            phases.lap("database")


def _fair_width(storage: Storage, study: OpenStudy, trainer: Trainer, n_workers: int) -> int:
    """Return how many slots to claim so that all workers have equal stacks in every round."""
    counts = storage.write(lambda connection: rows.count_attempts(connection, study.uuid))
    total = counts.get("waiting", 0) + counts.get("running", 0)
    rounds = max(1, -(-total // (n_workers * trainer.width)))
    return max(1, min(trainer.width, -(-total // (n_workers * rounds))))


def _await_others(
    storage: Storage, study: OpenStudy, stop: Callable[[], bool], worker: str
) -> bool:
    """Wait until something is waiting again, then tell so; tell no when nothing is left."""

    def look(connection: Connection) -> tuple[bool, dict[str, int]]:
        counts = rows.count_attempts(connection, study.uuid)
        if counts.get("running") and not counts.get("waiting"):
            sharing.say_idle(connection, study.uuid, worker)
        return has_dead(connection, study.uuid), counts

    pause = FIRST_PAUSE
    try:
        while not stop():
            some_died, counts = storage.write(look)
            if some_died:
                plan(storage, study)
                continue
            if counts.get("waiting"):
                return True
            if not counts.get("running"):
                return _left_over(storage, study, counts)
            time.sleep(pause)
            pause = min(1.5 * pause, LONGEST_PAUSE)
    finally:
        storage.finish(lambda c: sharing.no_longer_idle(c, study.uuid, worker))
    return False


def _left_over(storage: Storage, study: OpenStudy, counts: dict[str, int]) -> bool:
    """Tell whether a failure is left that its worker could not plan again any more."""
    if not counts.get("failed"):
        return False
    plan(storage, study)
    after = storage.write(lambda connection: rows.count_attempts(connection, study.uuid))
    return bool(after.get("waiting"))


def _train(
    storage: Storage,
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
    pace = sharing.Pace()
    phases.lap("prepare")
    for evaluation in go(stop, phases.lap):
        endings = _endings(study, evaluation)
        _remember(held, evaluation, progress)
        cycle, rest = divmod(evaluation.update, 2 * study.experiment.n_s)
        if not endings and rest:
            continue
        lost = _write(storage, study, held, stack, evaluation, endings)
        if lost:
            progress.warn(f"Cells {lost} were given to another worker meanwhile; they are dropped.")
        if not rest:
            going_on = [c for c in evaluation.keys if c not in lost and c not in endings]
            record.report_cycle(storage, study, [held.attempts[c] for c in going_on], cycle)
        over = [*lost, *endings]
        ended = {cell: held.attempts.pop(cell) for cell in over}
        stack.drop(over)
        record.show(storage, study, [ended[cell] for cell in endings if cell not in lost])
        for cell, ending in endings.items():
            if cell not in lost:
                progress.ended(ended[cell].slot, ending.outcome, ending.value)
        if not rest:
            pace.cycle_ended()
            cycles_left = study.experiment.definition.n_cycles - cycle
            shared = pace.surplus(storage, study, list(held.attempts), cycles_left)
            stack.drop(shared)
            give_some_back(storage, study, held, shared)
        phases.lap("database")


def _remember(held: Claim, evaluation: Evaluation, progress: Progress) -> None:
    parts = (evaluation.training, evaluation.validation)
    for place, cell in enumerate(evaluation.keys):
        values = tuple(float(getattr(p, m)[place]) for p in parts for m in tables.MEASURES)
        held.unwritten[cell].append(Point(evaluation.update, values))
        progress.advanced(held.attempts[cell].slot, evaluation.update, values[-1])


def _endings(study: OpenStudy, evaluation: Evaluation) -> dict[int, _Ending]:
    """Return how the networks ended that did: at their last update, or by divergence."""
    found = {}
    finite = np.isfinite(evaluation.training.cost) & np.isfinite(evaluation.validation.cost)
    packed = np.packbits(evaluation.hits, axis=1)
    for place, cell in enumerate(evaluation.keys):
        hits = packed[place].tobytes()
        if not finite[place]:
            found[cell] = _Ending("diverged", None, hits)
        elif evaluation.update >= study.experiment.n_updates:
            value = float(evaluation.validation.accuracy[place])
            found[cell] = _Ending("complete", value, hits)
    return found


def _write(
    storage: Storage,
    study: OpenStudy,
    held: Claim,
    stack: Stack,
    evaluation: Evaluation,
    endings: dict[int, _Ending],
) -> list[int]:
    """Write what the networks at this log point have, in one transaction; return lost cells."""
    n_updates = evaluation.update
    contents = {
        cell: checkpoints.pack(
            stack.network(cell),
            checkpoints.label(study.uuid, study.experiment, held.attempts[cell].slot, n_updates),
        )
        for cell in evaluation.keys
        if cell not in endings or endings[cell].outcome == "complete"
    }

    def action(connection: Connection) -> list[int]:
        lost = []
        for cell in evaluation.keys:
            attempt = held.attempts[cell]
            present = rows.standing(connection, study.uuid, attempt)
            if present is None or present.token != held.token:
                lost.append(cell)
                continue
            if present.state != "running":
                continue  # this very transaction was committed, and its answer got lost
            rows.append_curve(connection, study.uuid, attempt.slot, held.unwritten[cell])
            if cell in contents:
                keep = 1 if cell in endings else checkpoints.KEPT
                slot, content = attempt.slot, contents[cell]
                made_in = held.environment(cell)
                checkpoints.save(connection, study.uuid, slot, n_updates, content, made_in, keep)
            if cell in endings:
                _end(connection, study, held, cell, n_updates, endings[cell])
        if endings:
            checkpoints.keep_best(connection, study.uuid)
        return lost

    lost = storage.write(action)
    for cell in evaluation.keys:
        held.unwritten[cell] = []
    return lost


def _end(
    connection: Connection,
    study: OpenStudy,
    held: Claim,
    cell: int,
    n_updates: int,
    ending: _Ending,
) -> None:
    attempt = held.attempts[cell]
    if ending.outcome == "diverged":
        checkpoints.forget(connection, study.uuid, attempt.slot)
    connection.execute(
        tables.results.insert().values(
            study=study.uuid,
            cell=attempt.slot.cell,
            replicate=attempt.slot.replicate,
            attempt=attempt.number,
            outcome=ending.outcome,
            value=ending.value,
            cycles=n_updates // (2 * study.experiment.n_s),
            n_updates=n_updates,
            hits=ending.hits,
            environment=held.environment(cell),
        )
    )
    moment = rows.now(connection)
    rows.update_attempt(
        connection, study.uuid, attempt, state="ended", ended_at=moment, in_optuna=False
    )
