"""Deleting a study whole: ours and Optuna's in one transaction, under the leases of its planners.

Whoever trains it finds its rows gone at the next write. A process that dies here has deleted
everything or nothing. Its looks at the test images stay, as nothing makes them not have been taken.
"""

from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy import Connection

from hpo.database import housekeeping, leases, queue, tables
from hpo.database import optuna_tables as optunas
from hpo.database.storage import Storage
from hpo.errors import HpoError, StudyNotFound
from hpo.mirror import identity, optuna_study
from hpo.mirror.identity import Standing
from hpo.mirror.study import refuse_others


def named(connection: Connection, name: str) -> Standing:
    """Return the study of this name: also one that cannot be read, or that Optuna has lost.

    Raises:
        StudyNotFound: There is none of this name; that it was made with one does not count here.
        ForeignStudy: It is not ours.
        CopiedStudy: It is somebody's copy of one of ours.
    """
    standings = identity.survey(connection)
    found = identity.named(standings, name, formerly=False)
    if found is not None:
        return found
    refuse_others(connection, name)
    renamed = identity.named(standings, name)
    if renamed is not None:
        raise HpoError(
            f"The study that was made as {name!r} is called {renamed.name!r} now, because another tool "
            f"renamed it. `hpo delete {renamed.name}` removes it."
        )
    raise StudyNotFound(name, [known.name for known in standings])


def delete(storage: Storage, name: str, looks: bool = False) -> None:
    """Delete a study of ours, from Optuna's tables and from ours.

    Args:
        looks: Its looks at the test images, too.

    Raises:
        HpoError: As `named`.
    """
    uuid = storage.read(lambda connection: named(connection, name)).uuid
    delete_if(storage, uuid, lambda _: None, looks)


def delete_if(
    storage: Storage, uuid: str, check: Callable[[Connection], None], looks: bool = False
) -> None:
    """Delete a study of ours unless ``check`` raises, whose transaction nobody writes it during."""
    with leases.held(storage, "open studies"), leases.held(storage, f"plan {uuid}"):
        storage.write(lambda connection: _delete(connection, uuid, looks, check))
    storage.write(housekeeping.sweep)  # of dead workers that held something of it


def _delete(
    connection: Connection,
    uuid: str,
    looks: bool,
    check: Callable[[Connection], None] = lambda _: None,
) -> None:
    """Delete every row; each parent is locked before its children go, so that none is added."""
    ours, attempts = tables.studies, tables.attempts
    connection.execute(sa.select(ours.c.uuid).where(ours.c.uuid == uuid).with_for_update())
    mine = sa.select(attempts.c.cell).where(attempts.c.study == uuid)
    connection.execute(mine.with_for_update()).all()
    check(connection)
    standing = identity.of(connection, uuid)
    if standing is not None and standing.shown is not None:
        _delete_from_optuna(connection, standing.shown.study_id)
    for table in tables.OF_STUDY if looks else tables.OF_SEARCH:
        connection.execute(table.delete().where(table.c.study == uuid))
    queue.forget(connection, uuid)
    connection.execute(ours.delete().where(ours.c.uuid == uuid))


def _delete_from_optuna(connection: Connection, study_id: int) -> None:
    studies, trials = optunas.studies, optunas.trials
    study = studies.c.study_id == study_id
    connection.execute(sa.select(studies.c.study_id).where(study).with_for_update()).all()
    of_study = trials.c.study_id == study_id
    connection.execute(sa.select(trials.c.trial_id).where(of_study).with_for_update()).all()
    optuna_study.empty(connection, study_id)
    connection.execute(studies.delete().where(study))
