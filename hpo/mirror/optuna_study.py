"""Optuna's study of one of ours: made whole in our own transaction, and kept as we need it.

With statements on Optuna's tables, so that a worker which finds its study deleted there can do
without Optuna, whose import takes long.
"""

import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from hpo.database import optuna_tables as optunas
from hpo.database.tables import attempts
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import StoredStudy
from hpo.mirror import identity
from hpo.mirror.identity import UUID_ATTRIBUTE, Carrier


def named(connection: Connection, name: str) -> int | None:
    """Return the id of Optuna's study of this name, whoever made it, or None."""
    theirs = optunas.studies
    query = sa.select(theirs.c.study_id).where(theirs.c.study_name == name)
    return connection.execute(query).scalar_one_or_none()


def make(connection: Connection, stored: StoredStudy) -> int:
    """Make Optuna's study of ours and return its id; its trials come when the next one plans.

    What our attempts know of trials is about a study that was deleted.
    """
    study_id = _half_made(connection, stored.name)
    if study_id is None:
        name = _free_name(connection, stored.name)
        connection.execute(optunas.studies.insert().values(study_name=name))
        made = named(connection, name)
        if made is None:
            raise RuntimeError(f"The study {name!r} that was just made is not there.")
        study_id = made
    else:
        name = stored.name
    empty(connection, study_id)  # of what tools left behind that delete by halves
    mend_direction(connection, study_id)
    metric = {"study:metric_names": ["validation accuracy"]}  # Optuna's own key, for the dashboard
    for table, said in (
        (optunas.study_system_attributes, metric),
        (optunas.study_attributes, _attributes(stored)),
    ):
        values = [
            {"study_id": study_id, "key": key, "value_json": json.dumps(value)}
            for key, value in said.items()
        ]
        connection.execute(table.insert(), values)
    identity.record(connection, stored.uuid, Carrier(study_id, name))
    ours = attempts.update().where(attempts.c.study == stored.uuid)
    connection.execute(ours.values(trial_id=None, in_optuna=False))
    return study_id


def empty(connection: Connection, study_id: int) -> None:
    """Delete all rows that belong to a study of Optuna's, but not its own."""
    trials = optunas.trials
    mine = sa.select(trials.c.trial_id).where(trials.c.study_id == study_id)
    for table in optunas.OF_TRIAL:
        connection.execute(table.delete().where(table.c.trial_id.in_(mine)))
    connection.execute(trials.delete().where(trials.c.study_id == study_id))
    for table in optunas.OF_STUDY:
        connection.execute(table.delete().where(table.c.study_id == study_id))


def _half_made(connection: Connection, name: str) -> int | None:
    """Return an empty study of this name that an earlier hpo died over, if there is one."""
    study_id = named(connection, name)
    if study_id is None:
        return None
    said = optunas.study_attributes
    query = sa.select(said.c.key).where(said.c.study_id == study_id)
    keys = set(connection.execute(query).scalars())
    trials = sa.select(optunas.trials.c.trial_id).where(optunas.trials.c.study_id == study_id)
    is_empty = connection.execute(trials.limit(1)).one_or_none() is None
    return study_id if is_empty and keys and keys <= set(OLD_ATTRIBUTES) else None


def _free_name(connection: Connection, name: str) -> str:
    """Return a name that no study of Optuna's has: ours if it can be had."""
    tried, n = name, 1
    while named(connection, tried) is not None:
        n += 1
        tried = f"{name}-hpo" if n == 2 else f"{name}-hpo-{n - 1}"
    return tried


def mend_direction(connection: Connection, study_id: int) -> None:
    """Let Optuna maximise the study's value, and nothing else."""
    table = optunas.directions
    mine = table.c.study_id == study_id
    found = connection.execute(sa.select(table.c.objective, table.c.direction).where(mine)).all()
    if [tuple(row) for row in found] != [(0, "MAXIMIZE")]:
        connection.execute(table.delete().where(mine))
        values = {"study_id": study_id, "objective": 0, "direction": "MAXIMIZE"}
        connection.execute(table.insert().values(values))


#: Of Optuna's study, what an earlier hpo wrote before the uuid.
OLD_ATTRIBUTES = ("definition", "data", "data_fingerprint", "protocol", "seed", "recipe")


def _attributes(stored: StoredStudy) -> dict[str, Any]:
    """Return what Optuna's record says about the study."""
    experiment = stored.experiment
    definition, data = experiment.definition, experiment.data
    return {
        "definition": definition.name,
        "data": f"{data.name} ({data.n_training} training images, "
        f"{data.n_validation} validation images)",
        "data_fingerprint": data.fingerprint,
        "protocol": definition.protocol,
        "seed": definition.seed,
        "recipe": _recipe(experiment),
        UUID_ATTRIBUTE: stored.uuid,
    }


def _recipe(experiment: Experiment) -> str:
    definition = experiment.definition
    space = definition.space
    if space is not None:
        same = [
            "" if space.n_cycles else f"{definition.n_cycles} cycles each",
            "" if space.eta_min else f"eta from {definition.eta_min:g}",
            "" if space.batch_size else f"batches of {definition.batch_size}",
        ]
        names = ", ".join(experiment.parameters)
        searched = f"{names} searched by {space.sampler} within {space.budget} updates"
        return ", ".join([searched, *filter(None, same)])
    return (
        f"n_s {experiment.n_s}, {experiment.n_updates} updates, eta {definition.eta_min:g} "
        f"to {definition.eta_max:g}, batches of {definition.batch_size}"
    )
