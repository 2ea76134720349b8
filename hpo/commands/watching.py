"""A study that is worked on, seen from the database alone."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from hpo.database import fleet, outcomes, rows
from hpo.database.connections import Connection
from hpo.database.reader import Reader
from hpo.database.tables import LIVE
from hpo.errors import StudyDeleted
from hpo.experiment.records import Slot, State, StoredStudy
from hpo.machine.console import say
from hpo.mirror import identity
from hpo.mirror.study import stored
from hpo.views import numbers
from hpo.views.standing import SlotStanding, Snapshot, Standing
from hpo.views.story import LOOK, Story


class Onlooker:
    """Looks at a study again and again through one reader; a failed look is left out."""

    def __init__(self, url: str, stop: Callable[[], bool]) -> None:
        self._url, self._stop = url, stop
        self._reader: Reader | None = None
        self._has_curves = ""  #: the study whose curves were told

    def __call__(self, name: str) -> Snapshot | None:
        """Return how the study stands; its curves the first time only, as who trains knows more."""
        try:
            if self._reader is None:
                self._reader = Reader(self._url, self._stop, lambda _: None)
            with_curves = self._has_curves != name
            found = self._reader.read(
                lambda c: snapshot(c, stored(c, name), with_curves=with_curves)
            )
        except Exception:  # whatever it is, who trains goes on and meets it where it matters
            return None
        self._has_curves = name
        return found

    def close(self) -> None:
        """Give the database back."""
        if self._reader is not None:
            self._reader.close()


@contextmanager
def story(url: str, stop: Callable[[], bool]) -> Iterator[Story]:
    """Tell a story that knows what others do in the database at ``url``."""
    with closing(Onlooker(url, stop)) as look, Story(look) as told:
        yield told


class Watched:
    """One study and no other: it may get another name, and another study may get its name."""

    def __init__(self, name: str) -> None:
        self.name = name  #: that it goes by now
        self._uuid: str | None = None

    def __call__(self, connection: Connection) -> Snapshot:
        """Return how it stands.

        Raises:
            StudyNotFound: There was none of this name.
            StudyDeleted: It is gone.
        """
        if self._uuid is None:
            study = stored(connection, self.name)
            self._uuid = study.uuid
            return snapshot(connection, study, with_curves=True)
        standing = identity.of(connection, self._uuid)
        known = rows.study_by_uuid(connection, self._uuid)
        if standing is None or known is None:
            raise StudyDeleted(self.name, "watched")
        self.name = standing.name
        return snapshot(connection, known, with_curves=True)


def snapshot(connection: Connection, study: StoredStudy, *, with_curves: bool) -> Snapshot:
    """Return how a study stands.

    Raises:
        DamagedRow: A row is not what was written.
    """
    known = range(len(study.experiment.cells))
    slots: dict[Slot, SlotStanding] = {}
    for attempt, n_updates in rows.reached_of(connection, study.uuid, LIVE):
        slots[attempt.slot] = SlotStanding(n_updates, attempt.state)
    for result in outcomes.results_of(connection, study.uuid):
        own = SlotStanding(result.n_updates, State.ENDED, result.outcome, result.value)
        slots[result.slot] = own
    if with_curves:
        for slot, n_updates, value in outcomes.accuracies_of(connection, study.uuid):
            if slot in slots and value is not None:
                slots[slot].curve[n_updates] = value
    slots = {slot: own for slot, own in slots.items() if slot.cell in known}
    alive = sum(worker.is_alive for worker in fleet.living(connection))
    return Snapshot(study.experiment, slots, alive)


def watch(url: str, name: str, stop: Callable[[], bool]) -> bool:
    """Show a study until it is over or ``stop`` says so; tell whether it is over.

    Raises:
        StudyNotFound: There is none of this name.
        StudyDeleted: It was deleted meanwhile.
        StorageError: There is no database.
    """
    with closing(Reader(url, stop, say)) as reader, Story() as story:
        looked, watched, called = -math.inf, Watched(name), name
        while not story.is_complete and not stop():
            if time.monotonic() - looked >= LOOK:
                found = reader.read(watched)
                if looked < 0:
                    story.began(name, found.experiment, 0)
                story.see(found)
                if watched.name != called:
                    story.warn(f"The study {called!r} is called {watched.name!r} now.")
                    called = watched.name
                looked = time.monotonic()
            time.sleep(LOOK / 10)
            story.remind()
        return story.is_complete


def changes(url: str, name: str, stop: Callable[[], bool]) -> Iterator[str]:
    """Yield how a study stands, a line of JSON at the start and at each change, until it is over.

    Raises:
        StudyNotFound: There is none of this name.
        StudyDeleted: It was deleted meanwhile.
        StorageError: There is no database.
    """
    with closing(Reader(url, stop, say)) as reader:
        standing, told, watched = None, None, Watched(name)
        while not stop():
            found = reader.read(watched)
            standing = standing or Standing(name, found.experiment)
            standing.look(found)
            now = numbers.standing(standing)
            if now != told:
                yield numbers.written({**now, "seconds_left": standing.seconds_left}, None)
                told = now
            if standing.is_complete:
                return
            ends = time.monotonic() + LOOK
            while time.monotonic() < ends and not stop():
                time.sleep(LOOK / 10)
