"""Studies in a storage: created once, compared on every open, deleted whole.

A study stands in two places: our row with its uuid, and Optuna's study of the same name, which
carries that uuid. Ours is written first; a process that dies between the two leaves a row that
the next one adopts.
"""

import uuid
from dataclasses import dataclass, replace
from functools import partial

from sqlalchemy import Connection

from hpo import rows, rungs
from hpo.errors import DefinitionChanged, ForeignStudy, StudyDeleted, StudyNotFound
from hpo.experiment import Experiment
from hpo.pruners import parse
from hpo.reader import Reader
from hpo.resolution import check_size, differences
from hpo.storage import Storage
from hpo.tables import StoredStudy, attempts

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


def present(storage: Storage, study: OpenStudy) -> OpenStudy:
    """Return the study with what is stored now, see `stored_now`."""
    stored = storage.write(lambda connection: stored_now(connection, study))
    return replace(study, stored=stored)


def stored_now(connection: Connection, study: OpenStudy) -> StoredStudy:
    """Return our row as it is now: a search adds cells, and replicates may grow.

    Raises:
        StudyDeleted: It is gone.
    """
    stored = rows.study_by_uuid(connection, study.uuid)
    if stored is None:
        raise StudyDeleted(study.stored.name)
    return stored


def grow(storage: Storage, study: OpenStudy, replicates: int) -> OpenStudy:
    """Let the study have more replicates; never fewer. Nothing that it decided or will changes.

    Raises:
        DefinitionChanged: It is a search that is not over: proposals rest on what is there.
    """

    def write(connection: Connection) -> StoredStudy:
        rungs.lock(connection, study.uuid)
        stored = stored_now(connection, study)
        grown = _grown(stored, replicates)
        if grown != stored.experiment:
            rows.set_experiment(connection, study.uuid, grown)
        return replace(stored, experiment=grown)

    if replicates <= study.experiment.definition.replicates:
        return study
    return replace(study, stored=storage.write(write))


def _grown(study: StoredStudy, replicates: int) -> Experiment:
    experiment = study.experiment
    definition, before = experiment.definition, experiment.definition.replicates
    if replicates <= before:
        return experiment
    if experiment.search is not None and not experiment.search.is_over:
        told = (
            f"replicates: stored {before}, asked for {replicates}, which can wait until it is over"
        )
        raise DefinitionChanged(study.name, [told])
    definition = replace(definition, replicates=replicates)
    check_size(definition, len(experiment.cells), experiment.n_updates)
    waits = parse(definition.pruner).is_synchronous
    return replace(
        experiment,
        definition=definition,
        began_with=experiment.replicates_at_rungs if waits else None,
    )


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
        "recipe": _recipe(experiment),
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


def _recipe(experiment: Experiment) -> str:
    definition = experiment.definition
    common = f"eta from {definition.eta_min:g}, batches of {definition.batch_size}"
    space = definition.space
    if space is not None:
        return (
            f"{', '.join(experiment.parameters)} searched by {space.sampler} within {space.budget} "
            f"updates, {definition.n_cycles} cycles each, {common}"
        )
    return (
        f"n_s {experiment.n_s}, {experiment.n_updates} updates, eta {definition.eta_min:g} "
        f"to {definition.eta_max:g}, batches of {definition.batch_size}"
    )
