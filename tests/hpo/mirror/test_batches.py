"""Optuna is shown many trials in as many statements as one, whatever became of them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from hpo.commands import running
from hpo.commands.request import Order
from hpo.database import optuna_tables as optunas
from hpo.database import outcomes, rows, tables
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.definition.study import StudyDefinition
from hpo.experiment.records import Attempt, Outcome, Point, State
from hpo.mirror import moves, states
from hpo.mirror.agreement import compare
from hpo.mirror.moves import Move
from hpo.mirror.states import TOLD
from hpo.mirror.study import OpenStudy
from hpo.planning.plan import plan
from model.data import digits

Statements = Callable[..., Any]
LENGTH = 10  #: updates in a cycle
ACCURACY = 0.1 + 0.2


@pytest.fixture
def storage(url: str) -> Iterator[Storage]:
    opened = Storage(url)
    yield opened
    opened.close()


def submitted(storage: Storage, n_cells: int) -> tuple[OpenStudy, list[Attempt]]:
    grid = Values(tuple(float(x) for x in np.geomspace(1e-5, 1e-1, n_cells)))
    definition = StudyDefinition(name="cells", grid=grid, n_s=LENGTH // 2, n_cycles=2)
    study, _ = running.submit(Order(definition, digits(), name=f"cells-{n_cells}"), storage)
    return study, storage.read(lambda c: rows.attempts_of(c, study.uuid))


def end(
    storage: Storage, study: OpenStudy, attempts: Sequence[Attempt], outcome: str = "complete"
) -> None:
    """Give attempts a result, which Optuna does not show yet."""

    def action(connection: Connection) -> None:
        for attempt in attempts:
            measured = (1.0, 1.0, 0.5, 1.0, 1.0, ACCURACY)
            points = [Point(n_updates, measured) for n_updates in range(5, 2 * LENGTH + 1, 5)]
            outcomes.append_curves(connection, study.uuid, {attempt.slot: points})
            value = None if outcome == Outcome.DIVERGED else ACCURACY
            result = outcomes.Counted(attempt, outcome, value, cycles=2, n_updates=2 * LENGTH)
            outcomes.count(connection, study.uuid, [result])
            rows.update_attempt(connection, study.uuid, attempt, state=State.ENDED, in_optuna=False)

    storage.write(action)


def fail(storage: Storage, study: OpenStudy, attempts: Sequence[Attempt]) -> None:
    values = {"state": State.FAILED, "reason": "it burned", "in_optuna": False}
    for attempt in attempts:
        storage.write(lambda c, a=attempt: rows.update_attempt(c, study.uuid, a, **values))


def tell(storage: Storage, attempts: Sequence[Attempt]) -> None:
    """Complete trials as others do, with a better value than ours."""
    table = optunas.trials

    def action(connection: Connection) -> None:
        for attempt in attempts:
            this = table.c.trial_id == attempt.trial_id
            connection.execute(table.update().where(this).values(state="COMPLETE"))
            value = {"trial_id": attempt.trial_id, "objective": 0, "value": 0.9}
            connection.execute(optunas.values.insert().values(value_type="FINITE", **value))

    storage.write(action)


def delete(storage: Storage, attempts: Sequence[Attempt]) -> None:
    """Delete trials as others do."""
    gone = [attempt.trial_id for attempt in attempts]
    for table in (*optunas.OF_TRIAL, optunas.trials):
        theirs = table.delete().where(table.c.trial_id.in_(gone))
        storage.write(lambda c, theirs=theirs: c.execute(theirs))


def shown(storage: Storage, attempt: Attempt) -> tuple[str, float | None, dict[int, float]]:
    """Return state, value and intermediate values of the trial that an attempt had."""

    def look(connection: Connection) -> tuple[str, float | None, dict[int, float]]:
        def of(table: sa.Table) -> sa.Select[Any]:
            return table.select().where(table.c.trial_id == attempt.trial_id)

        value = connection.execute(of(optunas.values)).one_or_none()
        steps = connection.execute(of(optunas.steps)).all()
        return (
            connection.execute(of(optunas.trials)).one().state,
            value and optunas.number(value),
            {row.step: row.intermediate_value for row in steps},
        )

    return storage.read(look)


def attributes(storage: Storage, attempt: Attempt) -> Any:
    """Return the attributes of that trial, in JSON."""
    table = optunas.attributes
    query = table.select().where(table.c.trial_id == attempt.trial_id)
    found = storage.read(lambda c: c.execute(query).all())
    return {row.key: row.value_json for row in found}.items()


def agrees(connection: Connection, study: OpenStudy) -> bool:
    """Tell whether Optuna shows every state, value, attribute and cycle end as it is."""
    found = compare(connection, study.stored, study.study_id)
    return not found.different and not found.behind


def test_ended_trials_are_shown_in_as_many_statements_as_one(
    storage: Storage, statements: Statements
) -> None:
    counted = []
    for n_cells in (1, 16, 60):
        study, attempts = submitted(storage, n_cells)
        end(storage, study, attempts)
        with statements(storage.engine) as found:
            states.show(study, attempts)
        counted.append(len(found))

        assert storage.read(lambda c, s=study: agrees(c, s))
    assert len(set(counted)) == 1
    assert counted[0] < 20


def test_every_way_to_end_is_shown_in_as_many_statements_for_ten_trials_as_for_one(
    storage: Storage, statements: Statements
) -> None:
    counted = []
    for n_each in (1, 10):
        study, attempts = submitted(storage, 6 * n_each)
        complete, pruned, diverged, failed, told, deleted = (
            attempts[start::6] for start in range(6)
        )
        end(storage, study, [*complete, *told, *deleted])
        end(storage, study, pruned, Outcome.PRUNED)
        end(storage, study, diverged, Outcome.DIVERGED)
        fail(storage, study, failed)
        tell(storage, told)
        delete(storage, deleted)
        with statements(storage.engine) as found:
            states.show(study, attempts)
        counted.append(len(found))

        assert [shown(storage, group[-1]) for group in (complete, pruned, diverged, failed)] == [
            ("COMPLETE", ACCURACY, {1: ACCURACY, 2: ACCURACY}),
            ("PRUNED", ACCURACY, {1: ACCURACY, 2: ACCURACY}),
            ("FAIL", None, {1: ACCURACY, 2: ACCURACY}),
            ("FAIL", None, {}),
        ]
        assert attributes(storage, failed[-1]) >= {"reason": '"it burned"'}.items()
        assert shown(storage, told[-1]) == ("FAIL", None, {})
        assert attributes(storage, told[-1]) >= {TOLD: '"COMPLETE with 0.9"'}.items()
        lost = storage.read(lambda c, s=study: rows.attempts_of(c, s.uuid, without_trial=True))
        assert {a.slot for a in lost} == {a.slot for a in [*told, *deleted]}

        plan(study)  # which gives them others
        assert storage.read(lambda c, s=study: agrees(c, s))
    assert counted[0] == counted[1]


@pytest.mark.parametrize("others", ["untouched", "told", "deleted"])
def test_the_trials_of_a_stack_move_in_as_many_statements_as_one(
    storage: Storage, statements: Statements, others: str
) -> None:
    counted = []
    for n_cells in (2, 16):
        study, attempts = submitted(storage, n_cells)
        end(storage, study, attempts)
        ended = storage.read(lambda c, s=study: rows.attempts_of(c, s.uuid))
        if others != "untouched":
            {"told": tell, "deleted": delete}[others](storage, attempts[1::2])
        said = {"outcome": "complete", "updates": 2 * LENGTH, "environment": {}}
        both = [Move(a, "COMPLETE", ACCURACY, said, {1: ACCURACY, 2: ACCURACY}) for a in ended]
        with statements(storage.engine) as found:
            storage.write(lambda c, s=study, m=both: moves.show(c, s, m))
        counted.append(len(found))

        assert shown(storage, ended[0]) == ("COMPLETE", ACCURACY, {1: ACCURACY, 2: ACCURACY})
        plan(study)  # which gives those of the others new ones
        assert storage.read(lambda c, s=study: agrees(c, s))
    assert counted[0] == counted[1]
    if others == "untouched":
        assert counted[0] <= 8 + 2 * (storage.engine.dialect.name == "postgresql")


def test_trials_are_made_in_as_many_statements_as_one(
    storage: Storage, statements: Statements
) -> None:
    counted = []
    for n_cells in (1, 50):
        study, attempts = submitted(storage, n_cells)
        mine = tables.attempts.update().where(tables.attempts.c.study == study.uuid)
        storage.write(lambda c, mine=mine: c.execute(mine.values(trial_id=None, in_optuna=False)))
        delete(storage, attempts)
        with statements(storage.engine) as found:
            plan(study)
        counted.append(len(found))

        assert [a.slot for a in attempts] == [
            a.slot
            for a in storage.read(lambda c, s=study: rows.attempts_of(c, s.uuid, in_optuna=True))
        ]
        assert storage.read(lambda c, s=study: agrees(c, s))
    assert counted[0] == counted[1]
