"""Studies in a storage: created once, compared on every open, followed if others move them.

A study stands in two places: our row with its uuid, and Optuna's study, which carries that uuid
(`hpo.mirror.identity`). Both are written in one transaction; one that Optuna has lost is made again
(`hpo.mirror.optuna_study`).
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import sqlalchemy as sa
from sqlalchemy import Connection

from hpo.database import decisions, rows
from hpo.database.onlooker import Onlooker
from hpo.database.reader import Reader
from hpo.database.storage import Storage
from hpo.database.tables import studies
from hpo.definition.pruning import parse
from hpo.errors import CopiedStudy, DefinitionChanged, ForeignStudy, StudyDeleted, StudyNotFound
from hpo.experiment import budgets
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import StoredStudy
from hpo.experiment.resolution import check_size, differences
from hpo.mirror import identity, optuna_study


@dataclass(frozen=True)
class OpenStudy:
    """A study that is ready to be worked on."""

    stored: StoredStudy
    study_id: int  #: Optuna's
    storage: Storage = field(repr=False, compare=False)  #: where it is

    @property
    def uuid(self) -> str:
        """Our key of the study."""
        return self.stored.uuid

    @property
    def experiment(self) -> Experiment:
        """Everything about what is to be trained."""
        return self.stored.experiment


def find(
    storage: Storage, name: str, notify: Callable[[str], None] = lambda _: None
) -> OpenStudy | None:
    """Return the study of this name, or None; one that others moved or deleted is followed.

    Raises:
        ForeignStudy: Optuna has one of this name that we did not make.
        CopiedStudy: It is somebody's copy of one of ours.
        StudyUnreadable: Its row is damaged.
    """

    def action(connection: Connection) -> tuple[OpenStudy | None, str | None]:
        standings = identity.survey(connection)
        standing = identity.named(standings, name)
        if standing is None:
            refuse_others(connection, name)
            return None, None
        stored = rows.study_by_uuid(connection, standing.uuid)
        if stored is not None and isinstance(storage, Onlooker):  # nothing is followed or mended
            seen = OpenStudy(replace(stored, name=standing.name), 0, storage)
            return seen, standing.change()
        return (opened(storage, connection, stored) if stored else None), standing.change()

    found, change = storage.write(action)
    if change is not None:
        notify(change)
    return found


def by_uuid(storage: Storage, study: str) -> OpenStudy | None:
    """Return the study with this uuid, or None; followed as by `find`.

    Raises:
        StudyUnreadable: Its row is damaged.
    """

    def action(connection: Connection) -> OpenStudy | None:
        stored = rows.study_by_uuid(connection, study)
        return opened(storage, connection, stored) if stored else None

    return storage.write(action)


def create(storage: Storage, name: str, experiment: Experiment) -> OpenStudy:
    """Create a study, ours and Optuna's at once.

    Raises:
        ForeignStudy: Optuna has one of this name by now.
        CopiedStudy: It is somebody's copy of one of ours.
    """
    made = StoredStudy(str(uuid.uuid4()), name, experiment)

    def action(connection: Connection) -> OpenStudy:
        if rows.study_by_uuid(connection, made.uuid) is None:  # else a commit was thought lost
            refuse_others(connection, name)
            rows.insert_study(connection, made)
        return opened(storage, connection, made)

    return storage.write(action)


def compare(study: StoredStudy, asked: Experiment) -> None:
    """Refuse to go on with a study that is not the one asked for.

    Raises:
        DefinitionChanged: A field of the definition or of the data differs.
    """
    found = differences(study.experiment, asked)
    if found:
        raise DefinitionChanged(study.name, found)


def present(study: OpenStudy) -> OpenStudy:
    """Return the study with what is stored now, see `stored_now`, and as Optuna has it now."""
    return study.storage.write(
        lambda connection: opened(study.storage, connection, stored_now(connection, study))
    )


def stored_now(connection: Connection, study: OpenStudy) -> StoredStudy:
    """Return our row as it is now: a search adds cells, and replicates may grow.

    Raises:
        StudyDeleted: It is gone.
    """
    stored = rows.study_by_uuid(connection, study.uuid)
    if stored is None:
        raise StudyDeleted(study.stored.name)
    return stored


def grow(study: OpenStudy, replicates: int) -> OpenStudy:
    """Let every cell of a grid have more replicates; never fewer. Nothing that it decided changes."""

    def write(connection: Connection) -> StoredStudy:
        decisions.lock(connection, study.uuid)
        stored = stored_now(connection, study)
        grown = _grown(stored.experiment, replicates)
        if grown != stored.experiment:
            rows.set_experiment(connection, study.uuid, grown)
        return replace(stored, experiment=grown)

    experiment = study.experiment
    if experiment.search is not None or replicates <= experiment.definition.replicates:
        return study
    return replace(study, stored=study.storage.write(write))


def enlarge(study: OpenStudy, budget: int, minutes: float = 0) -> OpenStudy:
    """Let a search have a larger budget; never a smaller one.

    Args:
        minutes: That it was reckoned from, if it was.
    """

    def write(connection: Connection) -> StoredStudy:
        decisions.lock(connection, study.uuid)
        stored = stored_now(connection, study)
        grown = budgets.enlarged(stored.experiment, budget, minutes)
        if grown != stored.experiment:
            rows.set_experiment(connection, study.uuid, grown)
        return replace(stored, experiment=grown)

    if study.experiment.search is None or budget <= budgets.largest(study.experiment):
        return study
    return replace(study, stored=study.storage.write(write))


def _grown(experiment: Experiment, replicates: int) -> Experiment:
    if replicates <= experiment.definition.replicates:
        return experiment
    definition = replace(experiment.definition, replicates=replicates)
    check_size(definition, len(experiment.cells), experiment.n_updates)
    waits = parse(definition.pruner).is_synchronous
    return replace(
        experiment,
        definition=definition,
        began_with=experiment.replicates_at_rungs if waits else None,
    )


def names(storage: Storage | Reader) -> list[str]:
    """Return the names of our studies, also of those that cannot be read."""

    def action(connection: Connection) -> list[str]:
        return [standing.name for standing in identity.survey(connection)]

    return storage.read(action) if isinstance(storage, Reader) else storage.write(action)


def stored(connection: Connection, name: str) -> StoredStudy:
    """Return our row of a study, for those who only read.

    Raises:
        StudyNotFound: There is none of this name.
        StudyUnreadable: It is damaged.
    """
    standings = identity.survey(connection)
    standing = identity.named(standings, name)
    found = rows.study_by_uuid(connection, standing.uuid) if standing else None
    if standing is None or found is None:
        raise StudyNotFound(name, [known.name for known in standings])
    return replace(found, name=standing.name)


def refuse_others(connection: Connection, name: str) -> None:
    """Refuse a name that Optuna has for a study that is not ours.

    Raises:
        ForeignStudy: We did not make it.
        CopiedStudy: It is somebody's copy of one of ours.
    """
    if optuna_study.named(connection, name) is None:
        return
    original = identity.copied(identity.survey(connection), name)
    raise CopiedStudy(name, original.name) if original else ForeignStudy(name)


def opened(storage: Storage, connection: Connection, stored: StoredStudy) -> OpenStudy:
    """Return a study with Optuna's id of it; what Optuna has lost is made again."""
    study_id = identity.shown_as(connection, stored.uuid)
    if study_id is None:
        study_id = optuna_study.make(connection, stored)
    else:
        optuna_study.mend_direction(connection, study_id)
    named = sa.select(studies.c.name).where(studies.c.uuid == stored.uuid)
    name = connection.execute(named).scalar_one()  # others may have renamed it
    return OpenStudy(replace(stored, name=name), study_id, storage)
