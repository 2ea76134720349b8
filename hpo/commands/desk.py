"""Which studies a worker may serve, and in which order: the queue as it looks from one machine.

Those that wait come first: of the highest priority, then with the fewest workers, then the oldest.
What is over, called off, about other images or unreadable costs a look a statement and no more.
"""

import time
from collections.abc import Mapping, Sequence

from hpo.database import outcomes, queue, rows, tally
from hpo.database.connections import Connection
from hpo.database.storage import Storage
from hpo.errors import StudyDeleted, StudyUnreadable, is_of_one_study, reason_of
from hpo.experiment.records import State, StoredStudy
from hpo.mirror import shelf
from hpo.planning.plan import slots_of
from hpo.training.progress import Progress
from model.data import Dataset

TRY_AGAIN = 60.0  #: seconds after which a study that could not be worked on is tried again
LOOK_AGAIN = 10.0  #: seconds after which names are read again, although nothing has changed
AT_ONCE = 32  #: studies that are read at once, until there are some to serve


class Desk:
    """Says which studies are worth a try, and once why one is not."""

    def __init__(
        self,
        storage: Storage,
        dataset: Dataset,
        wanted: Sequence[str],
        uuids: Sequence[str],
        progress: Progress,
    ) -> None:
        """Begin with nothing known.

        Args:
            wanted: Names of studies; all on these images if there are none.
            uuids: The studies of these names.
        """
        self._storage, self._progress = storage, progress
        self._wanted = {*wanted, *uuids}  # one may be renamed, or deleted and made again
        self._fingerprint = dataset.fingerprint
        self._told: dict[str, str] = {}  # by uuid, what was said of a study
        self._over: dict[str, str | None] = {}  # by uuid, its edition when it wanted no more
        self._put_off: dict[str, tuple[str | None, float]] = {}  # the same, and the time until when
        self._idle_with: object = None  #: what there was at the last look that found nothing
        self._looked = 0.0
        self._editions: dict[str, str | None] = {}

    def with_work(self) -> list[StoredStudy]:
        """Return studies on these images in which something waits or runs, first those that wait."""
        live, self._editions = self._storage.read(
            lambda c: (tally.live_by_study(c), rows.editions(c))
        )
        now = time.monotonic()
        here = {study: tuple(sorted(states)) for study, states in live.items()}, self._editions
        is_due = any(now > until for _, until in self._put_off.values())
        is_same = here == self._idle_with and not is_due
        if is_same and now - self._looked < LOOK_AGAIN:
            return []
        self._looked = now
        for known in (self._told, self._put_off, self._over):
            for uuid in known.keys() - self._editions.keys():
                del known[uuid]
        found = self._storage.read(lambda connection: self._look(connection, live))
        self._idle_with = None if found else here
        return found

    def _look(
        self, connection: Connection, live: Mapping[str, Mapping[str, int]]
    ) -> list[StoredStudy]:
        places = queue.places(connection)
        served = queue.workers_by_study(connection)
        maybe = [
            uuid
            for uuid, edition in self._editions.items()
            if (uuid in live or self._over.get(uuid, "") != edition)
            and not places.get(uuid, queue.NOWHERE).is_cancelled
        ]

        def order(uuid: str) -> tuple[bool, int, int]:
            waits = State.WAITING in live.get(uuid, {})
            return not waits, -places.get(uuid, queue.NOWHERE).priority, served.get(uuid, 0)

        maybe.sort(key=order)
        for start in range(0, len(maybe), AT_ONCE):
            part = maybe[start : start + AT_ONCE]
            found = shelf.look(connection, part)
            for damaged in found.unreadable:
                if not self._wanted or self._wanted & {damaged.name, damaged.uuid}:
                    self._say(damaged.uuid, str(StudyUnreadable(damaged.name, damaged.reason)))
            wanted = [study for study in found.studies if self._is_wanted(study)]
            busy = [study for study in wanted if self._is_busy(connection, study, live)]
            if busy:
                return sorted(busy, key=lambda study: part.index(study.uuid))
        return []

    def pass_by(self, study: StoredStudy, error: Exception) -> None:
        """Leave a study alone until its row changes, or for a while."""
        edition = self._editions.get(study.uuid)
        self._put_off[study.uuid] = edition, time.monotonic() + TRY_AGAIN
        if isinstance(error, StudyDeleted):
            self._say(study.uuid, str(error))
        else:
            self._say(study.uuid, f"{study.name!r} is passed by: {reason_of(error)}")

    def _say(self, uuid: str, text: str) -> None:
        if self._told.get(uuid) != text:
            self._told[uuid] = text
            self._progress.warn(text)

    def _is_wanted(self, study: StoredStudy) -> bool:
        if study.experiment.data.fingerprint != self._fingerprint:
            return False
        if self._wanted and not self._wanted & {study.name, study.uuid}:
            return False
        if study.uuid not in self._put_off:
            return True
        before, until = self._put_off[study.uuid]
        is_due = self._editions.get(study.uuid) != before or time.monotonic() > until
        if is_due:
            del self._put_off[study.uuid]
        return is_due

    def _is_busy(
        self, connection: Connection, study: StoredStudy, live: Mapping[str, Mapping[str, int]]
    ) -> bool:
        if study.uuid in live:
            return True
        try:
            wants_more = _wants_more(connection, study)
        except Exception as error:
            if not is_of_one_study(error):
                raise
            self.pass_by(study, error)
            return False
        if not wants_more:  # nor will it, until its row changes or somebody plans it
            self._over[study.uuid] = self._editions.get(study.uuid)
        return wants_more


def _wants_more(connection: Connection, study: StoredStudy) -> bool:
    """Tell whether nobody has planned what comes next, as between two generations of a search."""
    results = {result.slot for result in outcomes.results_of(connection, study.uuid)}
    missing = [slot for slot in slots_of(study.experiment) if slot not in results]
    if not missing:
        search = study.experiment.search
        return search is not None and not search.is_over
    planned = {attempt.slot for attempt in rows.attempts_of(connection, study.uuid)}
    return any(slot not in planned for slot in missing)
