"""Optuna's record of a study, brought up to date from our tables.

Many trials are shown in one transaction, with statements on Optuna's own tables: its storage
spends 20 transactions on a trial, which a study of thousands cannot afford. What the
transaction shows and that it is shown (``in_optuna``) commit together. Workers show what they do in
the transaction that does it (`hpo.mirror.moves`); what planners do, and what others have touched, is
shown by this module, and the next planner finds the attempts whose state Optuna does not show yet.

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
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from hpo.database import batches, damage, decisions, outcomes, tables
from hpo.database import optuna_tables as optunas
from hpo.experiment.records import Attempt, Outcome, Result, State
from hpo.mirror import conclusion, identity, steps
from hpo.mirror.steps import Cycles
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
        study.storage.write(
            lambda connection: show_within(connection, study, attempts, with_steps=with_steps)
        )


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
    _set_aside(connection, [trial])


def add_attributes(connection: Connection, trial_id: int, attributes: dict[str, Any]) -> None:
    """Set attributes of a trial."""
    add_all_attributes(connection, {trial_id: attributes})


def add_all_attributes(connection: Connection, attributes: Mapping[int, dict[str, Any]]) -> None:
    """Set attributes of several trials, by trial."""
    new = [row for trial_id, said in attributes.items() for row in attribute_rows(trial_id, said)]
    if new:
        table = optunas.attributes
        this = sa.and_(table.c.trial_id == sa.bindparam("t"), table.c.key == sa.bindparam("k"))
        known = [{"t": row["trial_id"], "k": row["key"]} for row in new]
        connection.execute(table.delete().where(this), known)
        connection.execute(table.insert(), new)


def set_state(connection: Connection, trial_id: int, state: str) -> None:
    """Set a state with its time, which Optuna keeps in UTC."""
    set_states(connection, [trial_id], state)


def set_states(connection: Connection, trial_ids: Collection[int], state: str) -> None:
    """Set one state of several trials."""
    if not trial_ids:
        return
    values: dict[str, Any] = {"state": state}
    moment = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    if state == "RUNNING":
        values["datetime_start"] = moment
    elif state in optunas.FINISHED:
        values["datetime_complete"] = moment
    these = optunas.trials.c.trial_id.in_(trial_ids)
    connection.execute(optunas.trials.update().where(these).values(values))


@dataclass(frozen=True)
class _Change:
    """An attempt, and the trial that shall show it."""

    attempt: Attempt
    trial: Shown
    state: str
    value: float | None
    result: Row[Any] | None  #: if it has ended


def show_within(
    connection: Connection,
    study: OpenStudy,
    attempts: Sequence[Attempt],
    *,
    with_steps: bool = False,
) -> None:
    """Do the same in a transaction of the caller's."""
    study_id = identity.shown_as(connection, study.uuid)
    if study_id is None:  # deleted from Optuna; who plans next shows it all again
        return
    has_means = conclusion.has_means(study.experiment)
    if has_means:  # of two who show the last trials, the second one sees what the first one showed
        decisions.lock(connection, study.uuid)
    for batch in batches.split(attempts):
        changes = _compare(connection, study, study_id, batch)
        steps.add(connection, study, _cycles(changes, with_steps))
        add_all_attributes(connection, {c.trial.trial_id: _said(c) for c in changes})
        ended = [c for c in changes if c.result is not None]
        if ended:
            _show_result(connection, ended)
        for state in optunas.STATES:
            those = [c for c in changes if c.state == state != c.trial.state]
            set_states(connection, [c.trial.trial_id for c in those], state)
        batches.update(connection, study.uuid, [c.attempt for c in changes], in_optuna=True)
    if has_means:
        conclusion.conclude(connection, study.uuid, study_id)


def _compare(
    connection: Connection, study: OpenStudy, study_id: int, attempts: Sequence[Attempt]
) -> list[_Change]:
    """Return what is to be shown, once nothing that others made final stands in its way."""
    present = batches.standing(connection, study.uuid, attempts)
    standing = {a.trial_id: a for a in present if a.trial_id is not None}
    shown = _locked(connection, study_id, standing)
    ended = [standing[t].slot for t in shown if standing[t].state == State.ENDED]
    results = outcomes.results_at(connection, study.uuid, ended)
    has_means = ended and conclusion.has_means(study.experiment)
    marks = conclusion.marked(connection, study_id) if has_means else {}
    changes: list[_Change] = []
    told: list[Shown] = []
    without_trial = [a for trial_id, a in standing.items() if trial_id not in shown]  # deleted
    for trial_id, trial in shown.items():
        attempt = standing[trial_id]
        result = results.get(attempt.slot) if attempt.state == State.ENDED else None
        if attempt.state == State.ENDED and result is None:  # damaged: nothing is known to show
            continue
        wanted = expected(attempt, result)
        is_concluded = trial_id in marks and marks[trial_id] == (trial.state, trial.value)
        if is_told(trial, wanted) and not is_concluded:
            told.append(trial)
            if wanted != FAILED:
                without_trial.append(attempt)
                continue
            trial = replace(trial, state="FAIL", value=None)
        changes.append(_Change(attempt, trial, *wanted, result))
    _set_aside(connection, told)
    batches.update(connection, study.uuid, without_trial, trial_id=None, in_optuna=False)
    return changes


def _set_aside(connection: Connection, trials: Collection[Shown]) -> None:
    said = {
        t.trial_id: {TOLD: t.state if t.value is None else f"{t.state} with {t.value!r}"}
        for t in trials
    }
    add_all_attributes(connection, said)
    _delete_values(connection, said)
    set_states(connection, [t.trial_id for t in trials if t.state != "FAIL"], "FAIL")


def _locked(connection: Connection, study_id: int, trial_ids: Collection[int]) -> dict[int, Shown]:
    """Return what Optuna shows of trials of this study, locked until the transaction ends.

    Of another study's there may be one with the id of a trial of ours that was deleted.
    """
    if not trial_ids:
        return {}
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


def _cycles(changes: Iterable[_Change], with_steps: bool) -> dict[int, Cycles]:
    """Return whose cycle ends are shown: of those in training only if so wished."""
    found = {}
    for change in changes:
        slot, result = change.attempt.slot, change.result
        if change.attempt.state in tables.LIVE and with_steps:
            found[change.trial.trial_id] = Cycles(slot)
        # An objective of the user's own reported to Optuna itself.
        if result is not None and result.n_updates:
            found[change.trial.trial_id] = Cycles(slot, last=result.cycles)
    return found


def _said(change: _Change) -> dict[str, Any]:
    """Return the attributes that tell how an attempt came out."""
    if change.attempt.state == State.FAILED:
        return {"reason": change.attempt.reason or "unknown"}
    if change.result is None:
        return {}
    return {
        "outcome": change.result.outcome,
        "updates": change.result.n_updates,
        "environment": damage.parsed(change.result.environment, "The environment of a result"),
    }


def _show_result(connection: Connection, changes: Sequence[_Change]) -> None:
    """Show the value of each result that has one, instead of what others wrote."""
    _delete_values(connection, [change.trial.trial_id for change in changes])
    new = [
        {
            "trial_id": c.trial.trial_id,
            "objective": 0,
            "value": c.value,
            "value_type": optunas.FINITE,
        }
        for c in changes
        if c.value is not None
    ]
    if new:
        connection.execute(optunas.values.insert(), new)


def _delete_values(connection: Connection, trial_ids: Collection[int]) -> None:
    if trial_ids:
        table = optunas.values
        connection.execute(table.delete().where(table.c.trial_id.in_(trial_ids)))
