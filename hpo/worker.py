"""Claim, train, write, tell: what one process does for a study until nothing is waiting.

A claim moves attempts from waiting to running in one transaction and puts a new token on them.
Every later write checks the token in its own transaction, so a worker that lost its claim cannot
write. Curve rows of a cycle are written when it ends, together with what ended there; Optuna is
told afterwards.
"""

import json
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from sqlalchemy import Connection

from hpo import record, tables
from hpo.definition import Experiment
from hpo.environment import environment
from hpo.hosts import this_worker
from hpo.storage import Interrupted, Storage
from hpo.study import OpenStudy
from hpo.tables import Attempt, Point, Slot
from hpo.trainer import Trainer
from hpo.weights import pack
from model.stack import Stack
from model.training import Evaluation

KEPT_WEIGHTS = 3  #: best slots of a study whose final weights are kept


class Progress(Protocol):
    """Somebody who watches the training."""

    def began(self, title: str, experiment: Experiment, n_missing: int) -> None:
        """A study of which so many slots are missing is being worked on."""

    def claimed(self, slots: Sequence[Slot]) -> None:
        """These slots are being trained now."""

    def advanced(self, slot: Slot, n_updates: int, accuracy: float) -> None:
        """A slot has reached a log point."""

    def ended(self, slot: Slot, outcome: str, value: float | None) -> None:
        """A slot has its result."""


@dataclass
class Claim:
    """Attempts that this worker holds, and what it has not written yet."""

    attempts: dict[int, Attempt]  #: by cell; all of one replicate
    token: str
    unwritten: dict[int, list[Point]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Ending:
    outcome: str
    value: float | None
    hits: bytes
    weights: tuple[bytes, str] | None


def work(
    storage: Storage,
    study: OpenStudy,
    trainer: Trainer,
    progress: Progress,
    stop: Callable[[], bool],
) -> None:
    """Train what is waiting until nothing is, or until told to stop; then give back the rest."""
    while not stop():
        held = claim(storage, study, trainer.width)
        if held is None:
            return
        try:
            _train(storage, study, trainer, held, progress, stop)
        except Interrupted:
            pass
        finally:
            give_back(storage, study, held)


def claim(storage: Storage, study: OpenStudy, width: int) -> Claim | None:
    """Take up to ``width`` waiting attempts of one replicate, or None when none is waiting."""
    token = str(uuid.uuid4())

    def take(connection: Connection) -> list[Attempt]:
        waiting = tables.attempts_of(connection, study.uuid, states=["waiting"], limit=width)
        chosen = [a for a in waiting if a.slot.replicate == waiting[0].slot.replicate]
        for attempt in chosen:  # rows that a dead attempt left
            _forget_curve(connection, study.uuid, attempt.slot)
        return [
            attempt
            for attempt in chosen
            if tables.update_attempt(
                connection,
                study.uuid,
                attempt,
                was="waiting",
                state="running",
                token=token,
                worker=json.dumps(this_worker()),
                claimed_at=time.time(),
                in_optuna=False,
            )
        ]

    taken = storage.write(take)
    if not taken:
        return None
    record.bring_up_to_date(storage, study)
    return Claim({attempt.slot.cell: attempt for attempt in taken}, token)


def give_back(storage: Storage, study: OpenStudy, held: Claim) -> None:
    """Let others have what is still held; half a training leaves no rows."""
    if not held.attempts:
        return

    def release(connection: Connection) -> None:
        for attempt in held.attempts.values():
            if tables.holds(connection, study.uuid, attempt, held.token):
                _forget_curve(connection, study.uuid, attempt.slot)
                tables.update_attempt(
                    connection, study.uuid, attempt, state="waiting", token=None, in_optuna=False
                )

    storage.write(release)
    record.bring_up_to_date(storage, study)


def _train(
    storage: Storage,
    study: OpenStudy,
    trainer: Trainer,
    held: Claim,
    progress: Progress,
    stop: Callable[[], bool],
) -> None:
    slots = [attempt.slot for attempt in held.attempts.values()]
    held.unwritten = {slot.cell: [] for slot in slots}
    stack, go = trainer.start(slots)
    progress.claimed(slots)
    for evaluation in go(stop):
        endings = _endings(study, trainer, stack, evaluation)
        _remember(held, evaluation, progress)
        cycle, rest = divmod(evaluation.update, 2 * study.experiment.n_s)
        if not endings and rest:
            continue
        lost = _write(storage, study, held, evaluation.keys, endings)
        for place, cell in enumerate(evaluation.keys):
            if cell not in lost and not rest:
                accuracy = float(evaluation.validation.accuracy[place])
                record.report_cycle(storage, held.attempts[cell], cycle, accuracy)
        for cell, ending in endings.items():
            if cell not in lost:
                progress.ended(held.attempts[cell].slot, ending.outcome, ending.value)
        over = [*lost, *endings]
        for cell in over:
            held.attempts.pop(cell, None)
        stack.drop(over)
        record.bring_up_to_date(storage, study)


def _remember(held: Claim, evaluation: Evaluation, progress: Progress) -> None:
    parts = (evaluation.training, evaluation.validation)
    for place, cell in enumerate(evaluation.keys):
        values = tuple(float(getattr(p, m)[place]) for p in parts for m in tables.MEASURES)
        held.unwritten[cell].append(Point(evaluation.update, values))
        progress.advanced(held.attempts[cell].slot, evaluation.update, values[-1])


def _endings(
    study: OpenStudy, trainer: Trainer, stack: Stack, evaluation: Evaluation
) -> dict[int, _Ending]:
    """Return how the networks ended that did: at their last update, or by divergence."""
    found = {}
    finite = np.isfinite(evaluation.training.cost) & np.isfinite(evaluation.validation.cost)
    packed = np.packbits(evaluation.hits, axis=1)
    for place, cell in enumerate(evaluation.keys):
        hits = packed[place].tobytes()
        if not finite[place]:
            found[cell] = _Ending("diverged", None, hits, None)
        elif evaluation.update >= study.experiment.n_updates:
            value = float(evaluation.validation.accuracy[place])
            found[cell] = _Ending("complete", value, hits, pack(stack.network(cell)))
    return found


def _write(
    storage: Storage,
    study: OpenStudy,
    held: Claim,
    cells: Sequence[int],
    endings: dict[int, _Ending],
) -> list[int]:
    """Write rows and results of ``cells`` in one transaction; return the cells that were lost."""

    def action(connection: Connection) -> list[int]:
        lost = []
        for cell in cells:
            attempt = held.attempts[cell]
            if not tables.holds(connection, study.uuid, attempt, held.token):
                lost.append(cell)
                continue
            tables.append_curve(connection, study.uuid, attempt.slot, held.unwritten[cell])
            if cell in endings:
                _end(connection, study, attempt, held.unwritten[cell][-1].n_updates, endings[cell])
        return lost

    lost = storage.write(action)
    for cell in cells:
        held.unwritten[cell] = []
    return lost


def _end(
    connection: Connection, study: OpenStudy, attempt: Attempt, n_updates: int, ending: _Ending
) -> None:
    key = {
        "study": study.uuid,
        "cell": attempt.slot.cell,
        "replicate": attempt.slot.replicate,
        "n_updates": n_updates,
    }
    connection.execute(
        tables.results.insert().values(
            **key,
            attempt=attempt.number,
            outcome=ending.outcome,
            value=ending.value,
            cycles=n_updates // (2 * study.experiment.n_s),
            hits=ending.hits,
            environment=json.dumps(environment(), sort_keys=True),
        )
    )
    tables.update_attempt(
        connection,
        study.uuid,
        attempt,
        state="ended",
        ended_at=time.time(),
        token=None,
        in_optuna=False,
    )
    if ending.weights:
        content, sha256 = ending.weights
        row = key | {"sha256": sha256, "content": content}
        connection.execute(tables.checkpoints.insert().values(**row))
        _forget_weights_of_the_others(connection, study.uuid)


def _forget_weights_of_the_others(connection: Connection, study: str) -> None:
    """Keep the final weights of the best slots; which those are does not depend on the order."""
    complete = [r for r in tables.results_of(connection, study) if r.value is not None]
    ranked = sorted(complete, key=lambda r: (-(r.value or 0), r.slot.cell, r.slot.replicate))
    for result in ranked[KEPT_WEIGHTS:]:
        stale = tables.at(tables.checkpoints, study, result.slot)
        connection.execute(tables.checkpoints.delete().where(stale))


def _forget_curve(connection: Connection, study: str, slot: Slot) -> None:
    connection.execute(tables.curves.delete().where(tables.at(tables.curves, study, slot)))
