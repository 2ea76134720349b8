"""Optuna's record of a study, brought up to date from our tables.

Many trials are shown in one transaction, with statements on the tables of Optuna's own models:
its storage spends 20 transactions on a trial, which a study of thousands cannot afford. What the
transaction shows and that it is shown (``in_optuna``) commit together. A process may die between
our commit and this one; the next planner finds the attempts whose state Optuna does not show yet.
"""

import datetime
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from optuna.distributions import BaseDistribution, FloatDistribution, distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import Connection, Row

from hpo import rows, tables
from hpo.definition import Experiment
from hpo.storage import Storage
from hpo.study import OpenStudy
from hpo.tables import Attempt

MADE_AT_ONCE = 200  #: trials in one transaction

_studies: Any = models.StudyModel.__table__
_trials: Any = models.TrialModel.__table__
_params: Any = models.TrialParamModel.__table__
_attributes: Any = models.TrialUserAttributeModel.__table__
_values: Any = models.TrialValueModel.__table__
_steps: Any = models.TrialIntermediateValueModel.__table__
_FINITE = models.TrialValueModel.TrialValueType.FINITE
_FINITE_STEP = models.TrialIntermediateValueModel.TrialIntermediateValueType.FINITE


def make_trials(
    storage: Storage, study: OpenStudy, keep_going: Callable[[], None] = lambda: None
) -> None:
    """Give every attempt its trial, and show all states that Optuna does not; for planners."""
    storage.write(lambda connection: _settle_surplus_trials(connection, study))
    while storage.write(lambda connection: _make_some(connection, study)):
        keep_going()
    behind = storage.write(
        lambda connection: rows.attempts_of(connection, study.uuid, in_optuna=False)
    )
    for start in range(0, len(behind), MADE_AT_ONCE):
        show(storage, study, behind[start : start + MADE_AT_ONCE])
        keep_going()


def show(storage: Storage, study: OpenStudy, attempts: Sequence[Attempt]) -> None:
    """Make Optuna's trials show the present states of ``attempts``."""
    if attempts:
        storage.write(lambda connection: _show(connection, study, attempts))


def report_cycle(
    storage: Storage, study: OpenStudy, attempts: Sequence[Attempt], cycle: int
) -> None:
    """Show the validation accuracies at the end of a cycle, as they are in the curves."""
    if attempts:
        storage.write(lambda connection: _report(connection, study, attempts, cycle))


def distributions(experiment: Experiment) -> dict[str, BaseDistribution]:
    """Return the range of every parameter over the cells, logarithmic where it spans decades."""
    found: dict[str, BaseDistribution] = {}
    for name in experiment.cells[0]:
        values = [cell[name] for cell in experiment.cells]
        low, high = min(values), max(values)
        found[name] = FloatDistribution(low, high, log=low > 0 and high >= 10 * low)
    return found


def surplus_trials(connection: Connection, study: str, study_id: int) -> list[int]:
    """Return the live trials that stand for no attempt.

    An earlier hpo had Optuna make them, which repeats a commit whose answer was lost.
    """
    known = sa.select(tables.attempts.c.trial_id).where(
        tables.attempts.c.study == study, tables.attempts.c.trial_id.is_not(None)
    )
    query = (
        sa.select(_trials.c.trial_id)
        .join(_attributes, _attributes.c.trial_id == _trials.c.trial_id)
        .where(
            _trials.c.study_id == study_id,
            _trials.c.state.in_([TrialState.WAITING, TrialState.RUNNING]),
            _attributes.c.key == "attempt",
            _trials.c.trial_id.not_in(known),
        )
    )
    return list(connection.execute(query).scalars())


def _make_some(connection: Connection, study: OpenStudy) -> bool:
    """Make WAITING trials for some attempts that have none; tell whether there were any."""
    lacking = rows.attempts_of(connection, study.uuid, without_trial=True, limit=MADE_AT_ONCE)
    if not lacking:
        return False
    # As Optuna does: whoever makes a trial holds the study's row, so that numbers are counted once.
    mine = _studies.c.study_id == study.study_id
    connection.execute(sa.select(_studies.c.study_id).where(mine).with_for_update())
    counting = sa.select(sa.func.count()).where(_trials.c.study_id == study.study_id)
    first = connection.execute(counting.select_from(_trials)).scalar_one()
    made = connection.execute(
        _trials.insert().returning(_trials.c.trial_id, sort_by_parameter_order=True),
        [
            {"study_id": study.study_id, "number": first + i, "state": TrialState.WAITING}
            for i in range(len(lacking))
        ],
    )
    trial_ids = list(made.scalars())
    ranges = {
        name: distribution_to_json(distribution)
        for name, distribution in distributions(study.experiment).items()
    }
    parameters, attributes, links = [], [], []
    for attempt, trial_id in zip(lacking, trial_ids, strict=True):
        for name, value in study.experiment.cells[attempt.slot.cell].items():
            parameters.append(
                {
                    "trial_id": trial_id,
                    "param_name": name,
                    "param_value": value,
                    "distribution_json": ranges[name],
                }
            )
        attributes += _attribute_rows(trial_id, _identity(attempt))
        slot = attempt.slot
        links.append(
            {"c": slot.cell, "r": slot.replicate, "n": attempt.number, "trial_id": trial_id}
        )
    connection.execute(_params.insert(), parameters)
    connection.execute(_attributes.insert(), attributes)
    table = tables.attempts
    this = sa.and_(
        table.c.study == study.uuid,
        table.c.cell == sa.bindparam("c"),
        table.c.replicate == sa.bindparam("r"),
        table.c.attempt == sa.bindparam("n"),
    )
    # A WAITING trial shows a waiting attempt as it is.
    shown = sa.case((table.c.state == "waiting", sa.true()), else_=sa.false())
    link = table.update().where(this)
    connection.execute(link.values(trial_id=sa.bindparam("trial_id"), in_optuna=shown), links)
    return True


def _identity(attempt: Attempt) -> dict[str, int]:
    slot = attempt.slot
    attributes = {"cell": slot.cell, "replicate": slot.replicate, "attempt": attempt.number}
    return attributes | ({"retry_of": attempt.number - 1} if attempt.number else {})


def _attribute_rows(trial_id: int, attributes: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
        for key, value in attributes.items()
    ]


def _show(connection: Connection, study: OpenStudy, attempts: Iterable[Attempt]) -> None:
    present = [rows.standing(connection, study.uuid, attempt) for attempt in attempts]
    standing = [a for a in present if a is not None and a.trial_id is not None]
    shown = _states(connection, [a.trial_id for a in standing if a.trial_id is not None])
    for attempt in standing:
        state = shown.get(attempt.trial_id or 0)
        if state is not None and not state.is_finished():  # what is finished, Optuna keeps so
            _show_one(connection, study, attempt, state)
    for attempt in standing:
        rows.update_attempt(connection, study.uuid, attempt, in_optuna=True)


def _states(connection: Connection, trial_ids: Sequence[int]) -> dict[int, TrialState]:
    query = sa.select(_trials.c.trial_id, _trials.c.state).where(_trials.c.trial_id.in_(trial_ids))
    return {row.trial_id: row.state for row in connection.execute(query.with_for_update())}


def _show_one(
    connection: Connection, study: OpenStudy, attempt: Attempt, state: TrialState
) -> None:
    trial_id = attempt.trial_id
    if trial_id is None:
        return
    wanted = {"waiting": TrialState.WAITING, "running": TrialState.RUNNING}.get(attempt.state)
    if wanted is not None:
        if state is not wanted:
            _set_state(connection, trial_id, wanted)
    elif attempt.state == "failed":
        _add_attributes(connection, trial_id, {"reason": attempt.reason or "unknown"})
        _set_state(connection, trial_id, TrialState.FAIL)
    elif attempt.state == "ended":
        _show_result(connection, study, attempt, trial_id)


def _show_result(connection: Connection, study: OpenStudy, attempt: Attempt, trial_id: int) -> None:
    """Complete the cycle values, then the outcome, the value and the state."""
    found = tables.results.select().where(rows.at(tables.results, study.uuid, attempt.slot))
    result = connection.execute(found).one_or_none()
    if result is None:
        return
    ends = [2 * study.experiment.n_s * cycle for cycle in range(1, result.cycles + 1)]
    _add_steps(connection, study, attempt, trial_id, ends)
    outcome = {
        "outcome": result.outcome,
        "updates": result.n_updates,
        "environment": json.loads(result.environment),
    }
    _add_attributes(connection, trial_id, outcome)
    if result.outcome != "complete":
        _set_state(connection, trial_id, TrialState.FAIL)
        return
    value = {"trial_id": trial_id, "objective": 0, "value": result.value, "value_type": _FINITE}
    connection.execute(_values.delete().where(_values.c.trial_id == trial_id))
    connection.execute(_values.insert().values(value))
    _set_state(connection, trial_id, TrialState.COMPLETE)


def _report(
    connection: Connection, study: OpenStudy, attempts: Iterable[Attempt], cycle: int
) -> None:
    known = [attempt for attempt in attempts if attempt.trial_id is not None]
    shown = _states(connection, [a.trial_id for a in known if a.trial_id is not None])
    for attempt in known:
        state = shown.get(attempt.trial_id or 0)
        if attempt.trial_id is not None and state is not None and not state.is_finished():
            end = 2 * study.experiment.n_s * cycle
            _add_steps(connection, study, attempt, attempt.trial_id, [end])


def _add_steps(
    connection: Connection,
    study: OpenStudy,
    attempt: Attempt,
    trial_id: int,
    ends: Sequence[int],
) -> None:
    """Show the accuracies after so many updates at the cycles that have none yet."""
    there = sa.select(_steps.c.step).where(_steps.c.trial_id == trial_id)
    known = set(connection.execute(there).scalars())
    points: Any = tables.curves
    wanted = sa.select(points.c.n_updates, points.c.validation_accuracy).where(
        rows.at(points, study.uuid, attempt.slot),
        points.c.n_updates.in_(ends),
        points.c.validation_accuracy.is_not(None),
    )
    found: Sequence[Row[Any]] = connection.execute(wanted.order_by(points.c.n_updates)).all()
    new = [
        {
            "trial_id": trial_id,
            "step": point.n_updates // (2 * study.experiment.n_s),
            "intermediate_value": point.validation_accuracy,
            "intermediate_value_type": _FINITE_STEP,
        }
        for point in found
        if point.n_updates // (2 * study.experiment.n_s) not in known
    ]
    if new:
        connection.execute(_steps.insert(), new)


def _add_attributes(connection: Connection, trial_id: int, attributes: dict[str, Any]) -> None:
    mine = sa.and_(_attributes.c.trial_id == trial_id, _attributes.c.key.in_(attributes))
    connection.execute(_attributes.delete().where(mine))
    connection.execute(_attributes.insert(), _attribute_rows(trial_id, attributes))


def _set_state(connection: Connection, trial_id: int, state: TrialState) -> None:
    """Set a state with its time, which Optuna keeps in UTC."""
    values: dict[str, Any] = {"state": state}
    moment = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    if state is TrialState.RUNNING:
        values["datetime_start"] = moment
    elif state.is_finished():
        values["datetime_complete"] = moment
    connection.execute(_trials.update().where(_trials.c.trial_id == trial_id).values(values))


def _settle_surplus_trials(connection: Connection, study: OpenStudy) -> None:
    """Give trials without an attempt to the one they were made for; one made twice has failed."""
    lacking = {
        tuple(_identity(attempt).items()): attempt
        for attempt in rows.attempts_of(connection, study.uuid, without_trial=True)
    }
    for trial_id in surplus_trials(connection, study.uuid, study.study_id):
        found = connection.execute(_attributes.select().where(_attributes.c.trial_id == trial_id))
        said = {row.key: json.loads(row.value_json) for row in found}
        keys = [key for key in ("cell", "replicate", "attempt", "retry_of") if key in said]
        attempt = lacking.pop(tuple((key, said[key]) for key in keys), None)
        if attempt is not None:
            rows.update_attempt(connection, study.uuid, attempt, trial_id=trial_id)
            continue
        _add_attributes(connection, trial_id, {"reason": "made twice"})
        _set_state(connection, trial_id, TrialState.FAIL)
