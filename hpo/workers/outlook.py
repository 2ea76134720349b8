"""What a worker learns before each claim: what the study is by now, and its fair share of it."""

from hpo.database import tally
from hpo.errors import StudyDeleted
from hpo.mirror import study as studies
from hpo.mirror.study import OpenStudy
from hpo.training.progress import Progress
from hpo.training.trainer import Trainer

MOST_WORKERS, ROUNDS = 1024, 2  #: that a fair share is reckoned for; beyond, stacks are full


class Outlook:
    """Says before each claim what the study is by now, and how many slots to take."""

    def __init__(
        self, study: OpenStudy, trainer: Trainer, progress: Progress, n_workers: int
    ) -> None:
        self._study, self._trainer, self._progress = study, trainer, progress
        self._n_workers = n_workers
        self._digest: str | None = None  #: of the row that the study was read from

    def next(self) -> tuple[OpenStudy, int, int]:
        """Return the study with what it has grown by, a fair number of slots, and of workers.

        Raises:
            StudyDeleted: It is gone.
        """
        storage, uuid = self._study.storage, self._study.uuid
        at_most = ROUNDS * MOST_WORKERS * self._trainer.width
        pulse = storage.read(lambda connection: tally.pulse(connection, uuid, at_most))
        if pulse is None:
            raise StudyDeleted(self._study.stored.name)
        if pulse.digest is None or pulse.digest != self._digest:
            self._follow()
            self._digest = pulse.digest
        n_workers = max(self._n_workers, pulse.n_workers, 1)
        return self._study, self._width(pulse.n_live, n_workers), n_workers

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

    def _width(self, n_live: int, n_workers: int) -> int:
        """Return how many slots to claim so that all workers have equal stacks in every round."""
        width = self._trainer.width
        rounds = max(1, -(-n_live // (n_workers * width)))
        return max(1, min(width, -(-n_live // (n_workers * rounds))))
