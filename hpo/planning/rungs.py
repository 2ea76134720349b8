"""Synchronous successive halving: who goes on after a cycle, decided once for a grid or a generation.

A rung is the end of a cycle. Every live cell of the grid, or of a generation of a search, has its
value there before any is cut; the best ``1/eta`` of them go on, with whoever ties with the last of
them (`hpo.search.ties`; in studies of before the lower cell), and with a confidence also those that are
not behind them by more than chance. Cells with another n_s get there
after another number of updates, and are compared all the same. So are those whose last cycle it is:
they take the place of one that goes on if they are good enough, and are complete all the same, as
cutting them would save nothing. The decision is a pure function of the rung's table and bits, is
recorded in the transaction that completes the table, and is only read from then on. A trial that is
at a rung before the decision is *paused*: nobody holds it or can claim it.

Reference: K. Jamieson and A. Talwalkar, "Non-stochastic Best Arm Identification and
Hyperparameter Optimization" (2016), https://arxiv.org/abs/1502.07943.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hpo.database import batches, checkpoints, decisions, hits, outcomes, rows
from hpo.database.connections import Connection
from hpo.definition.pruning import Pruning, parse
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Attempt, Outcome, Slot, State, StoredStudy
from hpo.judging import cuts
from hpo.search import ties
from hpo.search.generations import n_kept

Table = Mapping[int, float | None]  #: mean accuracy of each live cell; None if it has none
Decisions = Mapping[int, tuple[int, ...]]  #: who goes on after each rung, by its number


def survivors(table: Table, n: int) -> tuple[int, ...]:
    """Return the ``n`` best cells in the order of the grid; a cell without a value comes last."""
    ranked = sorted(table, key=lambda cell: (-_rank(table[cell]), cell))
    return tuple(sorted(cell for cell in ranked[:n] if table[cell] is not None))


def cycles_with_rung(experiment: Experiment) -> range:
    """Return the cycles after which there is more to come, for the longest cells."""
    return range(1, experiment.most_cycles)


def number(experiment: Experiment, generation: int, cycle: int) -> int:
    """Return the number of a rung in its study: of a grid it is the cycle."""
    return generation * (len(cycles_with_rung(experiment)) + 1) + cycle


def reached(experiment: Experiment, cell: int, n_updates: int) -> int | None:
    """Return the number of the rung that a cell is at after so many updates, or None."""
    cycle = experiment.recipe(cell).cycle_end(n_updates)
    if not parse(experiment.definition.pruner).is_synchronous:
        return None
    if cycle is None or not _goes_on_after(experiment, cell, cycle):
        return None
    return number(experiment, _generation_of(experiment, cell), cycle)


def is_out(
    experiment: Experiment,
    known: Decisions,
    tables: Mapping[int, Table],
    cell: int,
    has_ended: bool,
) -> bool:
    """Tell whether a decided rung went on without a cell for good: one that was given up is late.

    Args:
        tables: What each rung rests on, by its number.
        has_ended: Whether it was cut or diverged in a replicate.
    """
    generation = _generation_of(experiment, cell)
    numbers = (
        number(experiment, generation, cycle)
        for cycle in cycles_with_rung(experiment)
        if _goes_on_after(experiment, cell, cycle)
    )
    out = (n for n in numbers if n in known and cell not in known[n])
    first = next(out, None)
    return first is not None and (has_ended or tables[first].get(cell) is not None)


def catches_up(
    connection: Connection, study: StoredStudy, rung: int, slot: Slot, n_updates: int
) -> bool:
    """Tell whether a cell that comes late to a decided rung goes on: if it would have, in time.

    It had been given up and is tried again. What was decided stands; in a search, whose budget
    rests on it, and among replicates, which were ended together, nobody is added.
    """
    experiment = study.experiment
    if experiment.search is not None or experiment.replicates_at_rungs > 1:
        return False
    table = decisions.accuracies(connection, study.uuid)[rung]
    if table.get(slot.cell) is not None:
        return False
    value = outcomes.values_at(connection, study.uuid, {slot: n_updates}).get(slot)
    in_time, pruning = {**table, slot.cell: value}, parse(experiment.definition.pruner)
    return slot.cell in _survivors(connection, study, in_time, rung, pruning)  # a grid's: a cycle


def _goes_on_after(experiment: Experiment, cell: int, cycle: int) -> bool:
    """Tell whether a cell has a cycle after this one, unless it is cut."""
    return cycle < experiment.recipe(cell).n_cycles


def _generation_of(experiment: Experiment, cell: int) -> int:
    found = (g for g, cells in enumerate(experiment.generations) if cell in cells)
    return next(found, 0)


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
    touched: list[Attempt] = []
    for generation, cells in enumerate(experiment.generations):
        live, lived = tuple(cells), list[tuple[int, ...]]()
        for cycle in cycles_with_rung(experiment):
            if not any(_goes_on_after(experiment, cell, cycle) for cell in live):
                break
            rung = number(experiment, generation, cycle)
            lived.append(live)
            if rung not in known:
                table = _table(connection, study, live, cycle, given_up)
                if table is None:
                    break
                known[rung] = _survivors(connection, study, table, cycle, pruning, lived)
                told: dict[str, Any] = {"accuracies": {str(c): table[c] for c in table}}
                told["survivors"] = known[rung]
                decisions.record(connection, study.uuid, rung, told)
                touched += _apply(connection, study, cycle, live, known[rung])
            live = tuple(c for c in known[rung] if _goes_on_after(experiment, c, cycle))
    late = rows.reached_of(connection, study.uuid, [State.PAUSED])
    return touched + end_late(connection, study, late, known)


def _table(
    connection: Connection,
    study: StoredStudy,
    live: tuple[int, ...],
    cycle: int,
    given_up: Collection[Slot],
) -> dict[int, float | None] | None:
    """Return the values of the live cells, means over the replicates; None if one is missing."""
    experiment = study.experiment
    reached = {
        Slot(cell, replicate): 2 * experiment.recipe(cell).n_s * cycle
        for cell in live
        for replicate in range(experiment.replicates_at_rungs)
    }
    values = outcomes.values_at(connection, study.uuid, reached)
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


def _survivors(
    connection: Connection,
    study: StoredStudy,
    table: Table,
    cycle: int,
    pruning: Pruning,
    lived: Sequence[Sequence[int]] = (),
) -> tuple[int, ...]:
    """Return who goes on: the best, who ties with them, and whoever is not surely behind them.

    Args:
        lived: The cells of the generation that trained each cycle up to now, for a search.
    """
    chosen = survivors(table, n_kept(len(table), pruning.parameters["eta"]))
    confidence = pruning.parameters["confidence"]
    equal = ties.tied(table, chosen) if study.experiment.ties_go_on else ()
    if equal and not confidence:  # with one the budget pays for all of them, see below
        results = outcomes.results_of(connection, study.uuid) if study.experiment.search else []
        more = ties.paid_for(study.experiment, results, lived, chosen, equal)
        chosen = tuple(sorted((*chosen, *more)))
    if not confidence or not chosen:
        return chosen
    found = hits.at_rungs(connection, study, cycle).get(cycle, {})
    bits = cuts.whole(found, study.experiment.replicates_at_rungs)
    compared = {cell: bits[cell] for cell in bits if table.get(cell) is not None}
    least = max(chosen, key=lambda cell: (-_rank(table[cell]), cell))
    gone = cuts.surely_behind(compared, least, confidence)
    valued = (cell for cell in table if table[cell] is not None)
    return tuple(sorted(cell for cell in valued if cell in chosen or cell not in gone))


def _apply(
    connection: Connection,
    study: StoredStudy,
    cycle: int,
    live: tuple[int, ...],
    chosen: tuple[int, ...],
) -> list[Attempt]:
    """Let the survivors go on, and end the others, as far as they wait at this rung."""
    found = rows.attempts_of(connection, study.uuid, states=[State.PAUSED])
    paused = [attempt for attempt in found if attempt.slot.cell in live]
    cut = [attempt for attempt in paused if attempt.slot.cell not in chosen]
    on = [attempt for attempt in paused if attempt.slot.cell in chosen]
    _let_go_on(connection, study, on)
    end_pruned(connection, study, cut, cycle)
    waiting = [replace(attempt, state=State.WAITING) for attempt in on]
    return waiting + [replace(attempt, state=State.ENDED) for attempt in cut]


def _let_go_on(connection: Connection, study: StoredStudy, some: Sequence[Attempt]) -> None:
    for batch in batches.split(some):  # Optuna shows them as before
        batches.update(connection, study.uuid, batch, state=State.WAITING)


def end_pruned(
    connection: Connection, study: StoredStudy, some: Sequence[Attempt], cycle: int
) -> None:
    """Count attempts as pruned after ``cycle``, with their values there."""
    reached = {a.slot: 2 * study.experiment.recipe(a.slot.cell).n_s * cycle for a in some}
    values = outcomes.values_at(connection, study.uuid, reached)
    made_in = checkpoints.environments_at(connection, study.uuid, reached)
    counted = [
        outcomes.Counted(
            attempt,
            outcome=Outcome.PRUNED,
            value=values.get(attempt.slot),
            cycles=cycle,
            n_updates=reached[attempt.slot],
            environment=made_in.get(attempt.slot, "{}"),
        )
        for attempt in some
    ]
    outcomes.count(connection, study.uuid, counted)
    checkpoints.forget(connection, study.uuid, list(reached))
    ended = {"state": State.ENDED, "ended_at": rows.clock(connection), "in_optuna": False}
    for batch in batches.split(some):
        batches.update(connection, study.uuid, batch, **ended)


def end_late(
    connection: Connection,
    study: StoredStudy,
    paused: Sequence[tuple[Attempt, int]],
    known: Decisions,
) -> list[Attempt]:
    """End, or let go on, who waits at a rung that was decided without it; return those.

    Args:
        paused: Attempts, with how many updates each has.
    """
    touched = []
    for attempt, n_updates in paused:
        slot = attempt.slot
        rung = reached(study.experiment, slot.cell, n_updates)
        if rung is None or rung not in known:
            continue
        touched.append(attempt)
        if slot.cell in known[rung] or catches_up(connection, study, rung, slot, n_updates):
            _let_go_on(connection, study, [attempt])
        else:
            cycle = n_updates // (2 * study.experiment.recipe(slot.cell).n_s)
            end_pruned(connection, study, [attempt], cycle)
    return touched


def count_cut(connection: Connection, study: StoredStudy, slot: Slot) -> None:
    """Count a slot that was never trained, because its cell had been cut before it was asked for."""
    never = Attempt(slot, 0, None, State.ENDED)
    counted = outcomes.Counted(never, Outcome.PRUNED, None, cycles=0, n_updates=0, has_curve=False)
    outcomes.count(connection, study.uuid, [counted])


def _rank(value: float | None) -> float:
    return -math.inf if value is None else value
