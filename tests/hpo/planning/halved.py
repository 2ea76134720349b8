"""A study that is cut by halves, run and read."""

import json
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from hpo.commands import running
from hpo.commands.request import Order
from hpo.data.source import Source
from hpo.database.storage import Storage
from hpo.definition.grids import Logarithmic
from hpo.definition.study import StudyDefinition
from hpo.mirror.study import OpenStudy
from hpo.views.export import to_json
from hpo.views.story import Story
from model.data import digits

#: Lambdas so far apart that no two cells tie where it is decided who goes on.
HALVED = StudyDefinition(
    name="halved", grid=Logarithmic(-2, 0, 10), n_s=10, n_cycles=3, batch_size=50, pruner="halving"
)
DIGITS = Source(spec="digits", name="digits")


def run(url: str, definition: StudyDefinition = HALVED, n_workers: int = 1) -> OpenStudy:
    storage = Storage(url)
    outcome = running.run(
        Order(definition, digits(), source=DIGITS),
        storage,
        Story(),
        lambda: False,
        n_workers=n_workers,
    )
    storage.close()
    assert outcome.n_missing == 0
    return outcome.study


def exported(url: str, study: OpenStudy) -> str:
    return read(url, lambda connection: to_json(connection, study.stored))


def read(url: str, action: Callable[[sa.Connection], Any]) -> Any:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        found = action(connection)
    engine.dispose()
    return found


def entries(url: str, study: OpenStudy) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(exported(url, study))["trials"]
    return found
