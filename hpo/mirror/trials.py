"""Optuna's trials: one for every attempt, made in batches by whoever plans.

A trial and the attempt that knows it commit together, so none is made twice.
"""

import json
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from hpo.database import batches, rows, tables
from hpo.database import optuna_tables as optunas
from hpo.experiment.records import Attempt, State
from hpo.mirror import conclusion
from hpo.mirror.identity import shown_as
from hpo.mirror.parameters import parameter_rows, ranges
from hpo.mirror.states import add_all_attributes, attribute_rows, set_states, show
from hpo.mirror.study import OpenStudy

MADE_AT_ONCE = batches.AT_ONCE  #: trials in one transaction
ROUNDS = 3  #: showing may find that others took a trial from its attempt, which gets another


def make_trials(study: OpenStudy, keep_going: Callable[[], None] = lambda: None) -> None:
    """Give every attempt its trial, and show all states that Optuna does not; for planners."""
    study.storage.write(lambda connection: _settle_surplus_trials(connection, study))
    _settle_values(study)
    for _ in range(ROUNDS):
        while study.storage.write(lambda connection: _make_some(connection, study)):
            keep_going()
        behind = study.storage.read(
            lambda connection: rows.attempts_of(connection, study.uuid, in_optuna=False)
        )
        for start in range(0, len(behind), MADE_AT_ONCE):
            show(study, behind[start : start + MADE_AT_ONCE], with_steps=True)
            keep_going()
        if not study.storage.read(lambda connection: _lacking(connection, study, 1)):
            return


def _settle_values(study: OpenStudy) -> None:
    """Let complete trials say means if the study is finished, and what they reached if it goes on."""

    def action(connection: Connection) -> None:
        study_id = shown_as(connection, study.uuid)
        if study_id is not None and conclusion.has_means(study.experiment):
            conclusion.settle(connection, study.uuid, study_id)

    study.storage.write(action)


def n_waiting(connection: Connection, study: str) -> int:
    """Return how many attempts wait whose trials wait in Optuna's record, too."""
    mine = tables.attempts.c
    waiting = sa.select(sa.func.count()).where(
        mine.study == study,
        mine.state == State.WAITING,
        mine.trial_id == optunas.trials.c.trial_id,
        optunas.trials.c.state == "WAITING",
    )
    return int(connection.execute(waiting).scalar_one())


def rewrite(
    connection: Connection, trial_id: int, parameters: list[dict[str, Any]], *, with_steps: bool
) -> None:
    """Give a trial its parameters again; its intermediate values, if so wished, come anew later."""
    told, steps = optunas.params, optunas.steps
    connection.execute(told.delete().where(told.c.trial_id == trial_id))
    connection.execute(told.insert(), parameters)
    if with_steps:
        connection.execute(steps.delete().where(steps.c.trial_id == trial_id))


def surplus_trials(connection: Connection, study: str, study_id: int) -> list[int]:
    """Return the live trials that stand for no attempt.

    An earlier hpo had Optuna make them, which repeats a commit whose answer was lost.
    """
    known = sa.select(tables.attempts.c.trial_id).where(
        tables.attempts.c.study == study, tables.attempts.c.trial_id.is_not(None)
    )
    query = (
        sa.select(optunas.trials.c.trial_id)
        .join(optunas.attributes, optunas.attributes.c.trial_id == optunas.trials.c.trial_id)
        .where(
            optunas.trials.c.study_id == study_id,
            optunas.trials.c.state.in_(["WAITING", "RUNNING"]),
            optunas.attributes.c.key == "attempt",
            optunas.trials.c.trial_id.not_in(known),
        )
    )
    return list(connection.execute(query).scalars())


def _lacking(connection: Connection, study: OpenStudy, limit: int) -> list[Attempt]:
    return rows.attempts_of(connection, study.uuid, without_trial=True, limit=limit)


def _make_some(connection: Connection, study: OpenStudy) -> bool:
    """Make WAITING trials for some attempts that have none; tell whether there were any."""
    lacking = _lacking(connection, study, MADE_AT_ONCE)
    if not lacking:
        return False
    # As Optuna does: whoever makes a trial holds the study's row, so that numbers are counted once.
    study_id = shown_as(connection, study.uuid)
    mine = optunas.studies.c.study_id == study_id
    holding = sa.select(optunas.studies.c.study_id).where(mine).with_for_update()
    if connection.execute(holding).one_or_none() is None:  # deleted; who plans next makes it again
        return False
    counting = sa.select(sa.func.count()).where(optunas.trials.c.study_id == study_id)
    first = connection.execute(counting.select_from(optunas.trials)).scalar_one()
    # Without an order of the answers, because keeping one costs SQLite a statement a trial.
    made = connection.execute(
        optunas.trials.insert().returning(optunas.trials.c.number, optunas.trials.c.trial_id),
        [
            {"study_id": study_id, "number": first + i, "state": "WAITING"}
            for i in range(len(lacking))
        ],
    )
    trial_ids = [row.trial_id for row in sorted(made, key=lambda row: row.number)]
    for table in (optunas.params, optunas.attributes, optunas.values, optunas.steps):
        # On SQLite a deleted trial's id is used again, and may find rows of its forerunner.
        connection.execute(table.delete().where(table.c.trial_id.in_(trial_ids)))
    known = ranges(study.experiment)
    parameters: list[dict[str, Any]] = []
    attributes: list[dict[str, Any]] = []
    for attempt, trial_id in zip(lacking, trial_ids, strict=True):
        parameters += parameter_rows(study.experiment, known, attempt, trial_id)
        attributes += attribute_rows(trial_id, identity(attempt))
    connection.execute(optunas.params.insert(), parameters)
    connection.execute(optunas.attributes.insert(), attributes)
    links = list(zip(lacking, trial_ids, strict=True))
    batches.link(connection, study.uuid, links, are_new=True)
    return True


def identity(attempt: Attempt) -> dict[str, int]:
    """Return the attributes that say which attempt a trial shows."""
    slot = attempt.slot
    attributes = {"cell": slot.cell, "replicate": slot.replicate, "attempt": attempt.number}
    return attributes | ({"retry_of": attempt.number - 1} if attempt.number else {})


def _settle_surplus_trials(connection: Connection, study: OpenStudy) -> None:
    """Give trials without an attempt to the one they were made for; one made twice has failed."""
    lacking = {
        tuple(identity(attempt).items()): attempt
        for attempt in rows.attempts_of(connection, study.uuid, without_trial=True)
    }
    found, made_twice = [], []
    for trial_id, said in _identities(connection, study).items():
        attempt = lacking.pop(said, None)
        if attempt is not None:
            found.append((attempt, trial_id))
        else:
            made_twice.append(trial_id)
    batches.link(connection, study.uuid, found, are_new=False)
    for batch in batches.split(made_twice):
        add_all_attributes(connection, {trial_id: {"reason": "made twice"} for trial_id in batch})
        set_states(connection, batch, "FAIL")


def _identities(connection: Connection, study: OpenStudy) -> dict[int, tuple[Any, ...]]:
    """Return which attempts the surplus trials say that they show."""
    found: dict[int, tuple[Any, ...]] = {}
    for batch in batches.split(surplus_trials(connection, study.uuid, study.study_id)):
        query = optunas.attributes.select().where(optunas.attributes.c.trial_id.in_(batch))
        said: dict[int, dict[str, Any]] = {trial_id: {} for trial_id in batch}
        for row in connection.execute(query):
            said[row.trial_id][row.key] = json.loads(row.value_json)
        keys = ("cell", "replicate", "attempt", "retry_of")
        for trial_id, values in said.items():
            found[trial_id] = tuple((key, values[key]) for key in keys if key in values)
    return found
