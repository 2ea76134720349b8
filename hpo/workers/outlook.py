"""What a worker learns before each claim: what the study is by now, and its fair share of it."""

import math
import time
from dataclasses import dataclass

from hpo.database import tally
from hpo.errors import StudyDeleted
from hpo.experiment.command import command
from hpo.experiment.records import StoredStudy
from hpo.mirror import study as studies
from hpo.mirror.study import OpenStudy
from hpo.training.progress import Progress
from hpo.training.trainer import Trainer
from hpo.workers.gauge import Gauge

LOOK_EVERY = 2.0  #: seconds between two looks whether another study should be served first
MOST_WORKERS, ROUNDS = 1024, 2  #: that a fair share is reckoned for; beyond, stacks are full


def called_off(study: StoredStudy) -> str:
    """Return that nobody trains a study, and what goes on with it."""
    return f"{study.name!r} was called off; `{command(study)}` goes on with it."


@dataclass(frozen=True)
class Turn:
    """What a worker does next."""

    study: OpenStudy  #: with what it has grown by
    width: int  #: slots to take
    n_workers: int  #: that may claim at the same time
    goes_on: bool = True  #: unless the study was called off, or others need this worker more


class Outlook:
    """Says before each claim what the study is by now, and how many slots to take."""

    def __init__(
        self,
        study: OpenStudy,
        trainer: Trainer,
        progress: Progress,
        n_workers: int,
        gauge: Gauge,
        may_turn: bool,
    ) -> None:
        self._study, self._trainer, self._progress = study, trainer, progress
        self._n_workers, self._gauge = n_workers, gauge
        self._may_turn = may_turn
        self._looked = time.monotonic()
        self._digest: str | None = None  #: of the row that the study was read from

    def next(self) -> Turn:
        """Return what to do next.

        Raises:
            StudyDeleted: The study is gone.
        """
        storage, uuid = self._study.storage, self._study.uuid
        at_most = ROUNDS * MOST_WORKERS * self._trainer.width
        pace = self._gauge.pace
        pulse = storage.read(lambda connection: tally.pulse(connection, uuid, at_most, pace))
        if pulse is None:
            raise StudyDeleted(self._study.stored.name)
        if pulse.is_cancelled:
            self._progress.warn(called_off(self._study.stored))
            return Turn(self._study, 0, 0, goes_on=False)
        if self._is_needed_elsewhere():
            return Turn(self._study, 0, 0, goes_on=False)
        if pulse.digest is None or pulse.digest != self._digest:
            self._follow()
            self._digest = pulse.digest
        n_workers = max(float(self._n_workers), pulse.n_workers, 1.0)
        return Turn(self._study, self._width(pulse.n_live, n_workers), round(n_workers))

    def _is_needed_elsewhere(self) -> bool:
        """Tell, every now and then, whether another study should be served first."""
        now = time.monotonic()
        if not self._may_turn or now - self._looked < LOOK_EVERY:
            return False
        self._looked = now
        storage, uuid = self._study.storage, self._study.uuid
        return storage.read(lambda connection: tally.is_neglected_elsewhere(connection, uuid))

    def _follow(self) -> None:
        """Learn of what the study has grown by: cells of a search, or replicates."""
        study = self._study
        stored = study.storage.read(lambda connection: studies.stored_now(connection, study))
        self._trainer.follow(stored.experiment)  # which may know fewer cells than the study
        if stored.experiment == study.experiment:
            return
        self._study = studies.present(study)
        self._trainer.follow(self._study.experiment)
        self._progress.grew(self._study.experiment)

    def _width(self, n_live: int, n_workers: float) -> int:
        """Return how many slots to claim so that all workers are done together in every round.

        Args:
            n_workers: Of as many like this one.
        """
        width = self._trainer.width
        rounds = max(1, math.ceil(n_live / (n_workers * width)))
        return max(1, min(width, math.ceil(n_live / (n_workers * rounds))))
