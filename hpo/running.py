"""How a run flows: settle the experiment, open the study, plan, work."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from hpo import held_out, tables
from hpo import study as studies
from hpo.definition import (
    DataFacts,
    Experiment,
    Parent,
    StudyDefinition,
    resolve,
    study_name,
    suffixed,
)
from hpo.errors import ParentUnfinished
from hpo.grids import ParentCell
from hpo.plan import Plan, plan
from hpo.sources import Source
from hpo.storage import Storage
from hpo.study import OpenStudy
from hpo.trainer import Trainer, facts
from hpo.worker import Progress, work
from model.data import Dataset


@dataclass(frozen=True)
class Outcome:
    """What a run found and did."""

    study: OpenStudy
    before: Plan  #: how the study stood when the run began
    n_counted: int  #: results that the study has now

    @property
    def n_missing(self) -> int:
        """Slots without a result."""
        return self.before.n_slots - self.n_counted


def prepare(
    definition: StudyDefinition,
    dataset: Dataset,
    storage: Storage | None,
    *,
    name: str | None = None,
    parent_name: str | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> tuple[str, OpenStudy | None, Experiment]:
    """Settle what is to be run: the study's name, the study if it exists, and the experiment.

    Args:
        storage: None where nothing is stored yet and nothing shall be.

    Raises:
        DefinitionChanged: The stored study is another experiment.
        ParentUnfinished: The study that the grid is derived from has no result yet.
    """
    data = facts(dataset, definition)
    name = name or study_name(definition, data.name)
    existing = studies.find(storage, name) if storage else None
    if storage is None or existing is None:
        parent = _parent(definition, data, storage, parent_name)
        return name, None, resolve(definition, data, parent, notify)
    asked = resolve(definition, data, _stored_parent(existing, storage))
    studies.compare(existing, asked)
    _check_parent_name(existing, parent_name)
    return name, existing, existing.experiment


def run(
    definition: StudyDefinition,
    dataset: Dataset,
    storage: Storage,
    progress: Progress,
    stop: Callable[[], bool],
    *,
    name: str | None = None,
    parent_name: str | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Bring a study to its end, whatever of it exists, or as far as ``stop`` lets it."""
    name, study, experiment = prepare(
        definition, dataset, storage, name=name, parent_name=parent_name, notify=notify
    )
    if study is None:
        study = studies.create(storage, name, experiment)
    study = studies.grow(storage, study, definition.replicates)
    before = plan(storage, study)
    if before.n_counted < before.n_slots:
        progress.began(name, study.experiment, before.n_slots - before.n_counted)
        work(storage, study, Trainer(study.experiment, dataset), progress, stop)
    return Outcome(study, before, _n_counted(storage, study))


def show_test_images(
    storage: Storage, study: OpenStudy, dataset: Dataset, source: Source
) -> held_out.Look | None:
    """Show the test images to the best network of a finished study; None if all diverged."""
    best = studies.best_result(
        storage.write(lambda connection: tables.results_of(connection, study.uuid))
    )
    if best is None:
        return None
    trainer = Trainer(study.experiment, dataset)
    what = f"the final weights of {study.stored.name}, cell {best.slot.cell}"

    def examine(test: Dataset) -> NDArray[np.bool_]:
        network = storage.write(
            lambda connection: held_out.final_network(connection, study.uuid, best.slot)
        )
        right: NDArray[np.bool_] = trainer.examine(network, test)[1][0]
        return right

    return held_out.look(storage, study.uuid, best.slot, what, examine, source)


def _n_counted(storage: Storage, study: OpenStudy) -> int:
    return storage.write(lambda connection: len(tables.results_of(connection, study.uuid)))


def _parent(
    definition: StudyDefinition, data: DataFacts, storage: Storage | None, parent_name: str | None
) -> Parent | None:
    """Return the finished parent and its best cell, or None for a study without one."""
    if definition.parent is None:
        if parent_name is not None:
            raise ParentUnfinished(
                f"{definition.name!r} is derived from no other study, so --from has no meaning."
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
        best = studies.finished_best(connection, stored).slot.cell
        cell = ParentCell(stored.name, stored.uuid, best, stored.experiment.lambdas[best])
        return Parent(cell, stored.experiment)

    parent = storage.write(read)
    stored = parent.experiment.data
    if stored.fingerprint != data.fingerprint:
        raise ParentUnfinished(
            f"{wanted!r} was trained on other images ({stored.name}, fingerprint "
            f"{stored.fingerprint[:12]}...; these have {data.fingerprint[:12]}...). "
            "Use the same --data for both."
        )
    return parent


def _stored_parent(study: OpenStudy, storage: Storage) -> Parent | None:
    """Return the parent as the study stored it: its cell never moves, whatever became of it."""
    cell = study.experiment.parent
    if cell is None:
        return None

    def read(connection: Connection) -> Experiment | None:
        stored = tables.study_by_uuid(connection, cell.uuid)
        return stored.experiment if stored else None

    return Parent(cell, storage.write(read) or study.experiment)


def _check_parent_name(study: OpenStudy, parent_name: str | None) -> None:
    parent = study.experiment.parent
    if parent_name is not None and (parent is None or parent.study != parent_name):
        derived = repr(parent.study) if parent else "no other study"
        raise ParentUnfinished(
            f"{study.stored.name!r} is derived from {derived}, not from {parent_name!r}. "
            "Give the new one a name with --name."
        )
