"""Whether Optuna's record of a study says what our tables say, trial by trial.

Others may write there too. Looking takes a statement a table; `hpo.planning.correction` mends. A trial that
stands for no attempt of ours is *foreign*: it was enqueued, added, or made by an objective of
somebody's own. It is never trained and never counted.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from hpo.database import fleet, leases, rows, tables
from hpo.database import optuna_tables as optunas
from hpo.experiment.records import Attempt, Outcome, Result, Slot, State, StoredStudy
from hpo.mirror import conclusion, parameters, trials
from hpo.mirror.conclusion import MARK, Said
from hpo.mirror.states import OWN, TOLD, Shown, expected

SURPLUS = "surplus"  #: attribute of a trial that Optuna made when every cell was taken
ATTRIBUTES = ("cell", "replicate", "attempt", "retry_of", "outcome", "updates", SURPLUS, TOLD, MARK)


@dataclass(frozen=True)
class Difference:
    """A trial that is not as our attempt."""

    attempt: Attempt
    trial: Shown | None  #: None if it is gone, or another's by now
    what: str  #: absence, state, value, parameters, attributes or intermediate values


@dataclass(frozen=True)
class Comparison:
    """What came of looking at all trials of a study."""

    n_trials: int
    behind: tuple[Attempt, ...]  #: attempts that are known not to be shown yet
    different: tuple[Difference, ...]
    foreign: tuple[Shown, ...]
    best_value: float | None  #: of our complete results, or of the means once these are shown
    #: Trials of a finished study that say another value than their cell's mean.
    n_unconcluded: int = 0

    @property
    def outranking(self) -> tuple[Shown, ...]:
        """The foreign trials that Optuna would call the best."""
        best = self.best_value
        return tuple(
            trial
            for trial in self.foreign
            if trial.state == "COMPLETE"
            and best is not None
            and trial.value is not None
            and trial.value >= best
        )


def compare(connection: Connection, study: StoredStudy, study_id: int) -> Comparison:
    """Compare every attempt with the trial that shows it: state, value, parameters, attributes.

    Intermediate values are compared where ours are final.
    """
    attempts = rows.attempts_of(connection, study.uuid)
    behind = rows.attempts_of(connection, study.uuid, in_optuna=False)
    results = _results(connection, study)
    record = _read(connection, study_id)
    reached, busy = _reached(connection, study), living(connection)
    ranges = parameters.ranges(study.experiment)
    not_yet = {_key(attempt) for attempt in behind}
    ends = conclusion.concluded(list(results.values()), study.experiment)
    different, unconcluded = [], set()
    for attempt in attempts:
        result = results.get(attempt.slot) if attempt.state == State.ENDED else None
        if attempt.state == State.ENDED and (result is None or result.attempt != attempt.number):
            continue
        trial = record.trials.get(attempt.trial_id or -1)
        if _key(attempt) in not_yet or _is_being_told(attempt, trial, busy):
            continue
        wanted = parameters.numbers(study.experiment, ranges, attempt.slot.cell)
        end = ends.get(attempt.slot) if result else None
        what = _difference(attempt, result, trial, record, wanted, reached, end)
        if not what and trial is not None and end not in (None, (trial.state, trial.value)):
            unconcluded.add(trial.trial_id)
        if what:
            different.append(Difference(attempt, None if what == "absence" else trial, what))
    known = {attempt.trial_id for attempt in attempts}
    foreign = [
        trial
        for trial in record.trials.values()
        if trial.trial_id not in known
        and not record.attributes.get(trial.trial_id, {}).keys() & {"attempt", SURPLUS, TOLD}
    ]
    own = [r.value for r in results.values() if r.outcome == Outcome.COMPLETE]
    means = [value for state, value in ends.values() if state == "COMPLETE"]
    return Comparison(
        len(record.trials),
        tuple(behind),
        tuple(different),
        tuple(sorted(foreign, key=lambda trial: trial.number)),
        max((value for value in means or own if value is not None), default=None),
        0 if behind else len(unconcluded),
    )


def _difference(
    attempt: Attempt,
    result: Result | None,
    trial: Shown | None,
    record: "_Record",
    parameters: dict[str, float],
    reached: Mapping[Slot, Mapping[int, float]],
    end: Said | None,
) -> str:
    """Return in a word what differs first; nothing if all is as it should be.

    Args:
        end: What the trial says once the study is finished; its own value is accepted too.
    """
    if trial is None:
        return "absence"
    attributes = record.attributes.get(trial.trial_id, {})
    has_parameters = record.parameters.get(trial.trial_id, {}) == parameters
    if not has_parameters and not _is_said(attempt, None, attributes):
        return "absence"  # Optuna uses the ids of deleted trials again
    state, value = expected(attempt, result)
    shown = trial.state, trial.value
    if state == "COMPLETE" and shown in (end, conclusion.mark(attributes.get(MARK))):
        state, value = shown
    if trial.state != state:
        return "state"
    if trial.state in optunas.FINISHED and trial.value != value:
        return "value"
    if not has_parameters:
        return "parameters"
    if not _is_said(attempt, result, attributes):
        return "attributes"
    steps = record.steps.get(trial.trial_id, {})
    if result is not None and result.n_updates and steps != _ours(result, reached):
        return "intermediate values"
    return ""


def living(connection: Connection) -> set[str]:
    """Return the ids of the workers that are alive."""
    return {worker.id for worker in fleet.living(connection) if worker.is_alive}


def is_in_work(connection: Connection, study: StoredStudy, attempts: Sequence[Attempt]) -> bool:
    """Tell whether somebody alive trains or plans a study, and will show what is behind."""
    if leases.is_held(connection, f"plan {study.uuid}"):
        return True
    alive = living(connection)
    return any(attempt.worker and attempt.worker.get("id") in alive for attempt in attempts)


def _key(attempt: Attempt) -> tuple[Slot, int]:
    return attempt.slot, attempt.number


def _is_being_told(attempt: Attempt, trial: Shown | None, busy: set[str]) -> bool:
    """Tell whether an objective of the user's own has ended, and Optuna is about to be told."""
    worker = attempt.worker or {}
    is_own = worker.get("objective") == OWN and worker.get("id") in busy
    return is_own and trial is not None and trial.state == "RUNNING"


def _is_said(attempt: Attempt, result: Result | None, said: Mapping[str, str]) -> bool:
    """Tell whether a trial's attributes are those of an attempt, and of its result."""
    wanted: dict[str, Any] = dict(trials.identity(attempt))
    if result is not None:
        wanted |= {"outcome": result.outcome, "updates": result.n_updates}
    return all(said.get(key) == json.dumps(value) for key, value in wanted.items())


@dataclass(frozen=True)
class _Record:
    """What Optuna's tables have about a study's trials, by trial id."""

    trials: dict[int, Shown]
    attributes: dict[int, dict[str, str]]  #: in JSON; those that are ours
    parameters: dict[int, dict[str, float]]
    steps: dict[int, dict[int, float | None]]


def _read(connection: Connection, study_id: int) -> _Record:
    def of_study(table: sa.Table, *conditions: sa.ColumnElement[bool]) -> Sequence[Row[Any]]:
        is_of_trial = optunas.trials.c.trial_id == table.c.trial_id
        query = table.select().join(optunas.trials, is_of_trial)
        return connection.execute(
            query.where(optunas.trials.c.study_id == study_id, *conditions)
        ).all()

    query = optunas.trials.select().where(optunas.trials.c.study_id == study_id)
    values = {row.trial_id: optunas.number(row) for row in of_study(optunas.values)}
    shown = {
        row.trial_id: Shown(row.trial_id, row.number, row.state, values.get(row.trial_id))
        for row in connection.execute(query)
    }
    record = _Record(shown, {}, {}, {})
    for row in of_study(optunas.attributes, optunas.attributes.c.key.in_(ATTRIBUTES)):
        _, trial_id, key, told = list(row)
        record.attributes.setdefault(trial_id, {})[key] = told
    for row in of_study(optunas.params):
        record.parameters.setdefault(row.trial_id, {})[row.param_name] = row.param_value
    for row in of_study(optunas.steps):
        value = optunas.number(row, "intermediate_value")
        record.steps.setdefault(row.trial_id, {})[row.step] = value
    return record


def _results(connection: Connection, study: StoredStudy) -> dict[Slot, Result]:
    """Return the results as they stand, with any text for an outcome.

    Whether they are sound is looked at elsewhere.
    """
    names = ("attempt", "outcome", "value", "cycles", "n_updates")
    query = tables.results.select().where(tables.results.c.study == study.uuid)
    return {
        Slot(row.cell, row.replicate): Result(
            Slot(row.cell, row.replicate), *(getattr(row, name) for name in names)
        )
        for row in connection.execute(query)
    }


def _reached(connection: Connection, study: StoredStudy) -> dict[Slot, dict[int, float]]:
    """Return our accuracies at the ends of cycles, by slot and cycle."""
    by_length: dict[int, list[int]] = {}
    for cell in range(len(study.experiment.cells)):
        by_length.setdefault(2 * study.experiment.recipe(cell).n_s, []).append(cell)
    points: Any = tables.curves
    found: dict[Slot, dict[int, float]] = {}
    for length, cells in by_length.items():
        query = sa.select(
            points.c.cell, points.c.replicate, points.c.n_updates, points.c.validation_accuracy
        ).where(
            points.c.study == study.uuid,
            points.c.n_updates % length == 0,
            points.c.validation_accuracy.is_not(None),
        )
        if len(by_length) > 1:
            query = query.where(points.c.cell.in_(cells))
        for row in connection.execute(query):
            at_ends = found.setdefault(Slot(row.cell, row.replicate), {})
            at_ends[row.n_updates // length] = row.validation_accuracy
    return found


def _ours(result: Result, reached: Mapping[Slot, Mapping[int, float]]) -> dict[int, float]:
    """Return the intermediate values that the trial of a result has."""
    known = reached.get(result.slot, {})
    return {cycle: value for cycle, value in known.items() if cycle <= result.cycles}
