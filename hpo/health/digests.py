"""Rows that are not what was written: found by their digests, and made again where that is possible.

A result is a function of its study, so a damaged one is deleted and trained again to the same
bits; a decision follows from the curves; a look at the test images stays a look, and is completed
by the next run.
"""

from typing import Any

from hpo.database import damage, digests, looks, mending, outcomes, rows, tables, tally
from hpo.database.connections import Connection, Row, Table
from hpo.database.tables import LIVE
from hpo.experiment.records import Outcome, Slot, StoredStudy
from hpo.health.finding import Finding

AGAIN = "its rows were damaged"  #: why an attempt failed whose slot is trained again


def look(connection: Connection, study: StoredStudy) -> list[Finding]:
    """Check the rows of a study against their digests."""
    wrong = [
        Finding(
            f"{study.name}, cell {slot.cell}, replicate {slot.replicate}: {fault}.",
            True,
            "`hpo doctor --repair` deletes it, and the next run trains it again, to the same result.",
        )
        for slot, fault in _damaged_slots(connection, study.uuid).items()
    ]
    for table, remedy in (
        (tables.rungs, "`hpo doctor --repair` deletes it; it is decided again from the curves."),
        (
            tables.rung_bits,
            "`hpo doctor --repair` deletes it; `hpo best` does not know then what it says.",
        ),
        (tables.test_looks, "`hpo doctor --repair` keeps it as one that the next run completes."),
    ):
        for row in _unsound(connection, table, study.uuid):
            what = damage.named(connection, table, row)
            wrong.append(Finding(f"{what}: {damage.MISFIT}.", True, remedy))
    return wrong or [Finding(f"{study.name}: every row has its recorded digest")]


def mend(connection: Connection) -> None:
    """Do what the findings say."""
    for study in rows.all_studies(connection):
        for row in _unsound(connection, tables.test_looks, study.uuid):
            looks.void(connection, row)
        for table in (tables.rungs, tables.rung_bits):
            for row in _unsound(connection, table, study.uuid):
                mending.delete(connection, table, row)
        for slot in _damaged_slots(connection, study.uuid):
            _train_again(connection, study, slot)


def _damaged_slots(connection: Connection, study: str) -> dict[Slot, str]:
    """Return the slots of which something is not as it was written, and what."""
    found: dict[Slot, str] = {}
    points: dict[Slot, list[str | None]] = {}
    for slot, curve in outcomes.by_slot(mending.rows_of(connection, tables.curves, study)):
        points[slot] = [point.digest for point in curve]
        for point in curve:
            if not digests.is_sound(tables.curves, point):
                found[slot] = f"its curve at update {point.n_updates} is not what was written"
                break
    counted = set()
    for result in mending.rows_of(connection, tables.results, study):
        slot = Slot(result.cell, result.replicate)
        counted.add(slot)
        if not digests.is_sound(tables.results, result):
            found[slot] = "its result is not what was written"
        elif result.outcome not in tuple(Outcome):
            found[slot] = "its result has an outcome that there is none of"
        elif digests.of_curve(points.get(slot, [])) != result.curve_digest:
            found.setdefault(slot, "points of its curve are missing")
    for slot in tally.ended_slots(connection, study) - counted:
        found[slot] = "its result is missing, although its trial has ended"
    return found


def _unsound(connection: Connection, table: Table, study: str) -> list[Row[Any]]:
    found = mending.rows_of(connection, table, study)
    return [row for row in found if not digests.is_sound(table, row)]


def _train_again(connection: Connection, study: StoredStudy, slot: Slot) -> None:
    """Forget what a slot has, and let it wait for a worker; who trains it now loses it."""
    mine = rows.attempts_of(connection, study.uuid)
    before = [attempt for attempt in mine if attempt.slot == slot]
    mending.forget_result(connection, study.uuid, slot)
    for attempt in before:
        if attempt.state in LIVE:
            mending.fail(connection, study.uuid, attempt, AGAIN)
    # Made here and not by the next plan, which would count it as cut if its cell has been.
    number = 1 + max((attempt.number for attempt in before), default=-1)
    mending.add_attempt(connection, study.uuid, slot, number)
