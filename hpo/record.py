"""Optuna's record of a study, brought up to date from our tables.

Every step can be repeated: a process may die anywhere between our commit and Optuna's, and the
next planner finds the attempts whose state Optuna does not show yet. An attempt's state may change
while it is being shown; it is then shown again, so the last word is always the present state.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection

from hpo import rows, tables
from hpo.definition import Experiment
from hpo.storage import Storage
from hpo.study import OpenStudy
from hpo.tables import Attempt

Trials = dict[tuple[int, int, int], int]  #: trial id by cell, replicate and attempt


def make_trials(
    storage: Storage, study: OpenStudy, keep_going: Callable[[], None] = lambda: None
) -> None:
    """Give every attempt its trial, and show all states that Optuna does not; for planners."""
    behind = storage.write(
        lambda connection: rows.attempts_of(connection, study.uuid, in_optuna=False)
    )
    if any(attempt.trial_id is None for attempt in behind):
        known = _existing_trials(storage, study)
        for attempt in behind:
            if attempt.trial_id is None:
                _make_trial(storage, study, attempt, known)
                keep_going()
    _end_surplus_trials(storage, study)
    show(storage, study, behind)


def show(storage: Storage, study: OpenStudy, attempts: Iterable[Attempt]) -> None:
    """Make Optuna's trials show the present states of ``attempts``."""
    for attempt in attempts:
        shown = False
        while not shown:
            shown = _show_present_state(storage, study, attempt)


def report_cycle(storage: Storage, attempt: Attempt, cycle: int, accuracy: float | None) -> None:
    """Show the validation accuracy at the end of a cycle."""
    trial_id = attempt.trial_id
    if trial_id is None or rows.number(accuracy) is None:
        return
    value = float(accuracy or 0)
    _unless_finished(
        storage, lambda: storage.optuna.set_trial_intermediate_value(trial_id, cycle, value)
    )


def distributions(experiment: Experiment) -> dict[str, BaseDistribution]:
    """Return the range of every parameter over the cells, logarithmic where it spans decades."""
    found: dict[str, BaseDistribution] = {}
    for name in experiment.cells[0]:
        values = [cell[name] for cell in experiment.cells]
        low, high = min(values), max(values)
        found[name] = FloatDistribution(low, high, log=low > 0 and high >= 10 * low)
    return found


def _show_present_state(storage: Storage, study: OpenStudy, attempt: Attempt) -> bool:
    """Show the attempt as it is now; tell whether it still was so afterwards."""
    present = storage.write(lambda connection: rows.standing(connection, study.uuid, attempt))
    if present is None or present.trial_id is None:
        return True
    _show(storage, study, present, present.trial_id)

    def mark(connection: Connection) -> bool:
        return rows.update_attempt(
            connection, study.uuid, present, was=present.state, in_optuna=True
        )

    return storage.write(mark)


def _show(storage: Storage, study: OpenStudy, attempt: Attempt, trial_id: int) -> None:
    backend = storage.optuna
    shown = storage.retried(lambda: backend.get_trial(trial_id))
    if shown.state.is_finished():
        return
    wanted = {"waiting": TrialState.WAITING, "running": TrialState.RUNNING}.get(attempt.state)
    if wanted is not None:
        if shown.state != wanted:
            _unless_finished(storage, lambda: backend.set_trial_state_values(trial_id, wanted))
    elif attempt.state == "failed":
        _set_attribute(storage, trial_id, "reason", attempt.reason or "unknown")
        _fail_trial(storage, trial_id)
    elif attempt.state == "ended":
        _show_result(storage, study, attempt, shown)


def _show_result(storage: Storage, study: OpenStudy, attempt: Attempt, shown: FrozenTrial) -> None:
    """Complete the cycle values, then the outcome and the value, then the state."""

    def read(connection: Connection) -> tuple[Any, list[Any]]:
        found = tables.results.select().where(rows.at(tables.results, study.uuid, attempt.slot))
        result = connection.execute(found).one_or_none()
        points = tables.curves
        every = points.select().where(rows.at(points, study.uuid, attempt.slot))
        return result, list(connection.execute(every.order_by(points.c.n_updates)))

    result, points = storage.write(read)
    if result is None:
        return
    for point in points:
        cycle, rest = divmod(point.n_updates, 2 * study.experiment.n_s)
        if rest == 0 and cycle not in shown.intermediate_values:
            report_cycle(storage, attempt, cycle, point.validation_accuracy)
    trial_id = shown._trial_id
    _set_attribute(storage, trial_id, "outcome", result.outcome)
    _set_attribute(storage, trial_id, "updates", result.n_updates)
    _set_attribute(storage, trial_id, "environment", json.loads(result.environment))
    state = TrialState.COMPLETE if result.outcome == "complete" else TrialState.FAIL
    values = [result.value] if state is TrialState.COMPLETE else None
    _unless_finished(
        storage, lambda: storage.optuna.set_trial_state_values(trial_id, state, values)
    )


def _existing_trials(storage: Storage, study: OpenStudy) -> Trials:
    """Return the trials that exist, also those that a dead process made without telling us."""
    trials = storage.retried(lambda: storage.optuna.get_all_trials(study.study_id, deepcopy=False))
    return {
        (t.user_attrs["cell"], t.user_attrs["replicate"], t.user_attrs["attempt"]): t._trial_id
        for t in trials
        if "attempt" in t.user_attrs
    }


def _make_trial(storage: Storage, study: OpenStudy, attempt: Attempt, known: Trials) -> None:
    """Give the attempt a WAITING trial in Optuna."""
    key = (attempt.slot.cell, attempt.slot.replicate, attempt.number)
    template = _template(study.experiment, attempt)

    def make() -> int:
        if key not in known:
            try:
                known[key] = storage.optuna.create_new_trial(study.study_id, template)
            except Exception:
                known.update(_existing_trials(storage, study))  # the commit may have happened
                raise
        return known[key]

    trial_id = storage.retried(make)
    values: dict[str, Any] = {"trial_id": trial_id}
    storage.write(lambda connection: rows.update_attempt(connection, study.uuid, attempt, **values))


def surplus_trials(connection: Connection, study: str, study_id: int) -> list[int]:
    """Return the live trials that stand for no attempt, because they were made twice.

    Optuna itself repeats the making of a trial after an error, also after a commit whose answer
    was lost.
    """
    query = sa.text(
        "select t.trial_id from trials t join trial_user_attributes a on a.trial_id = t.trial_id "
        "where t.study_id = :study_id and t.state in ('WAITING', 'RUNNING') and a.key = 'attempt' "
        "and t.trial_id not in "
        "(select trial_id from hpo_attempts where study = :study and trial_id is not null)"
    )
    found = connection.execute(query, {"study_id": study_id, "study": study})
    return list(found.scalars())


def _end_surplus_trials(storage: Storage, study: OpenStudy) -> None:
    """Show trials that were made twice as failed; Optuna cannot delete one."""
    surplus = storage.write(lambda c: surplus_trials(c, study.uuid, study.study_id))
    for trial_id in surplus:
        _set_attribute(storage, trial_id, "reason", "made twice")
        _fail_trial(storage, trial_id)


def _fail_trial(storage: Storage, trial_id: int) -> None:
    backend = storage.optuna
    _unless_finished(storage, lambda: backend.set_trial_state_values(trial_id, TrialState.FAIL))


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


def _set_attribute(storage: Storage, trial_id: int, key: str, value: object) -> None:
    _unless_finished(storage, lambda: storage.optuna.set_trial_user_attr(trial_id, key, value))


def _unless_finished(storage: Storage, action: Callable[[], object]) -> None:
    """Run ``action``; a trial that is finished meanwhile stays as it is."""
    try:
        storage.retried(action)
    except UpdateFinishedTrialError:
        return
