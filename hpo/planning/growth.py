"""A search that grows: its next generation, stored once all results of the one before are there."""

from hpo.database import decisions, outcomes, rows
from hpo.database.connections import Connection
from hpo.experiment import budgets
from hpo.experiment.records import Result, StoredStudy
from hpo.mirror.study import OpenStudy
from hpo.search.generations import grown

AtRungs = dict[int, dict[int, float | None]]


def extend(study: OpenStudy) -> bool:
    """Add what the search wants next; tell whether there was something.

    Call it under the plan lock. Nothing happens while a result is missing.
    """

    def read(connection: Connection) -> tuple[StoredStudy | None, list[Result], AtRungs]:
        stored = rows.study_by_uuid(connection, study.uuid)
        results = outcomes.results_of(connection, study.uuid)
        return stored, results, decisions.accuracies(connection, study.uuid)

    stored, results, at_rungs = study.storage.read(read)
    if stored is None or stored.experiment.search is None or stored.experiment.search.is_over:
        return False
    before = stored.experiment
    if len(results) < before.n_slots:
        return False
    after = budgets.begun(grown(before, results, at_rungs))

    def write(connection: Connection) -> None:
        decisions.lock(connection, study.uuid)  # as whoever lets it grow
        now = rows.study_by_uuid(connection, study.uuid)
        if now is not None and now.experiment == before:  # else its budget grew meanwhile
            rows.set_experiment(connection, study.uuid, after)

    study.storage.write(write)
    return True
