"""More seeds for a search that is over: for its finalists, or for the best few of its cells.

Seeds for every cell would cost many times what the search did, and tell most about cells that
nobody asks about.
"""

from collections.abc import Sequence
from dataclasses import replace

from hpo.database import decisions, outcomes, rows
from hpo.database.connections import Connection
from hpo.definition.spaces import RACERS
from hpo.errors import DefinitionChanged
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Result, StoredStudy
from hpo.experiment.resolution import check_size
from hpo.judging.ranking import cell_means
from hpo.mirror import study as studies
from hpo.mirror.study import OpenStudy


def seeded(name: str, experiment: Experiment, results: Sequence[Result], n: int) -> Experiment:
    """Return a search in which the cells that are compared in the end have ``n`` replicates.

    These are the finalists; where there was no race, the best `RACERS` cells, of equal ones the first.

    Raises:
        DefinitionChanged: The search is not over: proposals rest on what is there.
        InvalidDefinition: That is more than any machine could finish.
    """
    search, definition = experiment.search, experiment.definition
    if search is None or n <= max(definition.replicates, search.replicates):
        return experiment
    if not search.is_over:
        stored = definition.replicates
        told = f"replicates: stored {stored}, asked for {n}, which can wait until it is over"
        raise DefinitionChanged(name, [told])
    means = cell_means(list(results), experiment)
    best = sorted(means, key=lambda cell: (-means[cell], cell))[:RACERS]
    finalists = search.finalists or tuple(sorted(best))
    longest = max((experiment.recipe(cell).n_updates for cell in finalists), default=0)
    check_size(replace(definition, replicates=n), len(finalists), longest)
    return replace(experiment, search=replace(search, finalists=finalists, replicates=n))


def give(study: OpenStudy, n: int) -> OpenStudy:
    """Let the cells of a search that are compared in the end have ``n`` replicates; never fewer.

    Raises:
        DefinitionChanged: The search is not over.
    """

    def write(connection: Connection) -> StoredStudy:
        decisions.lock(connection, study.uuid)
        stored = studies.stored_now(connection, study)
        results = outcomes.results_of(connection, study.uuid)
        grown = seeded(stored.name, stored.experiment, results, n)
        if grown != stored.experiment:
            rows.set_experiment(connection, study.uuid, grown)
        return replace(stored, experiment=grown)

    search = study.experiment.search
    if search is None or n <= max(study.experiment.definition.replicates, search.replicates):
        return study
    return replace(study, stored=study.storage.write(write))


def price(before: Experiment, after: Experiment) -> int:
    """Return the updates of the seeds that a search was given."""
    return sum(
        after.recipe(cell).n_updates * (after.replicates_of(cell) - before.replicates_of(cell))
        for cell in range(len(after.cells))
    )
