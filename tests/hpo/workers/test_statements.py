"""What a worker asks of the database: as little as can be, and no more in a large study."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from hpo.commands import running
from hpo.commands.request import Order
from hpo.database import rows, tables
from hpo.database.connections import Connection
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.definition.study import StudyDefinition
from hpo.mirror import study as studies
from hpo.mirror.study import OpenStudy
from hpo.testing import Recorder
from hpo.training.trainer import Trainer
from hpo.workers.membership import Membership
from hpo.workers.worker import work
from model.data import digits

WIDTH = 16


@pytest.fixture
def storage(url: str) -> Iterator[Storage]:
    with Storage(url) as opened:
        yield opened


def grid_of(n_cells: int, **fields: Any) -> StudyDefinition:
    values = Values(tuple(float(x) for x in np.geomspace(1e-6, 1e-1, n_cells)))
    return StudyDefinition(name=f"of-{n_cells}", grid=values, n_s=4, n_cycles=2, **fields)


@contextmanager
def asked(engine: sa.Engine) -> Iterator[list[tuple[str, Any]]]:
    """Collect every statement with its parameters; of many executed at once each one counts."""
    found: list[tuple[str, Any]] = []

    def hear(*told: Any) -> None:
        _, _, statement, parameters, _, are_many = told
        is_list = are_many and isinstance(parameters, list)  # else one statement with all of them
        at_home = statement.startswith("INSERT") and engine.name == "sqlite"
        found.extend(
            (statement, p) for p in (parameters if is_list and not at_home else [parameters])
        )

    sa.event.listen(engine, "before_cursor_execute", hear)
    yield found
    sa.event.remove(engine, "before_cursor_execute", hear)


def worked(study: OpenStudy, stop: Callable[[], bool] = lambda: False) -> list[tuple[str, Any]]:
    """Let a worker that is there already work for a study; return what it asked."""
    trainer = Trainer(study.experiment, digits())
    with Membership(study.storage) as member, asked(study.storage.engine) as found:
        work(study, trainer, Recorder(), stop, member)
        return list(found)


@pytest.mark.parametrize("pruner", ["none", "halving"])
def test_a_result_takes_four_statements_at_most(storage: Storage, pruner: str) -> None:
    n_cells = 4 * WIDTH
    study, _ = running.submit(Order(grid_of(n_cells, pruner=pruner), digits()), storage)
    found = worked(study)
    assert studies.present(study).experiment.n_slots == n_cells
    assert len(found) <= 4 * n_cells


def test_a_larger_study_asks_no_more_for_a_stack(storage: Storage) -> None:
    counted = []
    for n_cells in (WIDTH, 20 * WIDTH):
        study, _ = running.submit(Order(grid_of(n_cells, pruner="none"), digits()), storage)
        mine = tables.attempts.c
        others = tables.attempts.update().where(mine.study == study.uuid, mine.cell >= WIDTH)
        storage.write(lambda c, others=others: c.execute(others.values(state="ended")))
        counted.append(len(worked(study)))
    assert counted[0] == counted[1]


# --- plans

N_CELLS, N_REPLICATES = 10_000, 10


@pytest.mark.long
def test_nothing_that_a_worker_asks_walks_through_a_table(storage: Storage) -> None:
    study = huge(storage)
    told = Recorder()
    found = worked(study, lambda: len(told.results) >= 2 * WIDTH or bool(told.warnings))
    assert len(found) > 20
    walked = {text: how for text, values in found if (how := walk(storage, text, values))}
    assert walked == {}


def huge(storage: Storage) -> OpenStudy:
    """A study of 100,000 attempts, of which some wait and all others have ended long ago."""
    definition = grid_of(N_CELLS, pruner="none", replicates=N_REPLICATES)
    _, _, experiment = running.prepare(Order(definition, digits()), storage)
    study = studies.create(storage, "huge", experiment)
    last = N_CELLS - 2 * WIDTH

    def fill(connection: Connection) -> None:
        for replicate in range(N_REPLICATES):
            rows.add_attempts(
                connection,
                [
                    {
                        "study": study.uuid,
                        "cell": cell,
                        "replicate": replicate,
                        "attempt": 0,
                        "state": "waiting" if replicate == 0 and cell >= last else "ended",
                        "in_optuna": True,
                        "worker": json.dumps({}),
                    }
                    for cell in range(N_CELLS)
                ],
            )

    storage.write(fill)
    point = {"study": study.uuid, "replicate": 0} | dict.fromkeys(tables.CURVE_COLUMNS, 0.5)
    points = [point | {"cell": c, "n_updates": 8 * n} for c in range(last) for n in (1, 2)]
    storage.write(lambda c: c.execute(tables.curves.insert(), points))
    storage.write(lambda c: c.execute(sa.text("ANALYZE")))
    return study


def walk(storage: Storage, text: str, values: Any) -> str:
    """Return how a statement walks through all rows of a table of ours; nothing if it does not."""
    if not text.startswith(("SELECT", "UPDATE", "DELETE")):
        return ""
    is_sqlite = storage.engine.dialect.name == "sqlite"
    explain = "EXPLAIN QUERY PLAN " if is_sqlite else "EXPLAIN "
    large = "hpo_(attempts|results|curves|checkpoints|rung_bits)|trial"
    with storage.engine.connect() as connection:
        cursor = connection.connection.cursor()
        if (
            not is_sqlite
        ):  # tables that are small as yet are walked through although there is an index
            cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(explain + text, values)
        told = "\n".join(str(row[-1]) for row in cursor.fetchall())
        connection.rollback()
    pattern = rf"SCAN ({large})\w*(?! USING)" if is_sqlite else rf"Seq Scan on ({large})"
    return told if re.search(pattern, told) else ""


def test_a_plan_is_found_out(storage: Storage) -> None:
    running.submit(Order(grid_of(WIDTH), digits()), storage)
    assert walk(storage, "SELECT * FROM hpo_attempts WHERE reason = 'x'", ())
    assert not walk(storage, "SELECT * FROM hpo_meta", ())
