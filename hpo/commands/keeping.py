"""Workers that are kept: processes that watch a database, each bound to its parent by a pipe.

When the parent dies the pipe closes, which is a wish to stop: no orphan stays. One that ends is started
again, after a pause that doubles while it keeps ending soon.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from typing import Any

from hpo.database.fleet import GRACE
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Slot
from hpo.training.phases import Phases
from hpo.workers.member import STOP, Member, Reserve, Teller, receive, tell

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  #: seconds before one that ended is started again
SETTLED = 60.0  #: seconds that one must have lived for the next pause to be short again
LEAVE = 10.0  #: seconds in which a process ends that was told to
Hear = Callable[[int, str, tuple[Any, ...]], None]


def into_log(log: logging.Logger) -> Hear:
    """Return what writes down what goes wrong in workers, at the level that no cluster silences."""

    def hear(_: int, kind: str, told: tuple[Any, ...]) -> None:
        if kind in ("error", "stumbled", "died"):
            log.critical("hpo worker: %s %s", kind, told[0])

    return hear


@dataclass(frozen=True)
class Watch:
    """What a kept worker must know: it finds images and studies by itself, and waits for more."""

    url: str
    data: str  #: as for ``--data``
    studies: tuple[str, ...] = ()  #: all on these images if there are none
    grace: float = GRACE
    environ: dict[str, str] = field(default_factory=dict)
    began: float = 0.0

    @property
    def title(self) -> str:
        """What is the same for those alone who would do the same."""
        same = repr((self.url, self.data, self.studies, self.grace))
        return (
            f"hpo worker {' '.join(self.studies)} {hashlib.sha256(same.encode()).hexdigest()[:12]}"
        )

    def carry_out(self, teller: Teller, stop: Callable[[], bool], _: Phases) -> None:
        """Do it, in the worker's own process, until ``stop`` says so."""
        from hpo.commands import images, joining
        from hpo.database.storage import Interrupted, Storage

        progress = _Brief(teller)
        try:
            dataset = images.training(self.data, self.environ, teller.warn, stop)
            with Storage(self.url, stop, makes=False, notify=teller.warn) as storage:
                joining.join(storage, dataset, self.studies, progress, stop, True, self.grace)
        except Interrupted:
            return


class _Brief(Teller):
    """Tells the parent what is worth a line in a log."""

    def __init__(self, teller: Teller) -> None:
        self.__dict__.update(teller.__dict__)

    def began(self, title: str, experiment: Experiment, n_updates: int) -> None:
        """Tell the name of the study."""
        del experiment, n_updates
        self.send("began", title)

    def claimed(self, slots: Sequence[Slot], n_updates: int) -> None:
        """Tell which cells."""
        self.send("claimed", [slot.cell for slot in slots], n_updates)

    def grew(self, *_: Any) -> None:
        """Tell nothing."""

    def advanced(self, *_: Any) -> None:
        """Tell nothing."""


@dataclass
class _Place:
    """Where one worker is kept."""

    member: Member | None = None
    since: float = 0.0
    due: float = 0.0
    pause: float = FIRST_PAUSE


class Keeper:
    """Keeps so many workers; `look` is to be called again and again."""

    def __init__(self, watch: Watch, n: int, hear: Hear) -> None:
        """Prepare; nobody is started yet.

        Args:
            hear: Is told the place of a worker, from 0, and what happened there: ``started`` with
                its process, ``died`` with its exit status and the pause until another one is
                started, ``left`` when told to, or what it says itself.
        """
        self._watch, self._hear = watch, hear
        self._places = [_Place() for _ in range(n)]
        self.n_starts = 0  #: so far, in all places
        self._drains = False

    @property
    def n_alive(self) -> int:
        """How many workers there are now."""
        return sum(place.member is not None for place in self._places)

    @property
    def pids(self) -> list[int]:
        """Their processes."""
        return [place.member[0].pid for place in self._places if place.member is not None]

    def look(self, seconds: float) -> None:
        """Start whoever is due, and hear for so many seconds at most what they say."""
        now = time.monotonic()
        for number, place in enumerate(self._places):
            if place.member is None and now >= place.due:
                try:
                    place.member, place.since = Reserve().employ(self._watch), now
                except OSError as error:  # no process or no memory is left just now
                    place.pause = min(2 * place.pause, LONGEST_PAUSE)
                    place.due = now + place.pause
                    self._hear(number, "stumbled", (f"No worker can be started: {error}.",))
                    continue
                self.n_starts += 1
                self._hear(number, "started", (place.member[0].pid,))
        self._listen(seconds)

    def drain(self) -> None:
        """Tell all to stop, and wait until they have; what does not end in time is ended."""
        self._drains = True
        for place in self._places:
            if place.member is not None:
                tell(place.member[1], STOP)
        end = time.monotonic() + LEAVE
        while self.n_alive and time.monotonic() < end:
            self._listen(0.1)
        for place in self._places:
            if place.member is not None:
                process, pipe = place.member
                process.kill()
                process.wait()
                pipe.close()
                place.member = None

    def _listen(self, seconds: float) -> None:
        pipes = {p.member[1]: n for n, p in enumerate(self._places) if p.member is not None}
        if not pipes:
            time.sleep(seconds)
        for ready in wait(list(pipes), timeout=seconds) if pipes else ():
            if isinstance(ready, Pipe):
                self._heard(pipes[ready], ready)

    def _heard(self, number: int, pipe: Pipe) -> None:
        message = receive(pipe)
        if message is not None:
            self._hear(number, message[0], tuple(message[1:]))
            return
        place = self._places[number]
        if place.member is None:
            return
        status = place.member[0].wait()
        pipe.close()
        place.member = None
        now = time.monotonic()
        place.pause = (
            FIRST_PAUSE if now - place.since > SETTLED else min(2 * place.pause, LONGEST_PAUSE)
        )
        place.due = max(place.due, now + place.pause)
        self._hear(number, "left" if self._drains else "died", (status, place.pause))
