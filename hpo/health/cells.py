"""The cells of a study: their checkpoints, and that each is counted or planned once."""

import sqlalchemy as sa
from sqlalchemy import Connection

from hpo.database import checkpoints, outcomes, rows, tables
from hpo.experiment.records import Slot, State, StoredStudy
from hpo.health.finding import Finding


def damage(connection: Connection, study: StoredStudy) -> list[Finding]:
    """Check the hash of every checkpoint."""
    table = tables.checkpoints
    query = table.select().where(table.c.study == study.uuid)
    damaged, n = [], 0
    for row in connection.execute(query):
        n += 1
        slot = Slot(row.cell, row.replicate)
        expected = checkpoints.label(study.uuid, study.experiment, slot, row.n_updates)
        try:
            checkpoints.unpack(row.content, row.sha256, expected)
        except checkpoints.Damaged as error:
            damaged.append(
                Finding(
                    f"{study.name}, cell {row.cell}, replicate {row.replicate}, update "
                    f"{row.n_updates}: {error}",
                    True,
                    "`hpo doctor --repair` deletes it.",
                )
            )
    return damaged or [Finding(f"{study.name}: {n} checkpoints have their recorded hash")]


def delete_damaged(connection: Connection) -> None:
    """Delete the checkpoints whose hash is another; the one before, or the start, takes their place."""
    table = tables.checkpoints
    for study in rows.all_studies(connection):
        for row in connection.execute(table.select().where(table.c.study == study.uuid)).all():
            slot = Slot(row.cell, row.replicate)
            expected = checkpoints.label(study.uuid, study.experiment, slot, row.n_updates)
            try:
                checkpoints.unpack(row.content, row.sha256, expected)
            except checkpoints.Damaged:
                this = sa.and_(rows.at(table, study.uuid, slot), table.c.n_updates == row.n_updates)
                connection.execute(table.delete().where(this))


def surplus(connection: Connection, study: StoredStudy) -> Finding:
    """Compare results and live attempts with the grid: one of either for every slot."""
    experiment = study.experiment
    n_slots = experiment.n_slots
    counted = outcomes.counted_slots(connection, study.uuid)
    live = [a.slot for a in rows.attempts_of(connection, study.uuid, states=tables.LIVE)]
    twice = len(live) - len(set(live)) + len(counted & set(live))
    if twice:
        text = f"{study.name}: {twice} slots are counted or planned twice."
        return Finding(text, True, "`hpo doctor --repair` keeps the result, or the last plan.")
    left = n_slots - len(counted)
    return Finding(f"{study.name}: {len(counted)} of {n_slots} results, {left} to go")


def fail_surplus(connection: Connection) -> None:
    """Leave no live attempt where there is a result, and elsewhere only the last one."""
    for study in rows.all_studies(connection):
        taken = outcomes.counted_slots(connection, study.uuid)
        live = rows.attempts_of(connection, study.uuid, states=tables.LIVE)
        for attempt in reversed(live):
            if attempt.slot in taken:
                rows.update_attempt(
                    connection,
                    study.uuid,
                    attempt,
                    state=State.FAILED,
                    reason="planned twice",
                    ended_at=rows.now(connection),
                    token=None,
                )
            taken.add(attempt.slot)
