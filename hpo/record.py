"""Optuna's record of a study, brought up to date from our tables.

Every step can be repeated: a process may die anywhere between our commit and Optuna's, and the
next one finds the attempts whose state Optuna does not show yet.
"""

import json
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection

from hpo import tables
from hpo.definition import Experiment
from hpo.storage import Storage
from hpo.study import OpenStudy
from hpo.tables import Attempt, Point, Result, Slot

_VALIDATION_ACCURACY = tables.CURVE_COLUMNS.index("validation_accuracy")


def bring_up_to_date(storage: Storage, study: OpenStudy) -> None:
    """Make Optuna's trials show the states of our attempts, where they do not yet."""
    behind = storage.write(
        lambda connection: tables.attempts_of(connection, study.uuid, in_optuna=False)
    )
    if not behind:
        return
    known: dict[tuple[int, int, int], int] | None = None
    for attempt in behind:
        if attempt.trial_id is None:
            known = _existing_trials(storage, study) if known is None else known
            attempt = _with_trial(storage, study, attempt, known)
        _show(storage, study, attempt)

        def mark(connection: Connection, attempt: Attempt = attempt) -> bool:
            return tables.update_attempt(
                connection, study.uuid, attempt, was=attempt.state, in_optuna=True
            )

        storage.write(mark)


def report_cycle(storage: Storage, attempt: Attempt, cycle: int, accuracy: float) -> None:
    """Show the validation accuracy at the end of a cycle."""
    trial_id = attempt.trial_id
    if trial_id is not None and tables.number(accuracy) is not None:
        storage.retried(
            lambda: storage.optuna.set_trial_intermediate_value(trial_id, cycle, accuracy)
        )


def _existing_trials(storage: Storage, study: OpenStudy) -> dict[tuple[int, int, int], int]:
    """Return the trials that a dead process made without telling our tables."""
    trials = storage.retried(lambda: storage.optuna.get_all_trials(study.study_id, deepcopy=False))
    return {
        (t.user_attrs["cell"], t.user_attrs["replicate"], t.user_attrs["attempt"]): t._trial_id
        for t in trials
        if "attempt" in t.user_attrs
    }


def _with_trial(
    storage: Storage, study: OpenStudy, attempt: Attempt, known: dict[tuple[int, int, int], int]
) -> Attempt:
    """Give the attempt a WAITING trial in Optuna."""
    slot = attempt.slot
    trial_id = known.get((slot.cell, slot.replicate, attempt.number))
    if trial_id is None:
        template = _template(study.experiment, attempt)
        trial_id = storage.retried(
            lambda: storage.optuna.create_new_trial(study.study_id, template)
        )
    values: dict[str, Any] = {"trial_id": trial_id}
    storage.write(
        lambda connection: tables.update_attempt(connection, study.uuid, attempt, **values)
    )
    return Attempt(slot, attempt.number, trial_id, attempt.state, attempt.worker, attempt.reason)


def _template(experiment: Experiment, attempt: Attempt) -> FrozenTrial:
    slot = attempt.slot
    attributes: dict[str, Any] = {
        "cell": slot.cell,
        "replicate": slot.replicate,
        "attempt": attempt.number,
    }
    if attempt.number:
        attributes["retry_of"] = attempt.number - 1
    return optuna.trial.create_trial(
        state=TrialState.WAITING,
        params=dict(experiment.cells[slot.cell]),
        distributions=distributions(experiment),
        user_attrs=attributes,
    )


def distributions(experiment: Experiment) -> dict[str, BaseDistribution]:
    """Return the range of every parameter over the cells, logarithmic where it spans decades."""
    found: dict[str, BaseDistribution] = {}
    for name in experiment.cells[0]:
        values = [cell[name] for cell in experiment.cells]
        low, high = min(values), max(values)
        found[name] = FloatDistribution(low, high, log=low > 0 and high >= 10 * low)
    return found


def _show(storage: Storage, study: OpenStudy, attempt: Attempt) -> None:
    trial_id = attempt.trial_id
    if trial_id is None:
        return
    backend = storage.optuna
    shown = storage.retried(lambda: backend.get_trial(trial_id))
    if shown.state.is_finished():
        return
    if attempt.state == "waiting" and shown.state != TrialState.WAITING:
        storage.retried(lambda: backend.set_trial_state_values(trial_id, TrialState.WAITING))
    elif attempt.state == "running" and shown.state == TrialState.WAITING:
        storage.retried(lambda: backend.set_trial_state_values(trial_id, TrialState.RUNNING))
    elif attempt.state == "failed":
        _set_attribute(storage, trial_id, "reason", attempt.reason or "unknown")
        storage.retried(lambda: backend.set_trial_state_values(trial_id, TrialState.FAIL))
    elif attempt.state == "ended":
        _show_result(storage, study, attempt, shown)


def _show_result(storage: Storage, study: OpenStudy, attempt: Attempt, shown: FrozenTrial) -> None:
    """Complete the cycle values, then the outcome and the value, then the state."""

    def read(connection: Connection) -> tuple[Result, dict[str, Any], list[Point]]:
        return _result_and_points(connection, study.uuid, attempt.slot)

    result, environment, points = storage.write(read)
    schedule_cycle = 2 * study.experiment.n_s
    for point in points:
        cycle, rest = divmod(point.n_updates, schedule_cycle)
        if rest == 0 and cycle not in shown.intermediate_values:
            report_cycle(storage, attempt, cycle, point.values[_VALIDATION_ACCURACY])
    trial_id = shown._trial_id
    _set_attribute(storage, trial_id, "outcome", result.outcome)
    _set_attribute(storage, trial_id, "updates", result.n_updates)
    _set_attribute(storage, trial_id, "environment", environment)
    state = TrialState.COMPLETE if result.outcome == "complete" else TrialState.FAIL
    values = [result.value] if state is TrialState.COMPLETE and result.value is not None else None
    storage.retried(lambda: storage.optuna.set_trial_state_values(trial_id, state, values))


def _result_and_points(
    connection: Connection, study: str, slot: Slot
) -> tuple[Result, dict[str, Any], list[Point]]:
    row = connection.execute(
        tables.results.select().where(tables.at(tables.results, study, slot))
    ).one()
    rows = connection.execute(
        tables.curves.select()
        .where(tables.at(tables.curves, study, slot))
        .order_by(tables.curves.c.n_updates)
    )
    nan = float("nan")
    points = [
        Point(
            r.n_updates,
            tuple(nan if (v := getattr(r, name)) is None else v for name in tables.CURVE_COLUMNS),
        )
        for r in rows
    ]
    result = Result(slot, row.attempt, row.outcome, row.value, row.cycles, row.n_updates)
    return result, json.loads(row.environment), points


def _set_attribute(storage: Storage, trial_id: int, key: str, value: object) -> None:
    storage.retried(lambda: storage.optuna.set_trial_user_attr(trial_id, key, value))
