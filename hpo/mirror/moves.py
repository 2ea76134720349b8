"""The trials of a stack, moved together with their attempts: a statement a table, in one transaction.

This is the way of workers, whose trials nobody else has touched. What others made final, deleted or
copied does not move by it, and goes the longer way of `hpo.mirror.states`.
"""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from hpo.database import batches, tally
from hpo.database import optuna_tables as optunas
from hpo.experiment.records import Attempt, State
from hpo.mirror import conclusion, identity, states
from hpo.mirror.study import OpenStudy


@dataclass(frozen=True)
class Move:
    """An attempt as it is now, and what its trial shall say from now on."""

    attempt: Attempt
    state: str  #: one of Optuna's
    value: float | None = None
    said: Mapping[str, Any] = field(default_factory=dict)  #: attributes
    steps: Mapping[int, float] = field(default_factory=dict)  #: accuracies by cycle
    is_new: bool = True  #: whether it is another state than before


def show(connection: Connection, study: OpenStudy, moves: Sequence[Move]) -> None:
    """Let Optuna's trials say what attempts do; theirs is a transaction that changed those.

    The attempts are noted as shown. Of a study with several seeds whose last trial this was, the
    trials say the means.
    """
    by_trial = {m.attempt.trial_id: m for m in moves if m.attempt.trial_id is not None}
    groups: dict[tuple[str, float, bool], list[int]] = {}
    for trial_id, move in by_trial.items():
        key = (move.state, round(move.attempt.seconds, 1), move.is_new)
        groups.setdefault(key, []).append(trial_id)
    moved = [
        trial_id
        for (state, seconds, is_new), trial_ids in groups.items()
        for trial_id in _moved(connection, study.uuid, trial_ids, state, seconds, is_new)
    ]
    mine = {trial_id: by_trial[trial_id] for trial_id in moved}
    _add_steps(connection, mine)
    _add_attributes(connection, mine)
    _add_values(connection, mine)
    elsewhere = [m.attempt for m in moves if m.attempt.trial_id not in mine]
    if elsewhere:
        batches.update(connection, study.uuid, elsewhere, in_optuna=False)
        states.show_within(connection, study, elsewhere)
    has_ended = any(move.attempt.state == State.ENDED for move in moves)
    if has_ended and conclusion.has_means(study.experiment):
        conclude(connection, study)


def conclude(connection: Connection, study: OpenStudy) -> None:
    """Let the trials of a study with several seeds say the means, if nothing of it is left to do."""
    if not tally.any_left(connection, study.uuid):
        study_id = identity.shown_as(connection, study.uuid)
        if study_id is not None:
            conclusion.settle(connection, study.uuid, study_id)


def _moved(
    connection: Connection,
    uuid: str,
    trial_ids: Sequence[int],
    state: str,
    seconds: float,
    is_new: bool,
) -> list[int]:
    """Set the state of trials that are not final, in the study that is ours; return which those were."""
    moment = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    values: dict[str, Any] = {"state": state}
    if is_new and state != "WAITING":  # so a duration is the time trained, waits left out
        values["datetime_start"] = moment - datetime.timedelta(seconds=seconds)
    if state in optunas.FINISHED:
        values["datetime_complete"] = moment
    trials = optunas.trials
    condition = sa.and_(
        trials.c.trial_id.in_(trial_ids),
        trials.c.study_id == identity.recorded(uuid),
        trials.c.state.in_(("RUNNING", "WAITING")),
    )
    change = trials.update().where(condition).values(values).returning(trials.c.trial_id)
    return list(connection.execute(change).scalars())


def _add_steps(connection: Connection, moves: Mapping[int, Move]) -> None:
    rows = [
        {
            "trial_id": trial_id,
            "step": cycle,
            "intermediate_value": accuracy,
            "intermediate_value_type": optunas.FINITE,
        }
        for trial_id, move in moves.items()
        for cycle, accuracy in move.steps.items()
    ]
    batches.upsert(connection, optunas.steps, rows, ("trial_id", "step"))


def _add_attributes(connection: Connection, moves: Mapping[int, Move]) -> None:
    rows = [
        row
        for trial_id, move in moves.items()
        for row in states.attribute_rows(trial_id, dict(move.said))
    ]
    batches.upsert(connection, optunas.attributes, rows, ("trial_id", "key"))


def _add_values(connection: Connection, moves: Mapping[int, Move]) -> None:
    rows = [
        {"trial_id": t, "objective": 0, "value": move.value, "value_type": optunas.FINITE}
        for t, move in moves.items()
        if move.value is not None
    ]
    batches.upsert(connection, optunas.values, rows, ("trial_id", "objective"))
