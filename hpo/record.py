"""Optuna's record of a study, brought up to date from our tables.

Many trials are shown in one transaction, with statements on Optuna's own tables: its storage
spends 20 transactions on a trial, which a study of thousands cannot afford. What the
transaction shows and that it is shown (``in_optuna``) commit together. A process may die between
our commit and this one; the next planner finds the attempts whose state Optuna does not show yet.
"""

import datetime
import json
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from hpo import damage, rows, tables
from hpo import optuna_tables as optunas
from hpo.storage import Storage
from hpo.study import OpenStudy
from hpo.tables import Attempt


def show(storage: Storage, study: OpenStudy, attempts: Sequence[Attempt]) -> None:
    """Make Optuna's trials show the present states of ``attempts``."""
    if attempts:
        storage.write(lambda connection: _show(connection, study, attempts))


def report_cycle(
    storage: Storage, study: OpenStudy, attempts: Sequence[Attempt], n_updates: int
) -> None:
    """Show the accuracies at the end of a cycle of each, after so many updates, as in the curves."""
    if attempts:
        storage.write(lambda connection: _report(connection, study, attempts, n_updates))


def attribute_rows(trial_id: int, attributes: dict[str, Any]) -> list[dict[str, Any]]:
    """Return attributes of a trial as rows of their table."""
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
        if state is not None and state not in optunas.FINISHED:  # what is finished, Optuna keeps so
            _show_one(connection, study, attempt, state)
    for attempt in standing:
        rows.update_attempt(connection, study.uuid, attempt, in_optuna=True)


def _states(connection: Connection, trial_ids: Sequence[int]) -> dict[int, str]:
    query = sa.select(optunas.trials.c.trial_id, optunas.trials.c.state).where(
        optunas.trials.c.trial_id.in_(trial_ids)
    )
    return {row.trial_id: row.state for row in connection.execute(query.with_for_update())}


def _show_one(connection: Connection, study: OpenStudy, attempt: Attempt, state: str) -> None:
    trial_id = attempt.trial_id
    if trial_id is None:
        return
    if attempt.state in tables.LIVE:
        wanted = "RUNNING" if attempt.state == "running" else "WAITING"
        if state != wanted:
            set_state(connection, trial_id, wanted)
    elif attempt.state == "failed":
        add_attributes(connection, trial_id, {"reason": attempt.reason or "unknown"})
        set_state(connection, trial_id, "FAIL")
    elif attempt.state == "ended":
        _show_result(connection, study, attempt, trial_id)


def _show_result(connection: Connection, study: OpenStudy, attempt: Attempt, trial_id: int) -> None:
    """Complete the cycle values, then the outcome, the value and the state."""
    result = rows.result_at(connection, study.uuid, attempt.slot)
    if result is None:
        return
    length = 2 * study.experiment.recipe(attempt.slot.cell).n_s
    ends = [length * cycle for cycle in range(1, result.cycles + 1)]
    _add_steps(connection, study, attempt, trial_id, ends)
    outcome = {
        "outcome": result.outcome,
        "updates": result.n_updates,
        "environment": damage.parsed(result.environment, "The environment of a result"),
    }
    add_attributes(connection, trial_id, outcome)
    if result.outcome == "diverged":
        set_state(connection, trial_id, "FAIL")
        return
    value = {
        "trial_id": trial_id,
        "objective": 0,
        "value": result.value,
        "value_type": optunas.FINITE,
    }
    connection.execute(optunas.values.delete().where(optunas.values.c.trial_id == trial_id))
    connection.execute(optunas.values.insert().values(value))
    set_state(connection, trial_id, "PRUNED" if result.outcome == "pruned" else "COMPLETE")


def _report(
    connection: Connection, study: OpenStudy, attempts: Iterable[Attempt], n_updates: int
) -> None:
    known = [attempt for attempt in attempts if attempt.trial_id is not None]
    shown = _states(connection, [a.trial_id for a in known if a.trial_id is not None])
    for attempt in known:
        state = shown.get(attempt.trial_id or 0)
        if attempt.trial_id is not None and state is not None and state not in optunas.FINISHED:
            _add_steps(connection, study, attempt, attempt.trial_id, [n_updates])


def _add_steps(
    connection: Connection,
    study: OpenStudy,
    attempt: Attempt,
    trial_id: int,
    ends: Sequence[int],
) -> None:
    """Show the accuracies after so many updates at the cycles that have none yet."""
    there = sa.select(optunas.steps.c.step).where(optunas.steps.c.trial_id == trial_id)
    known = set(connection.execute(there).scalars())
    points: Any = tables.curves
    wanted = sa.select(points.c.n_updates, points.c.validation_accuracy).where(
        rows.at(points, study.uuid, attempt.slot),
        points.c.n_updates.in_(ends),
        points.c.validation_accuracy.is_not(None),
    )
    found: Sequence[Row[Any]] = connection.execute(wanted.order_by(points.c.n_updates)).all()
    length = 2 * study.experiment.recipe(attempt.slot.cell).n_s
    new = [
        {
            "trial_id": trial_id,
            "step": point.n_updates // length,
            "intermediate_value": point.validation_accuracy,
            "intermediate_value_type": optunas.FINITE,
        }
        for point in found
        if point.n_updates // length not in known
    ]
    if new:
        connection.execute(optunas.steps.insert(), new)


def add_attributes(connection: Connection, trial_id: int, attributes: dict[str, Any]) -> None:
    """Set attributes of a trial."""
    mine = sa.and_(
        optunas.attributes.c.trial_id == trial_id, optunas.attributes.c.key.in_(attributes)
    )
    connection.execute(optunas.attributes.delete().where(mine))
    connection.execute(optunas.attributes.insert(), attribute_rows(trial_id, attributes))


def set_state(connection: Connection, trial_id: int, state: str) -> None:
    """Set a state with its time, which Optuna keeps in UTC."""
    values: dict[str, Any] = {"state": state}
    moment = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    if state == "RUNNING":
        values["datetime_start"] = moment
    elif state in optunas.FINISHED:
        values["datetime_complete"] = moment
    connection.execute(
        optunas.trials.update().where(optunas.trials.c.trial_id == trial_id).values(values)
    )
