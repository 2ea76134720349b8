"""A small search of a space, on the digits and in this process."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hpo.commands import running
from hpo.commands.request import Order
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.definition.ranges import Real, WholeEpochs
from hpo.definition.spaces import Space
from hpo.definition.study import StudyDefinition
from hpo.mirror import study
from hpo.mirror.study import OpenStudy
from hpo.testing import Recorder, digits_facts
from hpo.views.export import to_csv, to_json
from model.data import digits

SPACE = Space(
    lambda_=Real(1e-4, 1e-1, logarithmic=True),
    eta_max=Real(0.05, 0.3),
    n_s=WholeEpochs(1, 3),
    normalisation=("image", "feature"),
    flip_probability=(0.0, 0.5),
    budget=3000,
    width=4,
    finalists=3,
)
QUICK = replace(SPACE, sampler="random")
JOINT = StudyDefinition(name="mine", space=SPACE, n_cycles=2, batch_size=100, pruner="none")
#: The same, in which of each generation one in two goes on after each of three cycles.
HALVED = replace(JOINT, n_cycles=3, pruner="halving", space=replace(SPACE, budget=6000, width=8))
GRID = StudyDefinition(name="coarse", grid=Values((1e-3, 1e-2)), n_s=24, n_cycles=2, batch_size=100)
DATA = digits_facts()


class Watcher(Recorder):
    """Bears no warning."""

    def warn(self, text: str) -> None:
        raise AssertionError(text)


RunSearch = Callable[..., running.Outcome]


def run(
    storage: Storage,
    definition: StudyDefinition = JOINT,
    watcher: Watcher | None = None,
    **options: Any,
) -> running.Outcome:
    watcher = watcher or Watcher()
    order = Order(definition, digits(), **options)
    return running.run(order, storage, watcher, watcher.stop)


def exported_search(storage: Storage, name: str = "mine-digits") -> str:
    def read(connection: object) -> str:
        stored = study.stored(connection, name)
        return to_json(connection, stored) + to_csv(connection, stored)

    return storage.write(read)


def opened_search(storage: Storage, name: str = "mine-digits") -> OpenStudy:
    found = study.find(storage, name)
    assert found is not None
    return found
