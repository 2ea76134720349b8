"""Studies in a storage: created once, compared on every open, deleted whole.

A study stands in two places: our row with its uuid, and Optuna's study of the same name, which
carries that uuid. Ours is written first; a process that dies between the two leaves a row that
the next one adopts.
"""

import math
import uuid
from dataclasses import dataclass, replace
from functools import partial

from sqlalchemy import Connection

from hpo import rows
from hpo.definition import Experiment, differences
from hpo.errors import DefinitionChanged, ForeignStudy, ParentUnfinished, StudyNotFound
from hpo.reader import Reader
from hpo.storage import Storage
from hpo.tables import Result, StoredStudy, attempts

UUID_ATTRIBUTE = "hpo_uuid"


@dataclass(frozen=True)
class OpenStudy:
    """A study that is ready to be worked on."""

    stored: StoredStudy
    study_id: int  #: Optuna's

    @property
    def uuid(self) -> str:
        """Our key of the study."""
        return self.stored.uuid

    @property
    def experiment(self) -> Experiment:
        """Everything about what is to be trained."""
        return self.stored.experiment


def find(storage: Storage, name: str) -> OpenStudy | None:
    """Return the study of this name, or None.

    Raises:
        ForeignStudy: Optuna has one of this name that we did not make.
    """
    study_id = _optuna_id(storage, name)
    if study_id is None:
        return None
    attributes = storage.retried(lambda: storage.optuna.get_study_user_attrs(study_id))
    key = attributes.get(UUID_ATTRIBUTE)
    if key is not None:
        stored = storage.write(lambda connection: rows.study_by_uuid(connection, key))
        if stored is None:
            raise ForeignStudy(name)
        return OpenStudy(stored, study_id)
    adopted = _newest_unclaimed(storage, name)
    if adopted is None or storage.retried(lambda: storage.optuna.get_n_trials(study_id)):
        raise ForeignStudy(name)
    return _attach(storage, adopted, study_id)


def create(storage: Storage, name: str, experiment: Experiment) -> OpenStudy:
    """Create a study; a row left by a process that died halfway is used again."""
    import optuna

    stored = _newest_unclaimed(storage, name)
    if stored is not None and differences(stored.experiment, experiment):
        stale = stored.uuid
        storage.write(lambda connection: rows.delete_study(connection, stale))
        stored = None
    if stored is None:
        stored = made = StoredStudy(str(uuid.uuid4()), name, experiment)
        storage.write(lambda connection: rows.insert_study(connection, made))
    direction = [optuna.study.StudyDirection.MAXIMIZE]
    try:
        study_id = storage.retried(lambda: storage.optuna.create_new_study(direction, name))
    except optuna.exceptions.DuplicatedStudyError:  # a commit that was thought lost
        study_id = storage.retried(lambda: storage.optuna.get_study_id_from_name(name))
    return _attach(storage, stored, study_id)


def compare(study: OpenStudy, asked: Experiment) -> None:
    """Refuse to go on with a study that is not the one asked for.

    Raises:
        DefinitionChanged: A field of the definition or of the data differs.
    """
    found = differences(study.experiment, asked)
    if found:
        raise DefinitionChanged(study.stored.name, found)


def grow(storage: Storage, study: OpenStudy, replicates: int) -> OpenStudy:
    """Let the study have more replicates; never fewer."""
    if replicates <= study.experiment.definition.replicates:
        return study
    definition = replace(study.experiment.definition, replicates=replicates)
    experiment = replace(study.experiment, definition=definition)
    storage.write(lambda connection: rows.set_experiment(connection, study.uuid, experiment))
    return replace(study, stored=replace(study.stored, experiment=experiment))


def delete(storage: Storage, name: str) -> None:
    """Delete a study of ours, from Optuna's tables and from ours.

    Raises:
        StudyNotFound: There is none of this name.
        ForeignStudy: It is not ours.
    """
    study = find(storage, name)
    if study is None:
        raise StudyNotFound(name, names(storage))
    storage.retried(lambda: storage.optuna.delete_study(study.study_id))
    storage.write(lambda connection: rows.delete_study(connection, study.uuid))


def names(storage: Storage | Reader) -> list[str]:
    """Return the names of our studies."""

    def action(connection: Connection) -> list[str]:
        return [study.name for study in rows.all_studies(connection)]

    return storage.read(action) if isinstance(storage, Reader) else storage.write(action)


def stored(connection: Connection, name: str) -> StoredStudy:
    """Return our row of a study, for those who only read.

    Raises:
        StudyNotFound: There is none of this name.
    """
    found = rows.studies_by_name(connection, name)
    if not found:
        raise StudyNotFound(name, [study.name for study in rows.all_studies(connection)])
    return found[0]


def best_result(results: list[Result]) -> Result | None:
    """Return the counted result with the highest value; of equal ones the first cell's.

    A diverged cell is never the best.
    """
    complete = [r for r in results if r.outcome == "complete" and r.value is not None]
    return max(complete, key=lambda r: (r.value, -r.slot.cell), default=None)


def cell_means(results: list[Result], n_replicates: int) -> dict[int, float]:
    """Return the mean value of every cell that is complete in all its replicates.

    A cell that diverged or was pruned in one of them has none.
    """
    values: dict[int, list[float]] = {}
    for result in results:
        counts = result.outcome == "complete" and result.slot.replicate < n_replicates
        if counts and result.value is not None:
            values.setdefault(result.slot.cell, []).append(result.value)
    return {
        # Accuracies are whole shares: what differs in the 13th digit is equal and was rounded.
        cell: round(math.fsum(found) / n_replicates, 12)
        for cell, found in sorted(values.items())
        if len(found) == n_replicates
    }


def best_cell(results: list[Result], n_replicates: int) -> int | None:
    """Return the cell with the highest mean over its replicates; of equal ones the first."""
    means = cell_means(results, n_replicates)
    return max(means, key=lambda cell: (means[cell], -cell), default=None)


def winner(results: list[Result], n_replicates: int) -> Result | None:
    """Return the best result of the best cell, for those who need one network of it."""
    cell = best_cell(results, n_replicates)
    return best_result([r for r in results if r.slot.cell == cell])


def finished_best(connection: Connection, study: StoredStudy) -> Result:
    """Return the best result of the best cell of a finished study.

    Raises:
        ParentUnfinished: Cells are missing, or every one diverged.
    """
    results = rows.results_of(connection, study.uuid)
    experiment = study.experiment
    n_slots = len(experiment.cells) * experiment.definition.replicates
    missing = n_slots - len(results)
    what = "cells" if experiment.definition.replicates == 1 else "results"
    command = f"`hpo run {experiment.definition.name}`"
    if missing:
        raise ParentUnfinished(
            f"{study.name!r} is not finished: {missing} of its {n_slots} {what} are "
            f"missing. Run {command} with the same --storage, --data and --protocol first."
        )
    best = winner(results, experiment.definition.replicates)
    if best is None:
        raise ParentUnfinished(
            f"Every cell of {study.name!r} diverged, so it has no best one. Lower eta_max."
        )
    return best


def _optuna_id(storage: Storage, name: str) -> int | None:
    try:
        return storage.retried(lambda: storage.optuna.get_study_id_from_name(name))
    except KeyError:
        return None


def _newest_unclaimed(storage: Storage, name: str) -> StoredStudy | None:
    """Return our newest row of this name that no Optuna study carries the uuid of."""
    frozen = storage.retried(storage.optuna.get_all_studies)
    claimed = {study.user_attrs.get(UUID_ATTRIBUTE) for study in frozen}
    stored = storage.write(lambda connection: rows.studies_by_name(connection, name))
    return next((row for row in stored if row.uuid not in claimed), None)


def _attach(storage: Storage, stored: StoredStudy, study_id: int) -> OpenStudy:
    """Write what Optuna's record says about the study; the uuid comes last.

    Optuna's study is a new one: what our attempts know of trials is about one that was deleted.
    """
    none = {"trial_id": None, "in_optuna": False}
    ours = attempts.update().where(attempts.c.study == stored.uuid).values(none)
    storage.write(lambda connection: connection.execute(ours))
    experiment = stored.experiment
    definition = experiment.definition
    attributes = {
        "definition": definition.name,
        "data": f"{experiment.data.name} ({experiment.data.n_training} training images, "
        f"{experiment.data.n_validation} validation images)",
        "data_fingerprint": experiment.data.fingerprint,
        "protocol": definition.protocol,
        "seed": definition.seed,
        "recipe": f"n_s {experiment.n_s}, {experiment.n_updates} updates, eta {definition.eta_min:g} "
        f"to {definition.eta_max:g}, batches of {definition.batch_size}",
        UUID_ATTRIBUTE: stored.uuid,
    }
    storage.retried(
        partial(
            storage.optuna.set_study_system_attr,
            study_id,
            "study:metric_names",  # Optuna's own key: what the dashboard calls the value
            ["validation accuracy"],
        )
    )
    for key, value in attributes.items():
        storage.retried(partial(storage.optuna.set_study_user_attr, study_id, key, value))
    return OpenStudy(stored, study_id)
