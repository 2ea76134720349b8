"""Made schema-6.db with hpo as of commit 04d778f, the last one whose schema was 6.

Usage: check that commit out, then: python make_schema_6.py schema-6.db

The study old-digits has 6 cells on digits: three are counted, one is held by a process that is
gone (SIGKILL in its second cycle), and two are waiting.
"""

import multiprocessing
import os
import sqlite3
import sys

from hpo.commands import running
from hpo.commands.request import Order
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.definition.study import StudyDefinition
from hpo.experiment.records import Slot
from hpo.mirror.study import create
from hpo.planning.plan import plan
from hpo.training.progress import Silent
from hpo.training.trainer import Trainer
from hpo.workers import worker
from hpo.workers.membership import Membership
from model.data import digits

OLD = StudyDefinition(
    name="old", grid=Values((1e-5, 1e-4, 1e-3, 1e-2, 0.05, 0.1)), n_s=20, n_cycles=2, batch_size=50
)


class Watcher(Silent):
    """Says nothing; in the second stack, dies in the second cycle."""

    def __init__(self):
        self.n_claimed = 0

    def claimed(self, slots, n_updates):
        self.n_claimed += 1

    def advanced(self, slot: Slot, n_updates, accuracy):
        if self.n_claimed == 2 and n_updates > 50:
            os.kill(os.getpid(), 9)


def make(url: str) -> None:
    storage = Storage(url)
    name, _, experiment = running.prepare(Order(OLD, digits()), storage)
    study = create(storage, name, experiment)
    plan(study)
    watcher = Watcher()
    original = worker.claim

    def narrow(study, width, identity, n_workers=1):
        return original(study, 3 if watcher.n_claimed == 0 else 1, identity)

    worker.claim = narrow
    with Membership(storage) as member:
        worker.work(study, Trainer(experiment, digits()), watcher, lambda: False, member.identity)


if __name__ == "__main__":
    path = sys.argv[1]
    process = multiprocessing.get_context("spawn").Process(target=make, args=(f"sqlite:///{path}",))
    process.start()
    process.join()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=DELETE")  # one file
    connection.close()
