"""What a stack has reached, written in one transaction: curves, checkpoints, results, rungs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hpo.database import batches, checkpoints, decisions, hits, outcomes, rows, tally
from hpo.database.connections import Connection
from hpo.definition.pruning import parse
from hpo.experiment.records import Attempt, Outcome, State
from hpo.mirror import moves, states
from hpo.mirror.moves import Move
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

    It takes as many statements for many networks as for one, and nothing that grows with the study.

    Args:
        cycles: Cells whose cycle ends here, with its number.
    """
    end = _End(study, held, evaluation, endings, sorted({*endings, *cycles}))
    contents = end.contents(stack)
    written = study.storage.write(lambda connection: end.write(connection, contents))
    for cell in end.cells:
        held.unwritten[cell] = []
    return written


def save(study: OpenStudy, held: Claim, stack: Stack, evaluation: Evaluation) -> None:
    """Write how far the networks are that are at a log point, for who is told to stop there.

    Training goes on from every log point with the same bits.
    """
    end = _End(study, held, evaluation, {}, sorted(evaluation.keys))
    contents = end.contents(stack)
    study.storage.finish(lambda connection: end.write(connection, contents))


def save_some(
    study: OpenStudy, held: Claim, stack: Stack, evaluation: Evaluation, cells: Sequence[int]
) -> list[int]:
    """Do the same for some of them, which others shall have; return those that were lost already."""
    end = _End(study, held, evaluation, {}, sorted(cells))
    contents = end.contents(stack)
    return study.storage.write(lambda connection: end.write(connection, contents)).lost


class _End:
    """What a stack has at a log point where something of it ends, or where its worker is stopped."""

    def __init__(
        self,
        study: OpenStudy,
        held: Claim,
        evaluation: Evaluation,
        endings: dict[int, Ending],
        cells: list[int],
    ) -> None:
        self.cells = cells
        self._study, self._held, self._endings = study, held, endings
        self._n_updates = evaluation.update
        self._bits = packed(evaluation)
        self._accuracies = {
            cell: float(evaluation.validation.accuracy[place])
            for place, cell in enumerate(evaluation.keys)
        }
        experiment = study.experiment
        self._rungs = {c: rungs.reached(experiment, c, self._n_updates) for c in self.cells}

    def contents(self, stack: Stack) -> dict[int, bytes]:
        """Return the checkpoints of the networks that are worth one."""
        experiment, uuid = self._study.experiment, self._study.uuid
        slots = {cell: self._held.attempts[cell].slot for cell in self.cells}
        return {
            cell: checkpoints.pack(
                stack.network(cell),
                checkpoints.label(uuid, experiment, slots[cell], self._n_updates),
            )
            for cell in self.cells
            if cell not in self._endings or self._endings[cell].outcome == Outcome.COMPLETE
        }

    def write(self, connection: Connection, contents: Mapping[int, bytes]) -> Written:
        """Write all of it; the transaction is the caller's."""
        written = Written()
        known = self._decided(connection)
        waits = [c for c in self.cells if c not in self._endings and self._stops(c, known)]
        goes_on = [c for c in self.cells if c not in self._endings and c not in waits]
        let_go = {"seconds": rows.held_for(connection)}
        ended = self._move(
            connection,
            list(self._endings),
            state=State.ENDED,
            ended_at=rows.clock(connection),
            **let_go,
        )
        paused = self._move(connection, waits, state=State.PAUSED, **let_go)
        present = ended | paused | self._move(connection, goes_on)
        if len(present) < len(self.cells):
            self._tell_others(connection, set(self.cells) - present.keys(), written)
        points = {a.slot: self._held.unwritten[cell] for cell, a in present.items()}
        outcomes.append_curves(connection, self._study.uuid, points)
        at_rungs = {a.slot: self._bits[c] for c, a in present.items() if self._rungs[c] is not None}
        hits.keep_at_rung(connection, self._study.uuid, self._n_updates, at_rungs)
        trained_on = {cell: a for cell, a in present.items() if cell not in ended}
        self._save(connection, trained_on, contents, checkpoints.KEPT)
        self._count(connection, ended, contents)
        moves.show(connection, self._study, self._moves(present, ended, paused))
        self._end_late(connection, paused, known)
        written.paused += paused
        self._decide(connection, written)
        return written

    def _decided(self, connection: Connection) -> dict[int, tuple[int, ...]]:
        """Return who goes on after the rungs that are reached here, as far as that is decided."""
        reached = {rung for rung in self._rungs.values() if rung is not None}
        return decisions.decided(connection, self._study.uuid, reached) if reached else {}

    def _stops(self, cell: int, known: Mapping[int, tuple[int, ...]]) -> bool:
        rung = self._rungs[cell]
        return rung is not None and cell not in known.get(rung, ())

    def _move(self, connection: Connection, cells: list[int], **values: Any) -> dict[int, Attempt]:
        """Change the attempts that are still ours, which then are locked; return them by cell."""
        some = [self._held.attempts[cell] for cell in cells]
        uuid, token = self._study.uuid, self._held.token
        moved = batches.move(connection, uuid, some, token, in_optuna=True, **values)
        return {attempt.slot.cell: attempt for attempt in moved}

    def _tell_others(self, connection: Connection, cells: set[int], written: Written) -> None:
        """Tell those that were lost from those that this transaction wrote when its answer was lost."""
        some = [self._held.attempts[cell] for cell in sorted(cells)]
        there = {a.slot.cell: a for a in batches.standing(connection, self._study.uuid, some)}
        for cell in sorted(cells):
            if cell not in there or there[cell].token != self._held.token:
                written.lost.append(cell)
            elif cell not in self._endings:
                written.paused.append(cell)

    def _save(
        self,
        connection: Connection,
        attempts: Mapping[int, Attempt],
        contents: Mapping[int, bytes],
        keep: int,
    ) -> None:
        made = [
            checkpoints.Made(attempt.slot, contents[cell], self._held.environment(cell))
            for cell, attempt in attempts.items()
        ]
        checkpoints.save(connection, self._study.uuid, self._n_updates, made, keep=keep)

    def _count(
        self, connection: Connection, ended: dict[int, Attempt], contents: Mapping[int, bytes]
    ) -> None:
        """Count what ended, and keep the weights of the best."""
        if not ended:
            return
        uuid, experiment = self._study.uuid, self._study.experiment
        counted = [
            outcomes.Counted(
                attempt,
                outcome=self._endings[cell].outcome,
                value=self._endings[cell].value,
                cycles=self._n_updates // (2 * experiment.recipe(cell).n_s),
                n_updates=self._n_updates,
                hits=self._endings[cell].hits,
                environment=self._held.environment(cell),
            )
            for cell, attempt in ended.items()
        ]
        outcomes.count(connection, uuid, counted)
        diverged = [a.slot for cell, a in ended.items() if self._endings[cell].value is None]
        checkpoints.forget(connection, uuid, diverged)
        values = {a.slot: self._endings[cell].value for cell, a in ended.items()}
        new = {slot: value for slot, value in values.items() if value is not None}
        best = checkpoints.keep_best(connection, uuid, new)
        self._save(connection, {c: a for c, a in ended.items() if a.slot in best}, contents, 1)

    def _moves(
        self,
        present: Mapping[int, Attempt],
        ended: Mapping[int, Attempt],
        paused: Mapping[int, Attempt],
    ) -> list[Move]:
        found = []
        for cell, attempt in present.items():
            cycle = self._study.experiment.recipe(cell).cycle_end(self._n_updates)
            steps = {} if cycle is None else {cycle: self._accuracies[cell]}
            if cell not in ended:
                state = "WAITING" if cell in paused else "RUNNING"
                found.append(Move(attempt, state, steps=steps, is_new=cell in paused))
                continue
            ending = self._endings[cell]
            said = {
                "outcome": ending.outcome,
                "updates": self._n_updates,
                "environment": json.loads(self._held.environment(cell)),
            }
            state = "FAIL" if ending.outcome == Outcome.DIVERGED else "COMPLETE"
            found.append(Move(attempt, state, ending.value, said, steps))
        return found

    def _end_late(
        self,
        connection: Connection,
        paused: Mapping[int, Attempt],
        known: Mapping[int, tuple[int, ...]],
    ) -> None:
        """End, or let go on, who comes late to a decided rung: cut and trained again, or given up."""
        late = [(a, self._n_updates) for cell, a in paused.items() if self._rungs[cell] in known]
        if late:
            ended = rungs.end_late(connection, self._study.stored, late, known)
            states.show_within(connection, self._study, ended)

    def _decide(self, connection: Connection, written: Written) -> None:
        """Decide what can be decided: by who writes the last value of a rung, and nobody before."""
        study = self._study
        is_synchronous = parse(study.experiment.definition.pruner).is_synchronous
        if is_synchronous and tally.is_rung_full(connection, study.uuid):
            decisions.lock(connection, study.uuid)
            written.decided = rungs.decide(connection, study.stored)
            ended = [a for a in written.decided if a.state == State.ENDED]  # others wait as before
            states.show_within(connection, study, ended)
