"""What a stack has reached, written in one transaction: curves, checkpoints, results, rungs."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from hpo.database import checkpoints, decisions, hits, outcomes, rows
from hpo.database.connections import Connection
from hpo.definition.pruning import parse
from hpo.experiment.records import Attempt, Outcome, State
from hpo.mirror.study import OpenStudy
from hpo.planning import rungs
from hpo.workers.claims import Claim
from model.stack import Stack
from model.training import Evaluation


@dataclass(frozen=True)
class Ending:
    """How a network's training ended."""

    outcome: str
    value: float | None
    hits: bytes = b""  #: a bit for each validation image, as `packed`


@dataclass
class Written:
    """What became of the networks at a log point."""

    lost: list[int] = field(default_factory=list)  #: cells that another worker was given
    paused: list[int] = field(default_factory=list)  #: cells that wait at a rung, or are decided
    decided: list[Attempt] = field(default_factory=list)  #: of the whole study, by this write


def packed(evaluation: Evaluation) -> dict[int, bytes]:
    """Return which validation images each network got right, a bit for each."""
    bits = np.packbits(evaluation.hits, axis=1)
    return {cell: bits[place].tobytes() for place, cell in enumerate(evaluation.keys)}


def endings_of(study: OpenStudy, evaluation: Evaluation) -> dict[int, Ending]:
    """Return how the networks ended that did: at their last update, or by divergence."""
    found = {}
    finite = np.isfinite(evaluation.training.cost) & np.isfinite(evaluation.validation.cost)
    bits = packed(evaluation)
    for place, cell in enumerate(evaluation.keys):
        if not finite[place]:
            found[cell] = Ending(Outcome.DIVERGED, None, bits[cell])
        elif evaluation.update >= study.experiment.recipe(cell).n_updates:
            value = float(evaluation.validation.accuracy[place])
            found[cell] = Ending(Outcome.COMPLETE, value, bits[cell])
    return found


def write(
    study: OpenStudy,
    held: Claim,
    stack: Stack,
    evaluation: Evaluation,
    endings: dict[int, Ending],
    cycles: Mapping[int, int],
) -> Written:
    """Write what the networks that ended, or ended a cycle, have, and whatever that decides.

    Args:
        cycles: Cells whose cycle ends here, with its number.
    """
    experiment, n_updates = study.experiment, evaluation.update
    bits = packed(evaluation)
    cells = sorted({*endings, *cycles})
    contents = {
        cell: checkpoints.pack(
            stack.network(cell),
            checkpoints.label(study.uuid, experiment, held.attempts[cell].slot, n_updates),
        )
        for cell in cells
        if cell not in endings or endings[cell].outcome == Outcome.COMPLETE
    }
    synchronous = parse(experiment.definition.pruner).is_synchronous

    def action(connection: Connection) -> Written:
        written = Written()
        if synchronous:
            decisions.lock(connection, study.uuid)
        known = decisions.decided(connection, study.uuid) if synchronous else {}
        for cell in cells:
            attempt = held.attempts[cell]
            present = rows.standing(connection, study.uuid, attempt)
            if present is None or present.token != held.token:
                written.lost.append(cell)
                continue
            if (
                present.state != State.RUNNING
            ):  # this very transaction was committed, its answer lost
                if cell not in endings:
                    written.paused.append(cell)
                continue
            outcomes.append_curve(connection, study.uuid, attempt.slot, held.unwritten[cell])
            if cell in contents:
                keep = 1 if cell in endings else checkpoints.KEPT
                slot, content = attempt.slot, contents[cell]
                made_in = held.environment(cell)
                checkpoints.save(connection, study.uuid, slot, n_updates, content, made_in, keep)
            rung = rungs.reached(experiment, cell, n_updates)
            if rung is not None:
                hits.keep_at_rung(connection, study.uuid, attempt.slot, n_updates, bits[cell])
            if cell in endings:
                _end(connection, study, held, cell, n_updates, endings[cell])
            elif rung is not None and rung not in known:
                rows.update_attempt(
                    connection, study.uuid, attempt, state=State.PAUSED, in_optuna=False
                )
                written.paused.append(cell)
            elif (
                rung is not None
                and cell not in known[rung]  # trained again after it was cut, or given up
                and not rungs.catches_up(connection, study.stored, rung, attempt.slot, n_updates)
            ):
                rungs.end_pruned(connection, study.stored, attempt, cycles[cell])
                written.paused.append(cell)
        if synchronous:
            written.decided = rungs.decide(connection, study.stored)
        if endings:
            checkpoints.keep_best(connection, study.uuid)
        return written

    written = study.storage.write(action)
    for cell in cells:
        held.unwritten[cell] = []
    return written


def _end(
    connection: Connection,
    study: OpenStudy,
    held: Claim,
    cell: int,
    n_updates: int,
    ending: Ending,
) -> None:
    attempt = held.attempts[cell]
    if ending.outcome == Outcome.DIVERGED:
        checkpoints.forget(connection, study.uuid, attempt.slot)
    outcomes.count(
        connection,
        study.uuid,
        attempt,
        outcome=ending.outcome,
        value=ending.value,
        cycles=n_updates // (2 * study.experiment.recipe(attempt.slot.cell).n_s),
        n_updates=n_updates,
        hits=ending.hits,
        environment=held.environment(cell),
    )
    moment = rows.now(connection)
    rows.update_attempt(
        connection, study.uuid, attempt, state=State.ENDED, ended_at=moment, in_optuna=False
    )
