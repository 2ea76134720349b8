"""Claims: which attempts this worker holds, taken, resumed, given back or failed.

A claim moves attempts from waiting to running in one transaction and puts a new token on them.
Whoever writes for an attempt checks the token in the same transaction.
"""

import json
import random
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hpo.database import batches, checkpoints, damage, outcomes, rows
from hpo.database.checkpoints import Checkpoint
from hpo.database.connections import Connection
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Attempt, Point, Slot, State
from hpo.machine.environment import environment
from hpo.mirror import moves
from hpo.mirror.moves import Move
from hpo.mirror.study import OpenStudy
from hpo.planning.plan import plan
from hpo.training.progress import Progress
from hpo.training.trainer import WIDTH

WINDOW = 4 * WIDTH  #: waiting attempts that a stack is chosen from
WIDEST = 1024  #: the same where many workers choose
FEW = 4  #: workers that get out of each other's way by themselves
PAUSE = 0.1  #: seconds until another try at most, when others took what was chosen


@dataclass
class Claim:
    """Attempts that this worker holds, where they stand, and what is not written yet."""

    attempts: dict[int, Attempt]  #: by cell; all of one replicate
    token: str
    n_updates: int  #: at which all of them go on
    starts: dict[int, Checkpoint] = field(default_factory=dict)
    unwritten: dict[int, list[Point]] = field(default_factory=dict)

    def environment(self, cell: int) -> str:
        """Return the environment of what this worker adds to ``cell``, as JSON.

        It says ``mixed`` when part of the training was done in another one.
        """
        here = environment()
        before = self.starts[cell].environment if cell in self.starts else ""
        if before and damage.parsed(before, "The environment of a checkpoint") != here:
            here = here | {"mixed": "yes"}
        return json.dumps(here, sort_keys=True)


def claim(
    study: OpenStudy, width: int, identity: dict[str, Any], n_workers: int = 1
) -> Claim | None:
    """Take up to ``width`` waiting attempts that can stand in one stack; None if none waits.

    Args:
        n_workers: That may claim at the same time: of many, not all try for the first stack.
    """
    token = str(uuid.uuid4())
    n_known = len(study.experiment.cells)  # another worker may have added some meanwhile
    n_tries = 0
    window = max(WINDOW, min(n_workers * width, WIDEST))

    def take(connection: Connection) -> tuple[list[Attempt], int, bool]:
        nonlocal n_tries
        n_tries += 1
        if n_tries > 1:  # a commit may have been thought lost
            mine = rows.attempts_of(connection, study.uuid, states=[State.RUNNING], token=token)
            if mine:
                return mine, 0, False
        waiting = [
            (attempt, update)
            for attempt, update in rows.waiting_of(connection, study.uuid, window)
            if attempt.slot.cell < n_known
        ]
        if waiting and (n_tries > 1 or n_workers > FEW):
            n_stacks = -(-len(waiting) // width)
            first = width * random.randrange(n_stacks)  # results depend on no order
            waiting = waiting[first:] + waiting[:first]
        chosen, start = _one_stack(study.experiment, waiting, width)
        taken = batches.take(
            connection,
            study.uuid,
            chosen,
            state=State.RUNNING,
            token=token,
            worker=json.dumps(identity),
            worker_id=identity.get("id"),
            claimed_at=rows.clock(connection),
            in_optuna=True,
        )
        moves.show(connection, study, [Move(attempt, "RUNNING") for attempt in taken])
        return taken, start, bool(waiting)

    while True:
        taken, start, some_waited = study.storage.write(take)
        if taken:
            return Claim({attempt.slot.cell: attempt for attempt in taken}, token, start)
        if not some_waited or study.storage.stop():
            return None
        time.sleep(random.uniform(0.2, 1.0) * PAUSE)


def resume(study: OpenStudy, held: Claim, progress: Progress) -> None:
    """Load the checkpoints of what is held; what stands elsewhere than the rest is given back.

    A damaged checkpoint is deleted with a warning; the one before it, or the start, takes its
    place at the next claim.
    """
    slots = {attempt.slot: cell for cell, attempt in held.attempts.items()}

    def load(connection: Connection) -> tuple[dict[int, Checkpoint | None], list[str]]:
        found: dict[int, Checkpoint | None] = dict.fromkeys(held.attempts)  # None: from its start
        warnings = []
        stored = checkpoints.load(connection, study.uuid, study.experiment, list(slots))
        for slot, checkpoint in stored.items():
            if isinstance(checkpoint, Checkpoint):
                found[slots[slot]] = checkpoint
                continue
            del found[slots[slot]]
            checkpoints.drop_last(connection, study.uuid, slot)
            warnings.append(f"Cell {slot.cell} goes back to an earlier checkpoint. {checkpoint}")
        by_start: dict[int, list[Slot]] = {}
        for cell, kept in found.items():
            start = kept.n_updates if kept else 0
            by_start.setdefault(start, []).append(held.attempts[cell].slot)
        for start, some in by_start.items():
            outcomes.forget_curves(connection, study.uuid, some, after=start)
        return found, warnings

    found, warnings = study.storage.write(load)
    for warning in warnings:
        progress.warn(warning)
    stands = {cell: c.n_updates if c else 0 for cell, c in found.items()}
    held.n_updates = max(stands.values(), default=0)
    elsewhere = [cell for cell in held.attempts if stands.get(cell) != held.n_updates]
    give_some_back(study, held, elsewhere)
    held.starts = {cell: c for cell, c in found.items() if c and cell in held.attempts}


def give_some_back(study: OpenStudy, held: Claim, cells: Sequence[int]) -> None:
    """Let others have some cells, with all patience: from a living worker nobody takes them."""
    if not cells:
        return
    given = [held.attempts[cell] for cell in cells]
    study.storage.write(lambda connection: release(connection, study, held.token, given))
    for cell in cells:
        del held.attempts[cell]


def give_back(study: OpenStudy, held: Claim) -> None:
    """Let others have what is still held; they go on from its last checkpoint."""
    given = list(held.attempts.values())
    held.attempts.clear()
    if given:
        study.storage.finish(lambda connection: release(connection, study, held.token, given))


def release(
    connection: Connection, study: OpenStudy, token: str, given: Sequence[Attempt]
) -> list[Attempt]:
    """Let attempts that run under a token wait again; return which did."""
    let_go = {"seconds": rows.held_for(connection), "in_optuna": True, "token": None}
    moved = batches.move(connection, study.uuid, given, token, state=State.WAITING, **let_go)
    moves.show(connection, study, [Move(attempt, "WAITING") for attempt in moved])
    return moved


def fail(study: OpenStudy, held: Claim, reason: str) -> None:
    """Record that the training of what is held failed."""
    failed = list(held.attempts.values())
    held.attempts.clear()

    def action(connection: Connection) -> None:
        moved = batches.move(
            connection,
            study.uuid,
            failed,
            held.token,
            state=State.FAILED,
            reason=reason,
            ended_at=rows.clock(connection),
            seconds=rows.held_for(connection),
            token=None,
            in_optuna=True,
        )
        said = {"reason": reason}
        moves.show(connection, study, [Move(attempt, "FAIL", said=said) for attempt in moved])

    study.storage.write(action)
    plan(study)


def _one_stack(
    experiment: Experiment, waiting: list[tuple[Attempt, int]], width: int
) -> tuple[list[Attempt], int]:
    """Choose the first attempt and those of its replicate and update that can share its stack."""
    if not waiting:
        return [], 0
    first, start = waiting[0]
    if first.alone:
        return [first], start
    alike = experiment.recipe(first.slot.cell).alike
    chosen = [
        attempt
        for attempt, update in waiting
        if update == start
        and attempt.slot.replicate == first.slot.replicate
        and experiment.recipe(attempt.slot.cell).alike == alike
        and not attempt.alone
    ]
    return _mixed(experiment, chosen, width), start


def _mixed(experiment: Experiment, attempts: list[Attempt], width: int) -> list[Attempt]:
    """Return ``width`` of the attempts: of equal length the first, else long and short ones alike."""

    def length(attempt: Attempt) -> int:
        return experiment.recipe(attempt.slot.cell).n_updates

    if len({length(attempt) for attempt in attempts}) < 2:
        return attempts[:width]
    ordered = sorted(attempts, key=lambda attempt: (-length(attempt), attempt.slot.cell))
    taken = ordered[:: max(1, len(ordered) // width)][:width] if width else []
    return sorted(taken, key=lambda attempt: attempt.slot.cell)
