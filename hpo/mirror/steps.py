"""Intermediate values of Optuna's trials: the validation accuracies at the ends of cycles."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from hpo.database import optuna_tables as optunas
from hpo.database import outcomes
from hpo.experiment.records import Slot
from hpo.mirror.study import OpenStudy


@dataclass(frozen=True)
class Cycles:
    """The cycles of a slot whose ends a trial shall show."""

    slot: Slot
    last: int | None = None  #: None: as many as there are


def add(connection: Connection, study: OpenStudy, wanted: Mapping[int, Cycles]) -> None:
    """Show the ends of cycles by trial; what others reported in our place goes."""
    ours = _reached(connection, study, wanted)
    if not ours:
        return
    there = _there(connection, ours)
    new = {key: accuracy for key, accuracy in ours.items() if there.get(key) != accuracy}
    others = [{"t": trial_id, "s": step} for trial_id, step in new if (trial_id, step) in there]
    steps = optunas.steps
    if others:
        this = sa.and_(steps.c.trial_id == sa.bindparam("t"), steps.c.step == sa.bindparam("s"))
        connection.execute(steps.delete().where(this), others)
    rows = [
        {
            "trial_id": trial_id,
            "step": step,
            "intermediate_value": new[trial_id, step],
            "intermediate_value_type": optunas.FINITE,
        }
        for trial_id, step in sorted(new)
    ]
    if rows:
        connection.execute(steps.insert(), rows)


def _reached(
    connection: Connection, study: OpenStudy, wanted: Mapping[int, Cycles]
) -> dict[tuple[int, int], float]:
    """Return our accuracies by trial and cycle."""
    if not wanted:
        return {}
    lengths = {c.slot: 2 * study.experiment.recipe(c.slot.cell).n_s for c in wanted.values()}
    ends = [None if c.last is None else c.last * lengths[c.slot] for c in wanted.values()]
    points = outcomes.accuracies_at(
        connection,
        study.uuid,
        lengths,
        every=math.gcd(*lengths.values()),
        first=min(lengths.values()),
        last=None if None in ends else max(end for end in ends if end is not None),
    )
    found = {}
    for trial_id, cycles in wanted.items():
        for n_updates, accuracy in points.get(cycles.slot, {}).items():
            cycle, rest = divmod(n_updates, lengths[cycles.slot])
            is_late = cycles.last is not None and cycle > cycles.last
            if not rest and not is_late:
                found[trial_id, cycle] = accuracy
    return found


def _there(
    connection: Connection, ours: Mapping[tuple[int, int], float]
) -> dict[tuple[int, int], float | None]:
    """Return what the trials have at the steps between our first and our last one."""
    shown = [step for _, step in ours]
    steps: Any = optunas.steps
    query = steps.select().where(
        steps.c.trial_id.in_({trial_id for trial_id, _ in ours}),
        steps.c.step.between(min(shown), max(shown)),
    )
    return {
        (row.trial_id, row.step): optunas.number(row, "intermediate_value")
        for row in connection.execute(query)
    }
