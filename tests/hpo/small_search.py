"""A small search of a space, on the digits and in this process."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from hpo.commands import running
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.definition.ranges import Real, WholeEpochs
from hpo.definition.spaces import Space
from hpo.definition.study import StudyDefinition
from hpo.experiment.experiment import DataFacts, Experiment
from hpo.experiment.records import Slot
from hpo.mirror import study
from hpo.mirror.study import OpenStudy
from hpo.training.phases import Phases
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
JOINT = StudyDefinition(name="mine", space=SPACE, n_cycles=2, batch_size=100)
GRID = StudyDefinition(name="coarse", grid=Values((1e-3, 1e-2)), n_s=24, n_cycles=2, batch_size=100)
DATA = DataFacts(
    name="digits",
    fingerprint="a" * 64,
    n_training=1200,
    n_validation=300,
    d=64,
    n_classes=10,
    image_shape=(8, 8),
)


class Watcher:
    """Watches, and stops the training after so many log points."""

    def __init__(self, stop_after: float = math.inf) -> None:
        self.n_points = 0
        self.stop_after = stop_after
        self.stacks: list[list[int]] = []
        self.ended_slots: list[Slot] = []

    def stop(self) -> bool:
        return self.n_points >= self.stop_after

    def began(self, title: str, experiment: Experiment, n_updates: int) -> None: ...

    def grew(self, experiment: Experiment) -> None: ...

    def claimed(self, slots: Sequence[Slot], n_updates: int) -> None:
        self.stacks.append([slot.cell for slot in slots])

    def advanced(self, slot: Slot, n_updates: int, accuracy: float) -> None:
        self.n_points += 1

    def ended(self, slot: Slot, outcome: str, value: float | None) -> None:
        self.ended_slots.append(slot)

    def spent(self, phases: Phases) -> None: ...

    def warn(self, text: str) -> None:
        raise AssertionError(text)


RunSearch = Callable[..., running.Outcome]


def run(
    storage: Storage,
    definition: StudyDefinition = JOINT,
    watcher: Watcher | None = None,
    **options: str,
) -> running.Outcome:
    watcher = watcher or Watcher()
    return running.run(definition, digits(), storage, watcher, watcher.stop, **options)


def exported_search(storage: Storage, name: str = "mine-digits") -> str:
    def read(connection: object) -> str:
        stored = study.stored(connection, name)
        return to_json(connection, stored) + to_csv(connection, stored)

    return storage.write(read)


def opened_search(storage: Storage, name: str = "mine-digits") -> OpenStudy:
    found = study.find(storage, name)
    assert found is not None
    return found
