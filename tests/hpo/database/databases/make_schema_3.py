"""Made schema-3.db with hpo as of commit 1fbdd49, the last one whose schema was 3.

Usage: check that commit out, then: python make_schema_3.py schema-3.db

The study old-digits has 6 cells on digits: three are counted, one is held by a process that is
gone (SIGKILL in its second cycle), and two are waiting.
"""

import multiprocessing
import os
import sqlite3
import sys

from hpo.fleet import Membership
from hpo.grids import Values
from hpo.plan import plan
from hpo.storage import Storage
from hpo.study import create
from hpo.tables import Slot
from hpo.trainer import Trainer
from hpo.worker import claim, work

from hpo import running
from hpo.definition import StudyDefinition
from model.data import digits

OLD = StudyDefinition(
    name="old", grid=Values((1e-5, 1e-4, 1e-3, 1e-2, 0.05, 0.1)), n_s=20, n_cycles=2, batch_size=50
)


class Watcher:
    """Says nothing; in the second stack, dies in the second cycle."""

    def __init__(self):
        self.n_claimed = 0

    def began(self, title, experiment, n_missing): ...

    def claimed(self, slots, n_updates):
        self.n_claimed += 1

    def advanced(self, slot: Slot, n_updates, accuracy):
        if self.n_claimed == 2 and n_updates > 50:
            os.kill(os.getpid(), 9)

    def ended(self, slot, outcome, value): ...

    def warn(self, text): ...


def make(url: str) -> None:
    storage = Storage(url)
    name, _, experiment = running.prepare(OLD, digits(), storage)
    study = create(storage, name, experiment)
    plan(storage, study)
    trainer = Trainer(study.experiment, digits())
    watcher = Watcher()
    original = claim

    def narrow(storage, study, width, identity):
        return original(storage, study, 3 if watcher.n_claimed == 0 else 1, identity)

    import hpo.worker

    hpo.worker.claim = narrow
    with Membership(storage) as member:
        work(storage, study, trainer, watcher, lambda: False, member.identity)


if __name__ == "__main__":
    path = sys.argv[1]
    process = multiprocessing.get_context("spawn").Process(target=make, args=(f"sqlite:///{path}",))
    process.start()
    process.join()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=DELETE")  # one file
    connection.close()
