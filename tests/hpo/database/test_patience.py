"""Somebody holds what Optuna wants to write, for longer than one of its transactions waits by itself."""

import threading

import optuna
import pytest
import sqlalchemy as sa

from hpo.commands import running
from hpo.commands.request import Order
from hpo.database import outcomes
from hpo.database.sqlite_file import LOCK_WAIT
from hpo.database.storage import Storage
from hpo.workers.grid_sampler import GridSampler
from model.data import digits
from tests.hpo.small_grid import LAMBDAS, SMALL

HELD_FOR = 5 * LOCK_WAIT  #: seconds


def held_for_a_while(storage: Storage, trial_id: int) -> threading.Thread:
    """Let another connection write to a trial, and commit later."""
    text = sa.text("update trials set number = number where trial_id = :id")
    connection = storage.engine.connect()
    transaction = storage.retried(connection.begin)  # a heartbeat may have the lock just now
    connection.execute(text, {"id": trial_id})

    def leave() -> None:
        transaction.rollback()
        connection.close()

    holder = threading.Timer(HELD_FOR, leave)
    holder.start()
    return holder


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_walk_over_the_cells_goes_on_once_the_lock_is_free(
    database: str, storage: Storage, request: pytest.FixtureRequest
) -> None:
    if database == "postgresql":
        storage = Storage(request.getfixturevalue("postgresql_url"))
    study, _ = running.submit(Order(SMALL, digits()), storage)
    holders: list[threading.Thread] = []

    def objective(trial: optuna.Trial) -> float:
        value = trial.suggest_float("lambda", min(LAMBDAS), max(LAMBDAS), log=True)
        holders.append(held_for_a_while(storage, trial._trial_id))
        return value

    GridSampler.of(study.stored.name, storage=storage.url).load_study().optimize(objective)
    for holder in holders:
        holder.join()

    results = storage.write(lambda connection: outcomes.results_of(connection, study.uuid))
    assert [result.value for result in results] == list(LAMBDAS)
    storage.close()
