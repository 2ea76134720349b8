"""Optuna's record of a study, brought up to date from our tables.

Many trials are shown in one transaction, with statements on Optuna's own tables: its storage
spends 20 transactions on a trial, which a study of thousands cannot afford. What the
transaction shows and that it is shown (``in_optuna``) commit together. A process may die between
our commit and this one; the next planner finds the attempts whose state Optuna does not show yet.

Others may make a trial of ours final before we do, or with another value: ``study.tell``, a
dashboard, a script that fails what it takes for zombies. Optuna's processes keep a finished trial
in memory as they saw it first, so mending it in place would not reach them. It is set aside
instead: it stays under its number as FAIL, with what was told as its attribute `TOLD`, and the
attempt gets a new trial, which ``best_trial`` finds in old processes too (it asks the database
which trial is the best). A list of trials that an old process has read goes on showing what was
told until that process is started again.
"""

import datetime
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from hpo.database import damage, outcomes, rows, tables
from hpo.experiment.records import Attempt, Outcome, Result, State
from hpo.mirror import identity
from hpo.mirror import optuna_tables as optunas
from hpo.mirror.study import OpenStudy

TOLD = "told_by_others"  #: attribute of a trial that was set aside: what it said
FAILED = ("FAIL", None)  #: state and value of a trial without a result
OWN = "own"  #: what `Attempt.worker` says under "objective" if it is not ours that is evaluated


@dataclass(frozen=True)
class Shown:
    """A trial as Optuna's tables have it."""

    trial_id: int
    number: int
    state: str
    value: float | None


def show(study: OpenStudy, attempts: Sequence[Attempt], *, with_steps: bool = False) -> None:
    """Make Optuna's trials show the present states of ``attempts``.

    An attempt whose trial was deleted or set aside has none afterwards; planners make another.

    Args:
        with_steps: Show the values at the cycle ends of those that are in training, too.
    """
    if attempts:
        study.storage.write(lambda connection: _show(connection, study, attempts, with_steps))


def report_cycle(study: OpenStudy, attempts: Sequence[Attempt], n_updates: int) -> None:
    """Show the accuracies at the end of a cycle of each, after so many updates, as in the curves."""
    if attempts:
        study.storage.write(lambda connection: _report(connection, study, attempts, n_updates))


def attribute_rows(trial_id: int, attributes: dict[str, Any]) -> list[dict[str, Any]]:
    """Return attributes of a trial as rows of their table."""
    return [
        {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
        for key, value in attributes.items()
    ]


def expected(attempt: Attempt, result: "Result | Row[Any] | None") -> tuple[str, float | None]:
    """Return the state and the value of the trial that shows an attempt."""
    if attempt.state == State.RUNNING:
        return "RUNNING", None
    if attempt.state in tables.LIVE:
        return "WAITING", None
    if attempt.state == State.FAILED or result is None or result.outcome == Outcome.DIVERGED:
        return FAILED
    return "PRUNED" if result.outcome == Outcome.PRUNED else "COMPLETE", result.value


def is_told(trial: Shown, wanted: tuple[str, float | None]) -> bool:
    """Tell whether others made a trial final, and with something else than what is wanted."""
    return trial.state in optunas.FINISHED and (trial.state, trial.value) != wanted


def set_aside(connection: Connection, trial: Shown) -> None:
    """Keep what others made final as a failed trial, which is nobody's best."""
    told = trial.state if trial.value is None else f"{trial.state} with {trial.value!r}"
    add_attributes(connection, trial.trial_id, {TOLD: told})
    connection.execute(optunas.values.delete().where(optunas.values.c.trial_id == trial.trial_id))
    if trial.state != "FAIL":
        set_state(connection, trial.trial_id, "FAIL")


def _show(
    connection: Connection, study: OpenStudy, attempts: Iterable[Attempt], with_steps: bool
) -> None:
    study_id = identity.shown_as(connection, study.uuid)
    if study_id is None:  # deleted from Optuna; who plans next shows it all again
        return
    present = [rows.standing(connection, study.uuid, attempt) for attempt in attempts]
    standing = {a.trial_id: a for a in present if a is not None and a.trial_id is not None}
    shown = _locked(connection, study_id, standing)
    for trial_id, attempt in standing.items():
        trial = shown.get(trial_id)
        if trial is None:  # others deleted it
            rows.update_attempt(connection, study.uuid, attempt, trial_id=None, in_optuna=False)
            continue
        result = _result(connection, study, attempt)
        if attempt.state == State.ENDED and result is None:  # damaged: nothing is known to show
            continue
        wanted = expected(attempt, result)
        told = is_told(trial, wanted)
        if told:
            set_aside(connection, trial)
        if told and wanted != FAILED:
            rows.update_attempt(connection, study.uuid, attempt, trial_id=None, in_optuna=False)
            continue
        if attempt.state in tables.LIVE and with_steps:
            _add_steps(connection, study, attempt, trial_id, n_cycles=None)
        if attempt.state == State.FAILED:
            add_attributes(connection, trial_id, {"reason": attempt.reason or "unknown"})
        if result is not None:
            _show_result(connection, study, attempt, trial_id, result)
        if trial.state != wanted[0] and not told:
            set_state(connection, trial_id, wanted[0])
        rows.update_attempt(connection, study.uuid, attempt, in_optuna=True)


def _locked(connection: Connection, study_id: int, trial_ids: Iterable[int]) -> dict[int, Shown]:
    """Return what Optuna shows of trials of this study, locked until the transaction ends.

    Of another study's there may be one with the id of a trial of ours that was deleted.
    """
    mine = sa.and_(optunas.trials.c.trial_id.in_(trial_ids), optunas.trials.c.study_id == study_id)
    locked = connection.execute(optunas.trials.select().where(mine).with_for_update()).all()
    finished = [row.trial_id for row in locked if row.state in optunas.FINISHED]
    told: dict[int, float | None] = {}
    if finished:
        query = optunas.values.select().where(optunas.values.c.trial_id.in_(finished))
        told = {row.trial_id: optunas.number(row) for row in connection.execute(query)}
    return {
        row.trial_id: Shown(row.trial_id, row.number, row.state, told.get(row.trial_id))
        for row in locked
    }


def _result(connection: Connection, study: OpenStudy, attempt: Attempt) -> Row[Any] | None:
    if attempt.state != State.ENDED:
        return None
    return outcomes.result_at(connection, study.uuid, attempt.slot)


def _show_result(
    connection: Connection, study: OpenStudy, attempt: Attempt, trial_id: int, result: Row[Any]
) -> None:
    """Complete the cycle values, then the outcome and the value."""
    if result.n_updates:  # an objective of the user's own reported to Optuna itself
        _add_steps(connection, study, attempt, trial_id, result.cycles)
    outcome = {
        "outcome": result.outcome,
        "updates": result.n_updates,
        "environment": damage.parsed(result.environment, "The environment of a result"),
    }
    add_attributes(connection, trial_id, outcome)
    connection.execute(optunas.values.delete().where(optunas.values.c.trial_id == trial_id))
    _, value = expected(attempt, result)
    if value is not None:
        row = {
            "trial_id": trial_id,
            "objective": 0,
            "value": value,
            "value_type": optunas.FINITE,
        }
        connection.execute(optunas.values.insert().values(row))


def _report(
    connection: Connection, study: OpenStudy, attempts: Iterable[Attempt], n_updates: int
) -> None:
    study_id = identity.shown_as(connection, study.uuid)
    if study_id is None:
        return
    known = {a.trial_id: a for a in attempts if a.trial_id is not None}
    shown = _locked(connection, study_id, known)
    for trial_id, attempt in known.items():
        trial = shown.get(trial_id)
        if trial is not None and trial.state not in optunas.FINISHED:
            cycle = n_updates // (2 * study.experiment.recipe(attempt.slot.cell).n_s)
            _add_steps(connection, study, attempt, trial_id, cycle, first=cycle)


def _add_steps(
    connection: Connection,
    study: OpenStudy,
    attempt: Attempt,
    trial_id: int,
    n_cycles: int | None,
    first: int = 1,
) -> None:
    """Show the accuracies at the ends of cycles from the ``first`` on; None: of all there are."""
    length = 2 * study.experiment.recipe(attempt.slot.cell).n_s
    points: Any = tables.curves
    wanted = sa.select(points.c.n_updates, points.c.validation_accuracy).where(
        rows.at(points, study.uuid, attempt.slot),
        points.c.n_updates >= length * first,
        points.c.n_updates % length == 0,
        points.c.validation_accuracy.is_not(None),
    )
    if n_cycles is not None:
        wanted = wanted.where(points.c.n_updates <= length * n_cycles)
    found = {row.n_updates // length: row.validation_accuracy for row in connection.execute(wanted)}
    here = sa.and_(optunas.steps.c.trial_id == trial_id, optunas.steps.c.step.in_(found))
    there = {
        row.step: optunas.number(row, "intermediate_value")
        for row in connection.execute(optunas.steps.select().where(here))
    }
    new = [step for step, accuracy in found.items() if there.get(step) != accuracy]
    others = [step for step in new if step in there]  # reported by others in our place
    if others:
        theirs = sa.and_(optunas.steps.c.trial_id == trial_id, optunas.steps.c.step.in_(others))
        connection.execute(optunas.steps.delete().where(theirs))
    if new:
        connection.execute(
            optunas.steps.insert(),
            [
                {
                    "trial_id": trial_id,
                    "step": step,
                    "intermediate_value": found[step],
                    "intermediate_value_type": optunas.FINITE,
                }
                for step in sorted(new)
            ],
        )


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
