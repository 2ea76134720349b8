"""Synchronous successive halving: who goes on after a cycle, decided once for the whole study.

A rung is the end of a cycle. Every live cell has its value there before any is cut; the best
``1/eta`` of them go on, ties to the lower cell. The decision is a pure function of the rung's
table, is recorded in the transaction that completes the table, and is only read from then on.
A trial that is at a rung before the decision is *paused*: nobody holds it or can claim it.

Reference: K. Jamieson and A. Talwalkar, "Non-stochastic Best Arm Identification and
Hyperparameter Optimization" (2016), https://arxiv.org/abs/1502.07943.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import replace

from hpo.database import checkpoints, decisions, outcomes, rows
from hpo.database.connections import Connection
from hpo.definition.pruning import parse
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Attempt, Outcome, Slot, State, StoredStudy

Table = Mapping[int, float | None]  #: mean accuracy of each live cell; None if it has none


def n_kept(n: int, eta: float) -> int:
    """Return how many of ``n`` cells go on: 8 of which half go on leave 4, and 5 leave 3."""
    return max(1, math.ceil(n / eta))


def survivors(table: Table, n: int) -> tuple[int, ...]:
    """Return the ``n`` best cells in the order of the grid; a cell without a value comes last."""
    ranked = sorted(table, key=lambda cell: (-_rank(table[cell]), cell))
    return tuple(sorted(cell for cell in ranked[:n] if table[cell] is not None))


def cycles_with_rung(experiment: Experiment) -> range:
    """Return the cycles after which there is more to come."""
    return range(1, -(-experiment.n_updates // (2 * experiment.n_s)))


def has_rung(experiment: Experiment, n_updates: int) -> bool:
    """Tell whether cells wait for each other after so many updates."""
    cycle, rest = divmod(n_updates, 2 * experiment.n_s)
    synchronous = parse(experiment.definition.pruner).is_synchronous
    return synchronous and rest == 0 and cycle in cycles_with_rung(experiment)


def decide(
    connection: Connection, study: StoredStudy, given_up: Collection[Slot] = ()
) -> list[Attempt]:
    """Decide every rung whose table is complete; return the attempts that this touched.

    Call it in the transaction that writes a value at a rung, after `lock`.

    Args:
        given_up: Slots whose training fails again and again; their cells come last.
    """
    pruning = parse(study.experiment.definition.pruner)
    if not pruning.is_synchronous:
        return []
    study = rows.study_by_uuid(connection, study.uuid) or study  # it may have grown
    experiment = study.experiment
    known = decisions.decided(connection, study.uuid)
    live: tuple[int, ...] = tuple(range(len(experiment.cells)))
    touched: list[Attempt] = []
    for cycle in cycles_with_rung(experiment):
        if cycle not in known:
            table = _table(connection, study, live, cycle, given_up)
            if table is None:
                break
            known[cycle] = survivors(table, n_kept(len(live), pruning.parameters["eta"]))
            _record(connection, study, cycle, table, known[cycle])
            touched += _apply(connection, study, cycle, known[cycle])
        live = known[cycle]
    return touched


def _table(
    connection: Connection,
    study: StoredStudy,
    live: tuple[int, ...],
    cycle: int,
    given_up: Collection[Slot],
) -> dict[int, float | None] | None:
    """Return the values of the live cells, means over the replicates; None if one is missing."""
    experiment = study.experiment
    values = outcomes.values_at(connection, study.uuid, 2 * experiment.n_s * cycle)
    out = set(given_up) | {
        result.slot
        for result in outcomes.results_of(connection, study.uuid)
        if result.outcome == Outcome.DIVERGED
    }
    table: dict[int, float | None] = {}
    for cell in live:
        slots = [Slot(cell, r) for r in range(experiment.replicates_at_rungs)]
        if any(slot not in values and slot not in out for slot in slots):
            return None
        lost = any(slot in out or values[slot] is None for slot in slots)
        table[cell] = None if lost else math.fsum(values[s] or 0 for s in slots) / len(slots)
    return table


def _record(
    connection: Connection,
    study: StoredStudy,
    cycle: int,
    table: Table,
    chosen: tuple[int, ...],
) -> None:
    decision = {"accuracies": {str(cell): table[cell] for cell in table}, "survivors": chosen}
    decisions.record(connection, study.uuid, cycle, decision)


def _apply(
    connection: Connection, study: StoredStudy, cycle: int, chosen: tuple[int, ...]
) -> list[Attempt]:
    """Let the survivors go on, and end the others, as far as they wait at this rung."""
    decided = []
    for attempt in rows.attempts_of(connection, study.uuid, states=[State.PAUSED]):
        goes_on = attempt.slot.cell in chosen
        if goes_on:
            rows.update_attempt(
                connection, study.uuid, attempt, state=State.WAITING, in_optuna=False
            )
        else:
            end_pruned(connection, study, attempt, cycle)
        decided.append(replace(attempt, state=State.WAITING if goes_on else State.ENDED))
    return decided


def end_pruned(connection: Connection, study: StoredStudy, attempt: Attempt, cycle: int) -> None:
    """Count an attempt as pruned after ``cycle``, with its value there."""
    slot, n_updates = attempt.slot, 2 * study.experiment.n_s * cycle
    outcomes.count(
        connection,
        study.uuid,
        attempt,
        outcome=Outcome.PRUNED,
        value=outcomes.value_at(connection, study.uuid, slot, n_updates),
        cycles=cycle,
        n_updates=n_updates,
        environment=checkpoints.environment_at(connection, study.uuid, slot, n_updates) or "{}",
    )
    checkpoints.forget(connection, study.uuid, slot)
    moment = rows.now(connection)
    rows.update_attempt(
        connection, study.uuid, attempt, state=State.ENDED, ended_at=moment, in_optuna=False
    )


def count_cut(connection: Connection, study: StoredStudy, slot: Slot) -> None:
    """Count a slot that was never trained, because its cell had been cut before it was asked for."""
    never = Attempt(slot, 0, None, State.ENDED)
    outcomes.count(
        connection,
        study.uuid,
        never,
        outcome=Outcome.PRUNED,
        value=None,
        cycles=0,
        n_updates=0,
        has_curve=False,
    )


def _rank(value: float | None) -> float:
    return -math.inf if value is None else value
