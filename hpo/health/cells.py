"""The cells of a study: their checkpoints, and that each is counted or planned once."""

from hpo.database import mending, outcomes, rows, tables
from hpo.database.connections import Connection
from hpo.experiment.records import StoredStudy
from hpo.health.finding import Finding


def damage(connection: Connection, study: StoredStudy) -> list[Finding]:
    """Check the hash of every checkpoint."""
    damaged, n = [], 0
    for row, error in mending.read_checkpoints(connection, study):
        n += 1
        if error is not None:
            what = (
                f"{study.name}, cell {row.cell}, replicate {row.replicate}, update {row.n_updates}"
            )
            damaged.append(Finding(f"{what}: {error}", True, "`hpo doctor --repair` deletes it."))
    return damaged or [Finding(f"{study.name}: {n} checkpoints have their recorded hash")]


def delete_damaged(connection: Connection) -> None:
    """Delete the checkpoints whose hash is another; the one before, or the start, takes their place."""
    for study in rows.all_studies(connection):
        read = mending.read_checkpoints(connection, study)
        for row in [row for row, error in read if error is not None]:
            mending.delete(connection, tables.checkpoints, row)


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
                mending.fail(connection, study.uuid, attempt, "planned twice")
            taken.add(attempt.slot)
