"""A small grid of four cells, on the digits and in this process."""

import math
from collections.abc import Callable, Sequence

import optuna

from hpo.commands import running
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.definition.study import StudyDefinition
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Slot
from hpo.mirror import study
from hpo.mirror.study import OpenStudy
from hpo.training.phases import Phases
from hpo.views.export import to_json
from model.data import digits

LAMBDAS = (1e-4, 1e-3, 1e-2, 1e-1)
SMALL = StudyDefinition(name="small", grid=Values(LAMBDAS), n_s=20, n_cycles=2, batch_size=50)


class Silent:
    """Watches and says nothing; stops the training after so many log points."""

    def __init__(self, stop_after: float = math.inf) -> None:
        self.results: dict[Slot, float | None] = {}
        self.n_points = 0
        self.warnings: list[str] = []
        self.stop_after = stop_after

    def stop(self) -> bool:
        return self.n_points >= self.stop_after

    def began(self, title: str, experiment: Experiment, n_missing: int) -> None:
        pass

    def claimed(self, slots: Sequence[Slot], n_updates: int) -> None:
        pass

    def advanced(self, slot: Slot, n_updates: int, accuracy: float) -> None:
        self.n_points += 1

    def ended(self, slot: Slot, outcome: str, value: float | None) -> None:
        assert slot not in self.results
        self.results[slot] = value

    def spent(self, phases: Phases) -> None: ...

    def warn(self, text: str) -> None:
        self.warnings.append(text)


RunGrid = Callable[..., running.Outcome]


def run(
    storage: Storage,
    definition: StudyDefinition = SMALL,
    watcher: Silent | None = None,
    **options: str,
) -> running.Outcome:
    watcher = watcher or Silent()
    return running.run(definition, digits(), storage, watcher, watcher.stop, **options)


def trials(storage: Storage, name: str) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name=name, storage=storage.optuna).trials


def exported(storage: Storage, opened: OpenStudy) -> str:
    return storage.write(lambda connection: to_json(connection, opened.stored))


def opened(storage: Storage, name: str = "small-digits") -> OpenStudy:
    found = study.find(storage, name)
    assert found is not None
    return found


def created(storage: Storage, definition: StudyDefinition = SMALL) -> OpenStudy:
    name, _, experiment = running.prepare(definition, digits(), storage)
    return study.create(storage, name, experiment)
