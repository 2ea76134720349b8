"""All studies of a database in a few lines: what `hpo list` and `hpo status` print.

A study that cannot be shown is a line that says why, and keeps no other from being shown.
"""

from collections.abc import Callable, Sequence

from hpo.database import fleet, outcomes, rows, tally
from hpo.database.connections import Connection
from hpo.errors import DamagedRow, is_of_one_study, reason_of
from hpo.experiment import budgets
from hpo.experiment.records import Outcome, Result, State, StoredStudy
from hpo.machine.printable import printable
from hpo.mirror import shelf
from hpo.views import report, waiting

NONE_YET = "No studies yet. `hpo run coarse` starts one."


def status(connection: Connection) -> str:
    """Return a line for every study: how many slots are counted, running, waiting, failed."""
    header = (
        f"{'study':<24} {'cells':>6} {'done':>6} {'running':>8} {'waiting':>8} {'pruned':>7} "
        f"{'diverged':>9}  best"
    )
    found = shelf.look(connection)
    results, states = outcomes.results_by_study(connection), tally.counts_by_study(connection)

    def line_of(study: StoredStudy) -> str:
        counted = results.get(study.uuid, [])
        if isinstance(counted, DamagedRow):
            raise counted
        return _status_of(study, counted, states.get(study.uuid, {}))

    lines = _each(found, line_of)
    if not lines:
        return NONE_YET
    workers = working(connection, found.studies)
    unserved = [printable(line) for line in waiting.unserved(connection)] if workers else []
    return "\n".join([header, *lines, "", workers, *unserved] if workers else [header, *lines])


def listing(connection: Connection) -> str:
    """Return a line for every study: its name, data and recipe."""
    return "\n".join(_each(shelf.look(connection), _listed)) or NONE_YET


def _each(found: shelf.Shelf, line_of: Callable[[StoredStudy], str]) -> list[str]:
    """Return the line of every study, and after them what there is to say about any."""
    lines = []
    for study in found.studies:
        try:
            lines.append(line_of(study))
        except Exception as error:
            if not is_of_one_study(error):
                raise
            lines.append(f"{study.name}: cannot be shown: {reason_of(error)}")
    return [printable(line) for line in (*lines, *found.remarks)]


def _status_of(study: StoredStudy, results: list[Result], states: dict[str, int]) -> str:
    told = report.StudyReport(study, tuple(results), test_accuracy=None, n_test_looks=0)
    pruned, diverged = (
        sum(r.outcome == outcome for r in told.results)
        for outcome in (Outcome.PRUNED, Outcome.DIVERGED)
    )
    n_waiting = states.get(State.WAITING, 0) + states.get(State.PAUSED, 0)
    best = "-"
    if told.best is not None:
        cell = told.best.slot.cell
        where = report.in_short(study.experiment, cell) + report.so_far(study.experiment)
        best = f"{told.means[cell]:.4f} at {where}"
    grew = budgets.in_words(study.experiment)
    best += f"; {grew}" if grew else ""
    return (
        f"{study.name:<24} {told.n_slots:>6} {len(told.results):>6} "
        f"{states.get('running', 0):>8} {n_waiting:>8} {pruned:>7} {diverged:>9}  {best}"
    )


def _listed(study: StoredStudy) -> str:
    experiment = study.experiment
    derived = f", from {experiment.parent.study}" if experiment.parent else ""
    n = len(experiment.cells)
    return (
        f"{study.name}: {n} {'cell' if n == 1 else 'cells'}, {report.length(experiment)}, "
        f"{experiment.definition.protocol} protocol, {experiment.data.name}{derived}"
    )


def working(connection: Connection, studies: Sequence[StoredStudy]) -> str:
    """Return a line for every worker: where it is, when it was heard, what it trains."""
    held = _held_by_worker(connection, studies)
    lines = []
    for worker in fleet.living(connection):
        who = worker.identity
        state = f"heard {worker.silent_for:.0f} s ago" if worker.is_alive else "dead"
        cells = "; ".join(held.get(worker.id, [])) or "nothing held"
        lines.append(f"worker {who['pid']} on {who['host']}, {state}: {cells}")
    return "\n".join(map(printable, lines))


def _held_by_worker(connection: Connection, studies: Sequence[StoredStudy]) -> dict[str, list[str]]:
    """Return by worker what it trains, with the last finished cycle."""
    held: dict[str, list[str]] = {}
    running = rows.running_by_study(connection)
    for study in studies:
        cells: dict[tuple[str, int, int], list[int]] = {}
        known = range(len(study.experiment.cells))
        for attempt, done in running.get(study.uuid, []):
            if attempt.worker and "id" in attempt.worker and attempt.slot.cell in known:
                cycle = done // (2 * study.experiment.recipe(attempt.slot.cell).n_s)
                key = (attempt.worker["id"], attempt.slot.replicate, cycle)
                cells.setdefault(key, []).append(attempt.slot.cell)
        for (worker, replicate, cycle), some in cells.items():
            several = study.experiment.replicates > 1
            extra = f", replicate {replicate}" if several else ""
            names = ", ".join(map(str, some))
            held.setdefault(worker, []).append(
                f"{study.name} cells {names}{extra}, in cycle {cycle + 1}"
            )
    return held
