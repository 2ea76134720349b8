"""Which trials a study must have: one live or counted attempt for every (cell, replicate).

Planning can be repeated and only adds what is missing. An attempt whose process died on this
host is failed first, so that its slot gets another one; that is how an interrupted trial comes
back.
"""

import time
from dataclasses import dataclass

from sqlalchemy import Connection

from hpo import record, tables
from hpo.hosts import is_dead
from hpo.storage import Storage
from hpo.study import OpenStudy
from hpo.tables import Slot


@dataclass(frozen=True)
class Plan:
    """What a study stands at."""

    n_slots: int  #: cells times replicates
    n_counted: int  #: of them, those that have their result
    n_recovered: int  #: attempts of dead processes that were found now


def plan(storage: Storage, study: OpenStudy) -> Plan:
    """Make every missing attempt, and let Optuna show it as a WAITING trial."""
    made = storage.write(lambda connection: _plan(connection, study))
    record.bring_up_to_date(storage, study)
    return made


def _plan(connection: Connection, study: OpenStudy) -> Plan:
    recovered = _fail_dead(connection, study.uuid)
    experiment = study.experiment
    counted = {result.slot for result in tables.results_of(connection, study.uuid)}
    last: dict[Slot, tables.Attempt] = {}
    for attempt in tables.attempts_of(connection, study.uuid):
        last[attempt.slot] = attempt
    replicates, cells = range(experiment.definition.replicates), range(len(experiment.cells))
    slots = [Slot(cell, replicate) for replicate in replicates for cell in cells]
    rows = [
        {
            "study": study.uuid,
            "cell": slot.cell,
            "replicate": slot.replicate,
            "attempt": last[slot].number + 1 if slot in last else 0,
            "state": "waiting",
            "in_optuna": False,
        }
        for slot in slots
        if slot not in counted and (slot not in last or last[slot].state == "failed")
    ]
    if rows:
        connection.execute(tables.attempts.insert(), rows)
    return Plan(len(slots), len(counted), recovered)


def _fail_dead(connection: Connection, study: str) -> int:
    dead = [
        attempt
        for attempt in tables.attempts_of(connection, study, states=["running"])
        if attempt.worker is not None and is_dead(attempt.worker)
    ]
    for attempt in dead:
        tables.update_attempt(
            connection,
            study,
            attempt,
            state="failed",
            reason="its process died",
            ended_at=time.time(),
            token=None,
            in_optuna=False,
        )
    return len(dead)
