"""Workers that are not heard any more, as the database has them."""

import json
from typing import Any

import pytest

from hpo.database import fleet, rows, tables
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.definition.study import StudyDefinition
from hpo.machine.process import this_worker
from hpo.mirror.study import OpenStudy
from hpo.workers.claims import claim

SQLITE = pytest.mark.parametrize("url", ["sqlite"], indirect=True)  # what no database decides


FOUR = StudyDefinition(
    name="four", grid=Values((1e-4, 1e-3, 1e-2, 1e-1)), n_s=10, n_cycles=2, batch_size=100
)
YEAR = 365 * 86400.0


#: What one process may know of another: everything equal, as on a cloned machine, but for its id.
TWIN = this_worker() | {"pid": 2**22 + 7}
ELSEWHERE = TWIN | {"boot": "of another machine", "host": "far-away"}
OF_OLD = {  # as schema 3 had it
    "host": "vm",
    "boot": "166eea19",
    "pid_namespace": "pid:[4026531836]",
    "pid": 2224,
    "started": 1795716194.6,
}


def put(
    storage: Storage,
    study: OpenStudy,
    identity: dict[str, Any],
    silent_for: float,
    grace: float = 60.0,
    n_held: int = 2,
) -> None:
    """Let a worker be in the database that was last heard so long ago and holds some cells."""
    who = identity | {"id": f"worker {identity['pid']}"}

    def insert(connection: Any) -> None:
        beat = rows.now(connection) - silent_for
        values = {"id": who["id"], "identity": json.dumps(who), "started_at": beat}
        values |= {"heartbeat_at": beat, "grace": grace}
        connection.execute(tables.workers.insert().values(values))

    storage.write(insert)
    if n_held:
        claim(study, n_held, who)


def states(storage: Storage, study: OpenStudy) -> list[tuple[str, str | None]]:
    found = storage.write(lambda c: rows.attempts_of(c, study.uuid))
    return [(attempt.state, attempt.reason) for attempt in found]


def patience() -> float:
    return fleet.patience_of(fleet.GRACE)
