"""What Optuna's tables say of a finished study with several replicates: the means of its cells.

Optuna's best trial is a network, our winner a cell. So once every slot has its result and all trials
are shown, the complete trials of a cell get its mean, and those of a cell that takes no part (pruned
or diverged in another replicate, no finalist) are pruned, as `hpo.mirror.dashboard_storage` shows
them. Each carries in the attribute `MARK` what was made of it. A study that grows gets the networks'
own values again before the next training, because Optuna's pruners read them. All of it is a pure
function of our results, so it may be done by anybody at any time, and as often as one likes.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from hpo.database import batches, decisions, outcomes, rows, tables, tally
from hpo.database import optuna_tables as optunas
from hpo.errors import is_of_one_study
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Outcome, Result, Slot, State
from hpo.judging import ranking

MARK = "concluded"  #: attribute of a trial: the state and value that a finished study gave it

Said = tuple[str, float | None]  #: a trial's state and value


def has_means(experiment: Experiment) -> bool:
    """Tell whether the cells of an experiment have more than one network each."""
    return experiment.replicates > 1


def concluded(results: list[Result], experiment: Experiment) -> dict[Slot, Said]:
    """Return what the trial of every complete result says in the end; nothing before the end.

    The winner's value is above all others: cells with an equal mean are a last digit below it,
    since Optuna would take any of them.
    """
    is_over = experiment.search is None or experiment.search.is_over
    if not has_means(experiment) or not is_over or len(results) < experiment.n_slots:
        return {}
    means = ranking.cell_means(results, experiment)
    best = ranking.best_cell(results, experiment)
    shown = {
        cell: math.nextafter(mean, -math.inf) if cell != best and mean == means[best] else mean
        for cell, mean in means.items()
        if best is not None
    }
    found: dict[Slot, Said] = {}
    for result in results:
        if result.outcome == Outcome.COMPLETE and result.value is not None:
            mean = shown.get(result.slot.cell)
            found[result.slot] = ("PRUNED", result.value) if mean is None else ("COMPLETE", mean)
    return found


def marked(connection: Connection, study_id: int) -> dict[int, Said]:
    """Return what a finished study once made of its trials, by trial."""
    told, trials = optunas.attributes.c, optunas.trials.c
    query = sa.select(told.trial_id, told.value_json).where(
        told.key == MARK, told.trial_id == trials.trial_id, trials.study_id == study_id
    )
    read = {row.trial_id: mark(row.value_json) for row in connection.execute(query)}
    return {trial_id: said for trial_id, said in read.items() if said is not None}


def mark(text: str | None) -> Said | None:
    """Return what a mark says; None if it is none of ours."""
    if not text:
        return None
    try:
        state, value = json.loads(text)
    except (ValueError, TypeError):
        return None
    return state, value


def conclude(connection: Connection, uuid: str, study_id: int) -> None:
    """Let the trials of a study say the means, if it is finished and all of it is shown."""
    counts = tally.count_attempts(connection, uuid)
    if any(counts.get(state) for state in tables.LIVE) or not counts.get(State.ENDED):
        return
    if rows.attempts_of(connection, uuid, in_optuna=False, limit=1):
        return
    _write(connection, study_id, [change for change in _changes(connection, uuid) if change.end])


def settle(connection: Connection, uuid: str, study_id: int) -> None:
    """Conclude a study, or give one that goes on its networks' own values again; for planners."""
    decisions.lock(connection, uuid)
    conclude(connection, uuid, study_id)
    if not marked(connection, study_id):
        return
    changes = _changes(connection, uuid)
    if not any(change.end for change in changes):
        _write(connection, study_id, changes)


@dataclass(frozen=True)
class _Change:
    """A trial of a complete result, and what it says."""

    trial_id: int
    own: Said  #: what its network reached
    end: Said | None  #: what it says once the study is finished; None before


def _changes(connection: Connection, uuid: str) -> list[_Change]:
    """Return what the trials of complete results say; nothing of a study that cannot be read."""
    try:
        stored = rows.study_by_uuid(connection, uuid)
        results = outcomes.results_of(connection, uuid) if stored else []
    except Exception as error:
        if not is_of_one_study(error):
            raise
        return []
    if stored is None:
        return []
    ends = concluded(results, stored.experiment)
    complete = {r.slot: r for r in results if r.outcome == Outcome.COMPLETE}
    return [
        _Change(attempt.trial_id, ("COMPLETE", result.value), ends.get(attempt.slot))
        for attempt in rows.attempts_of(connection, uuid, states=[State.ENDED])
        if attempt.trial_id is not None
        and (result := complete.get(attempt.slot)) is not None
        and result.attempt == attempt.number
    ]


def _write(connection: Connection, study_id: int, changes: Sequence[_Change]) -> None:
    """Give trials their state and value where they are another.

    What others told stays: finding it, and setting it aside, is for `hpo.mirror.agreement`.
    """
    marks = marked(connection, study_id)
    for batch in batches.split(changes):
        present = _present(connection, study_id, [change.trial_id for change in batch])
        changed = []
        for change in batch:
            said, marked_as = present.get(change.trial_id), marks.get(change.trial_id)
            is_ours = said is not None and said in (change.own, change.end, marked_as)
            if is_ours and (said, marked_as) != (change.end or change.own, change.end):
                changed.append(change)
        if changed:
            _show(connection, changed)


def _show(connection: Connection, changes: Sequence[_Change]) -> None:
    told, values, trials = optunas.attributes, optunas.values, optunas.trials
    said = {change.trial_id: change.end or change.own for change in changes}
    new = [{"t": trial_id, "s": state, "v": value} for trial_id, (state, value) in said.items()]
    this: Any = sa.bindparam("t")
    of_trial = trials.update().where(trials.c.trial_id == this)
    connection.execute(of_trial.values(state=sa.bindparam("s")), new)
    of_value = values.update().where(values.c.trial_id == this)
    connection.execute(of_value.values(value=sa.bindparam("v")), new)
    gone = told.c.trial_id.in_(list(said)), told.c.key == MARK
    connection.execute(told.delete().where(*gone))
    marks = [
        {"trial_id": change.trial_id, "key": MARK, "value_json": json.dumps(change.end)}
        for change in changes
        if change.end
    ]
    if marks:
        connection.execute(told.insert(), marks)


def _present(connection: Connection, study_id: int, trial_ids: list[int]) -> dict[int, Said]:
    """Return what trials with a value say now, those excepted that others have failed."""
    trials, values = optunas.trials.c, optunas.values
    is_finished = trials.state.in_(("COMPLETE", "PRUNED"))
    query: Any = sa.select(trials.state, values).where(
        trials.trial_id.in_(trial_ids),
        trials.study_id == study_id,
        is_finished,
        values.c.trial_id == trials.trial_id,
    )
    return {row.trial_id: (row.state, optunas.number(row)) for row in connection.execute(query)}
