"""A small grid of four cells, on the digits and in this process."""

from collections.abc import Callable

import optuna

from hpo.commands import running
from hpo.commands.request import Order
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.definition.study import StudyDefinition
from hpo.experiment.records import Slot
from hpo.mirror import study
from hpo.mirror.study import OpenStudy
from hpo.testing import Recorder
from model.data import digits

LAMBDAS = (1e-4, 1e-3, 1e-2, 1e-1)
SMALL = StudyDefinition(name="small", grid=Values(LAMBDAS), n_s=20, n_cycles=2, batch_size=50)


class Once(Recorder):
    """Insists that no slot ends twice."""

    def ended(self, slot: Slot, outcome: str, value: float | None) -> None:
        assert slot not in self.results
        super().ended(slot, outcome, value)


RunGrid = Callable[..., running.Outcome]


def run(
    storage: Storage,
    definition: StudyDefinition = SMALL,
    watcher: Recorder | None = None,
    **options: str,
) -> running.Outcome:
    watcher = watcher or Once()
    return running.run(Order(definition, digits()), storage, watcher, watcher.stop, **options)


def trials(storage: Storage, name: str) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name=name, storage=storage.optuna).trials


def opened(storage: Storage, name: str = "small-digits") -> OpenStudy:
    found = study.find(storage, name)
    assert found is not None
    return found


def created(storage: Storage, definition: StudyDefinition = SMALL) -> OpenStudy:
    name, _, experiment = running.prepare(Order(definition, digits()), storage)
    return study.create(storage, name, experiment)
