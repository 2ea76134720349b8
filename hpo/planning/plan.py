"""Which trials a study must have: one live or counted attempt for every (cell, replicate).

Planning can be repeated and only adds what is missing. Attempts of dead workers are failed first,
so that their slots get new ones; that is how an interrupted trial comes back. A slot whose
training fails again and again, or whose workers die ten times before it gets any further, is left
alone until ``hpo retry``.
"""

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from hpo.database import decisions, leases, outcomes, rows
from hpo.database.connections import Connection
from hpo.database.fleet import DIED, SILENT, bury
from hpo.database.tables import LIVE
from hpo.experiment import budgets
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Attempt, Outcome, Slot, State, StoredStudy
from hpo.mirror import study as studies
from hpo.mirror import trials
from hpo.mirror.study import OpenStudy
from hpo.planning import growth, rungs
from hpo.search import generations

MAX_FAILURES = 3  #: attempts at a slot that may fail one after the other for one reason
MAX_FAILURES_IN_ALL = 10  #: for whatever reasons
MAX_DEATHS = 10  #: attempts at a slot that may die without a new checkpoint in between
ALONE_AFTER = 6  #: such deaths after which it goes alone: the fault may be its own
VARIES = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{6,}\b|\d+", re.IGNORECASE)  #: addresses, ids, numbers
FORGIVEN = "forgiven: "  #: begins the reason of a failure that `retry` does not count any more


@dataclass(frozen=True)
class Plan:
    """What a study stands at."""

    n_slots: int  #: cells times replicates
    n_counted: int  #: of them, those that have their result
    n_recovered: int  #: attempts of dead workers that were found now
    #: Slots that failed too often, with the reason.
    failed: dict[Slot, str] = field(default_factory=dict)
    n_updates: int = 0  #: that the slots without a result need in all
    n_unplanned: int = 0  #: updates of a search's budget that no slot has yet
    is_over: bool = True  #: whether no more slots will come

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to do."""
        return self.is_over and self.n_counted == self.n_slots


def plan(study: OpenStudy) -> Plan:
    """Make every missing attempt, and let Optuna show it as a WAITING trial."""
    with leases.held(study.storage, f"plan {study.uuid}") as renew:
        return _planned(study, renew)


def plan_unless_planned(study: OpenStudy) -> Plan | None:
    """Do the same, or nothing if somebody else is at it, as when many workers see one death."""
    with leases.tried(study.storage, f"plan {study.uuid}") as renew:
        return None if renew is None else _planned(study, renew)


def _planned(study: OpenStudy, renew: Callable[[], None]) -> Plan:
    made = study.storage.write(lambda connection: _plan(connection, study))
    while made.n_counted == made.n_slots and growth.extend(study):
        renew()
        made = study.storage.write(lambda connection: _plan(connection, study))
    trials.make_trials(studies.present(study), renew)
    return made


def stands(connection: Connection, study: OpenStudy, experiment: Experiment | None = None) -> Plan:
    """Return how a study stands, and change nothing.

    Args:
        experiment: As it would be, if it is not what is stored.
    """
    experiment = experiment or studies.stored_now(connection, study).experiment
    failed = _failed_too_often(rows.attempts_of(connection, study.uuid))
    return _standing(connection, study.uuid, experiment, failed)


def retry(study: OpenStudy) -> int:
    """Give slots that failed too often a new chance; return how many there were."""

    def forgive(connection: Connection) -> int:
        failed = _failed_too_often(rows.attempts_of(connection, study.uuid))
        for slot in failed:
            rows.prefix_reason(connection, study.uuid, slot, FORGIVEN)
        return len(failed)

    forgiven = study.storage.write(forgive)
    plan(study)
    return forgiven


def _plan(connection: Connection, study: OpenStudy) -> Plan:
    recovered = bury(connection, study.uuid)
    stored = studies.stored_now(connection, study)
    experiment = stored.experiment
    slots = slots_of(experiment)
    counted = outcomes.counted_slots(connection, study.uuid)
    made = rows.attempts_of(connection, study.uuid)
    failed = _failed_too_often(made)
    decisions.lock(connection, study.uuid)
    rungs.decide(connection, stored, failed)
    missing = _due(experiment, [s for s in slots if s not in counted and s not in failed])
    counted |= _count_cut(connection, stored, missing, made)
    before = _by_slot(made)
    new = [
        _new_attempt(study.uuid, slot, before.get(slot, []))
        for slot in missing
        if slot not in counted and (slot not in before or before[slot][-1].state == State.FAILED)
    ]
    rows.add_attempts(connection, new)
    return replace(
        _standing(connection, study.uuid, experiment, failed), n_recovered=len(recovered)
    )


def _due(experiment: Experiment, missing: list[Slot]) -> list[Slot]:
    """Return what can be trained now: a study that grew is first done with what it began with.

    So its result is that of the same commands one after the other, whenever it grew.
    """
    first = [slot for slot in missing if slot.replicate < experiment.replicates_at_rungs]
    return first if experiment.began_with and first else missing


def slots_of(experiment: Experiment) -> list[Slot]:
    """Return every slot that is known now, replicate by replicate."""
    return [
        Slot(cell, replicate)
        for replicate in range(experiment.replicates)
        for cell in range(len(experiment.cells))
        if replicate < experiment.replicates_of(cell)
    ]


def _standing(
    connection: Connection, study: str, experiment: Experiment, failed: dict[Slot, str]
) -> Plan:
    slots, counted = slots_of(experiment), outcomes.counted_slots(connection, study)
    is_over = experiment.search is None or experiment.search.is_over
    n_unplanned = 0
    if not is_over:
        used = generations.spent(experiment, outcomes.results_of(connection, study))
        n_unplanned = max(0, budgets.largest(experiment) - used)
    return Plan(
        n_slots=len(slots),
        n_counted=len(counted),
        n_recovered=0,
        failed=failed,
        n_updates=sum(experiment.recipe(s.cell).n_updates for s in slots if s not in counted),
        n_unplanned=n_unplanned,
        is_over=is_over,
    )


def _count_cut(
    connection: Connection, study: StoredStudy, missing: list[Slot], made: list[Attempt]
) -> set[Slot]:
    """Count the slots that came later to a cell which was cut: it is cut in all replicates."""
    if not missing:
        return set()
    known = decisions.decided(connection, study.uuid)
    tables = decisions.accuracies(connection, study.uuid)
    live = {attempt.slot for attempt in made if attempt.state in LIVE}
    results = outcomes.results_of(connection, study.uuid)
    short = {result.slot.cell for result in results if result.outcome != Outcome.COMPLETE}
    cut = {
        slot
        for slot in missing
        if slot not in live
        and rungs.is_out(study.experiment, known, tables, slot.cell, slot.cell in short)
    }
    for slot in cut:
        rungs.count_cut(connection, study, slot)
    return cut


def _new_attempt(study: str, slot: Slot, history: list[Attempt]) -> dict[str, Any]:
    before = history[-1] if history else None
    return {
        "study": study,
        "cell": slot.cell,
        "replicate": slot.replicate,
        "attempt": 0 if before is None else before.number + 1,
        "state": State.WAITING,
        # One that failed in training may have failed for a neighbour's fault: it goes alone.
        "alone": before is not None
        and (before.reason not in (DIED, SILENT) or _n_deaths(history) >= ALONE_AFTER),
        "in_optuna": False,
    }


def _by_slot(made: list[Attempt]) -> dict[Slot, list[Attempt]]:
    found: dict[Slot, list[Attempt]] = {}
    for attempt in made:
        found.setdefault(attempt.slot, []).append(attempt)
    return found


def _failed_too_often(made: list[Attempt]) -> dict[Slot, str]:
    """Return the slots that failed too often since they were last given a chance, with the reason.

    Deaths count if they follow one another without progress. What varies in a reason, as addresses
    do, makes no other reason of it.
    """
    failed = {}
    for slot, history in _by_slot(made).items():
        reasons: list[str] = []
        for attempt in history:
            if attempt.state != State.FAILED or (attempt.reason or "").startswith(FORGIVEN):
                reasons = []
            elif attempt.reason not in (DIED, SILENT):
                reasons.append(attempt.reason or "unknown")
        alike = {VARIES.sub("", reason) for reason in reasons[-MAX_FAILURES:]}
        is_stuck = len(reasons) >= MAX_FAILURES and len(alike) == 1
        if is_stuck or len(reasons) >= MAX_FAILURES_IN_ALL:
            failed[slot] = reasons[-1]
        elif _n_deaths(history) >= MAX_DEATHS:
            failed[slot] = f"{history[-1].reason} {_n_deaths(history)} times before it got further"
    return failed


def _n_deaths(history: list[Attempt]) -> int:
    """Return how many attempts died one after the other since the last checkpoint of a slot."""
    last = history[-1]
    deaths = itertools.takewhile(
        lambda a: a.state == State.FAILED and a.reason in (DIED, SILENT) and a.saved == last.saved,
        reversed(history),
    )
    return len(list(deaths))
