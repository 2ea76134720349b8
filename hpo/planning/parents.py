"""The finished study that another one is derived from: found once, and never another one later."""

from hpo.database import outcomes, rows
from hpo.database.connections import Connection
from hpo.database.storage import Storage
from hpo.definition.grids import ParentCell
from hpo.definition.study import StudyDefinition, suffixed
from hpo.errors import ParentUnfinished, StudyUnreadable
from hpo.experiment.command import command
from hpo.experiment.experiment import DataFacts, Experiment, Parent
from hpo.experiment.records import Result, StoredStudy
from hpo.experiment.resolution import inheritance
from hpo.judging import ranking
from hpo.mirror import study as studies
from hpo.mirror.study import OpenStudy


def chosen(
    definition: StudyDefinition,
    data: DataFacts,
    storage: Storage | None,
    parent_name: str | None,
    cell: int | None,
) -> Parent | None:
    """Return the finished parent with a cell of it, its best one or ``cell``; None without one."""
    if definition.parent is None:
        for option, given in (("--from", parent_name), ("--cell", cell)):
            if given is not None:
                raise ParentUnfinished(
                    f"{definition.name!r} is derived from no other study, so {option} has no meaning."
                )
        return None
    wanted = parent_name or suffixed(definition.parent, data.name, definition.protocol)
    if storage is None or studies.find(storage, wanted) is None:
        known = ", ".join(studies.names(storage) if storage else []) or "none yet"
        raise ParentUnfinished(
            f"{definition.name!r} needs the finished study {wanted!r}, which is not in this storage "
            f"(it holds: {known}). Run `hpo run {definition.parent}` first, or name one with --from."
        )

    def read(connection: Connection) -> Parent:
        stored = studies.stored(connection, wanted)
        best, lambdas = finished_best(connection, stored), stored.experiment.lambdas
        chosen = best.slot.cell if cell is None else cell
        if type(chosen) is not int or not 0 <= chosen < len(lambdas):
            raise ParentUnfinished(
                f"The cells of {wanted!r} are 0 to {len(lambdas) - 1}; --cell {chosen!r} is none of them."
            )
        recipe = inheritance(stored.experiment, chosen) if definition.inherits_recipe else None
        found = ParentCell(stored.name, stored.uuid, chosen, lambdas[chosen], recipe)
        return Parent(found, stored.experiment)

    parent = storage.read(read)
    stored = parent.experiment.data
    if stored.fingerprint != data.fingerprint:
        raise ParentUnfinished(
            f"{wanted!r} was trained on other images ({stored.name}, fingerprint "
            f"{stored.fingerprint[:12]}...; these have {data.fingerprint[:12]}...). "
            "Use the same --data for both."
        )
    return parent


def as_stored(study: OpenStudy, storage: Storage) -> Parent | None:
    """Return the parent as the study stored it: its cell never moves, whatever became of it."""
    cell = study.experiment.parent
    if cell is None:
        return None

    def read(connection: Connection) -> Experiment | None:
        stored = rows.study_by_uuid(connection, cell.uuid)
        return stored.experiment if stored else None

    try:
        experiment = storage.read(read)
    except StudyUnreadable:  # which is its own affair
        experiment = None
    return Parent(cell, experiment or study.experiment)


def check(study: OpenStudy, parent_name: str | None, cell: int | None) -> None:
    """Refuse another parent, or another cell of it, than the stored study was derived from."""
    parent = study.experiment.parent
    name = study.stored.name
    if parent_name is not None and (parent is None or parent.study != parent_name):
        derived = repr(parent.study) if parent else "no other study"
        raise ParentUnfinished(
            f"{name!r} is derived from {derived}, not from {parent_name!r}. "
            "Give the new one a name with --name."
        )
    if cell is not None and (parent is None or parent.cell != cell):
        derived = f"cell {parent.cell} of {parent.study!r}" if parent else "no other study"
        raise ParentUnfinished(
            f"{name!r} is derived from {derived}, so --cell {cell} is for another study. "
            "Give that one a name with --name."
        )


def finished_best(connection: Connection, study: StoredStudy) -> Result:
    """Return the best result of the best cell of a finished study.

    Raises:
        ParentUnfinished: Cells are missing, or every one diverged.
    """
    results = outcomes.results_of(connection, study.uuid)
    experiment = study.experiment
    n_slots = experiment.n_slots
    missing = n_slots - len(results)
    what = "cells" if n_slots == len(experiment.cells) else "results"
    if experiment.search is not None and not experiment.search.is_over:
        raise ParentUnfinished(
            f"{study.name!r} is not finished: its budget is not spent yet. Run `{command(study)}` "
            "with the same --storage first."
        )
    if missing:
        raise ParentUnfinished(
            f"{study.name!r} is not finished: {missing} of its {n_slots} {what} are "
            f"missing. Run `{command(study)}` with the same --storage, --data and --protocol first."
        )
    best = ranking.winner(results, experiment)
    if best is None:
        raise ParentUnfinished(
            f"Every cell of {study.name!r} diverged, so it has no best one. Lower eta_max."
        )
    return best
