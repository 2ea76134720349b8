"""Claims: which attempts this worker holds, taken, resumed, given back or failed.

A claim moves attempts from waiting to running in one transaction and puts a new token on them.
Whoever writes for an attempt checks the token in the same transaction.
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hpo.database import checkpoints, damage, outcomes, rows
from hpo.database.checkpoints import Checkpoint
from hpo.database.connections import Connection
from hpo.database.storage import Interrupted
from hpo.errors import HpoError
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Attempt, Point, State
from hpo.machine.environment import environment
from hpo.mirror import states as record
from hpo.mirror.study import OpenStudy
from hpo.planning.plan import plan
from hpo.training.progress import Progress
from hpo.training.trainer import WIDTH


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


def claim(study: OpenStudy, width: int, identity: dict[str, Any]) -> Claim | None:
    """Take up to ``width`` waiting attempts that can stand in one stack; None if none waits."""
    token = str(uuid.uuid4())
    n_known = len(study.experiment.cells)  # another worker may have added some meanwhile

    def take(connection: Connection) -> tuple[list[Attempt], int, bool]:
        mine = rows.attempts_of(connection, study.uuid, states=[State.RUNNING], token=token)
        if mine:  # a commit that was thought lost
            return mine, 0, False
        waiting = [
            (attempt, update)
            for attempt, update in rows.waiting_of(connection, study.uuid, 4 * WIDTH)
            if attempt.slot.cell < n_known
        ]
        chosen, start = _one_stack(study.experiment, waiting, width)
        values = {
            "state": State.RUNNING,
            "token": token,
            "worker": json.dumps(identity),
            "claimed_at": rows.now(connection),
            "in_optuna": False,
        }
        taken = [
            attempt
            for attempt in chosen
            if rows.update_attempt(connection, study.uuid, attempt, was=State.WAITING, **values)
        ]
        return taken, start, bool(waiting)

    while True:
        taken, start, some_waited = study.storage.write(take)
        if taken:
            record.show(study, taken)
            return Claim({attempt.slot.cell: attempt for attempt in taken}, token, start)
        if not some_waited:
            return None


def resume(study: OpenStudy, held: Claim, progress: Progress) -> None:
    """Load the checkpoints of what is held; what stands elsewhere than the rest is given back.

    A damaged checkpoint is deleted with a warning; the one before it, or the start, takes its
    place at the next claim.
    """

    def load(connection: Connection) -> tuple[dict[int, Checkpoint | None], list[str]]:
        found: dict[int, Checkpoint | None] = {}
        warnings = []
        for cell, attempt in held.attempts.items():
            try:
                found[cell] = checkpoints.load(
                    connection, study.uuid, study.experiment, attempt.slot
                )
            except checkpoints.Damaged as error:
                checkpoints.drop_last(connection, study.uuid, attempt.slot)
                warnings.append(f"Cell {cell} goes back to an earlier checkpoint. {error}")
        for cell, checkpoint in found.items():
            done = checkpoint.n_updates if checkpoint else 0
            outcomes.forget_curve(connection, study.uuid, held.attempts[cell].slot, after=done)
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
    study.storage.write(lambda connection: _release(connection, study, held.token, given))
    for cell in cells:
        del held.attempts[cell]
    record.show(study, given)


def give_back(study: OpenStudy, held: Claim) -> None:
    """Let others have what is still held; they go on from its last checkpoint."""
    given = list(held.attempts.values())
    held.attempts.clear()
    if not given:
        return

    if study.storage.finish(lambda connection: _release(connection, study, held.token, given)):
        try:
            record.show(study, given)
        except (HpoError, Interrupted):
            return  # the next planner shows it


def _release(
    connection: Connection, study: OpenStudy, token: str, given: Sequence[Attempt]
) -> None:
    for attempt in given:
        present = rows.standing(connection, study.uuid, attempt)
        if present and present.state == State.RUNNING and present.token == token:
            rows.update_attempt(
                connection, study.uuid, attempt, state=State.WAITING, token=None, in_optuna=False
            )


def fail(study: OpenStudy, held: Claim, reason: str) -> None:
    """Record that the training of what is held failed."""
    failed = list(held.attempts.values())
    held.attempts.clear()

    def action(connection: Connection) -> None:
        for attempt in failed:
            present = rows.standing(connection, study.uuid, attempt)
            if present and present.state == State.RUNNING and present.token == held.token:
                rows.update_attempt(
                    connection,
                    study.uuid,
                    attempt,
                    state=State.FAILED,
                    reason=reason,
                    ended_at=rows.now(connection),
                    token=None,
                    in_optuna=False,
                )

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
