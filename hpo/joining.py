"""A worker that joins from outside: finds studies with work for its images, and does it."""

import time
from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from hpo import correction, rows
from hpo import study as studies
from hpo.errors import DataUnavailable, StudyDeleted, StudyNotFound
from hpo.fleet import Membership
from hpo.plan import plan, slots_of
from hpo.progress import Story
from hpo.storage import Storage
from hpo.study import OpenStudy
from hpo.tables import LIVE, Slot, StoredStudy
from hpo.trainer import Trainer
from hpo.worker import work
from model.data import Dataset

PAUSE = 1.0  #: seconds between two looks for new work


def join(
    storage: Storage,
    dataset: Dataset,
    wanted: Sequence[str],
    story: Story,
    stop: Callable[[], bool],
    watch: bool,
    grace: float,
) -> int:
    """Train what is waiting in ``wanted`` studies, or in all on these images; return how much.

    Raises:
        StudyNotFound: A wanted study is not there.
        DataUnavailable: A wanted study is about other images.
    """
    counter = _Counter(story)
    trainers: dict[str, Trainer] = {}
    with Membership(storage, grace) as member:
        while not stop():
            worked = False
            for study in _with_work(storage, dataset, wanted):
                trainer = trainers.setdefault(study.uuid, Trainer(study.experiment, dataset))
                try:
                    correction.correct(storage, study)
                    before = plan(storage, study)
                except StudyDeleted:
                    continue
                study = studies.present(storage, study)
                n_updates = before.n_updates + before.n_unplanned
                counter.began(study.stored.name, study.experiment, n_updates)
                work(storage, study, trainer, counter, stop, member.identity)
                if not stop():
                    correction.settle(storage, studies.present(storage, study), story.warn)
                worked = True
            if not worked:
                if not watch:
                    break
                time.sleep(PAUSE)
    return counter.n_ended


class _Counter(Story):
    """Tells the story of another one, and counts what was trained."""

    def __init__(self, story: Story) -> None:
        super().__init__()
        self.n_ended = 0
        self._bar = story._bar

    def ended(self, slot: Slot, outcome: str, value: float | None) -> None:
        self.n_ended += 1
        super().ended(slot, outcome, value)


def _with_work(storage: Storage, dataset: Dataset, wanted: Sequence[str]) -> list[OpenStudy]:
    """Return the studies on these images in which something waits or runs."""

    def read(connection: Connection) -> tuple[list[str], list[str]]:
        known, busy = [], []
        for stored in rows.all_studies(connection):
            known.append(stored.name)
            if wanted and stored.name not in wanted:
                continue
            if stored.experiment.data.fingerprint != dataset.fingerprint:
                if stored.name in wanted:
                    raise DataUnavailable(
                        f"{stored.name!r} is about {stored.experiment.data.name} images with another "
                        "fingerprint than these. Name the right ones with --data."
                    )
                continue
            counts = rows.count_attempts(connection, stored.uuid)
            if any(counts.get(state) for state in LIVE) or _wants_more(connection, stored):
                busy.append(stored.name)
        return known, busy

    known, busy = storage.write(read)
    for name in wanted:
        if name not in known:
            raise StudyNotFound(name, known)
    found = [studies.find(storage, name) for name in busy]
    return [study for study in found if study is not None]


def _wants_more(connection: Connection, study: StoredStudy) -> bool:
    """Tell whether nobody has planned what comes next, as between two generations of a search."""
    results = {result.slot for result in rows.results_of(connection, study.uuid)}
    missing = [slot for slot in slots_of(study.experiment) if slot not in results]
    if not missing:
        search = study.experiment.search
        return search is not None and not search.is_over
    planned = {attempt.slot for attempt in rows.attempts_of(connection, study.uuid)}
    return any(slot not in planned for slot in missing)
