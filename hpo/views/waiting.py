"""Which studies wait, in the order in which workers serve them, and what for: ``hpo queue``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo.database import damage, queue, tally
from hpo.database.connections import Connection
from hpo.experiment.records import State, StoredStudy
from hpo.machine.printable import printable
from hpo.mirror import shelf
from hpo.views import numbers

NOTHING = "Nothing waits or runs. `hpo submit` puts studies into the queue."


@dataclass(frozen=True)
class Queued:
    """A study in which something waits or runs, or that was called off before its end."""

    name: str
    priority: int
    waiting: int  #: trials that wait, also at rungs
    running: int
    workers: int  #: that work for it
    called_off: bool
    #: What keeps the living workers from serving it; None if nothing does.
    waits_for: str | None


def of(connection: Connection) -> list[Queued]:
    """Return the queue, in its order; studies that cannot be read are left out."""
    live = tally.live_by_study(connection)
    found = shelf.look(connection, list(live))
    served, places = queue.workers_by_study(connection), queue.places(connection)
    fleet = _fleet(connection)
    waiting = [
        _queued(study, live[study.uuid], places.get(study.uuid, queue.NOWHERE), served, fleet)
        for study in found.studies
    ]
    return sorted(waiting, key=lambda one: (one.called_off, -one.priority))


def _queued(
    study: StoredStudy,
    live: Mapping[str, int],
    place: queue.Place,
    served: Mapping[str, int],
    fleet: Sequence[tuple[str, dict[str, str]]],
) -> Queued:
    is_served = bool(served.get(study.uuid)) or place.is_cancelled
    return Queued(
        name=study.name,
        priority=place.priority,
        waiting=live.get(State.WAITING, 0) + live.get(State.PAUSED, 0),
        running=live.get(State.RUNNING, 0),
        workers=served.get(study.uuid, 0),
        called_off=place.is_cancelled,
        waits_for=None if is_served else _missing(study, place, fleet),
    )


def _fleet(connection: Connection) -> list[tuple[str, dict[str, str]]]:
    """Return images and versions of those whose heart beats, and who take any study about them."""
    return [(data, _versions(told)) for data, told in queue.equipment(connection)]


def _versions(text: str | None) -> dict[str, str]:
    told = damage.parsed_or_none(text)
    return {str(key): str(value) for key, value in (told or {}).items()}


def _missing(
    study: StoredStudy, place: queue.Place, fleet: Sequence[tuple[str, dict[str, str]]]
) -> str | None:
    if not fleet:
        return "a worker"
    with_images = [
        versions for data, versions in fleet if data == study.experiment.data.fingerprint
    ]
    if not with_images:
        data = study.experiment.data
        return f"a worker with its images ({data.name}, {data.fingerprint[:12]}...)"
    needed = _versions(place.versions)
    if needed and needed not in with_images:
        here = with_images[0]
        told = [
            f"{what} {version}" for what, version in needed.items() if here.get(what) != version
        ]
        return f"a worker with {', '.join(told)}"
    return None


def table(connection: Connection) -> str:
    """Return the queue as lines of text."""
    found = of(connection)
    if not found:
        return NOTHING
    header = f"{'study':<24} {'priority':>8} {'waiting':>8} {'running':>8} {'workers':>8}"
    lines = [
        f"{one.name:<24} {one.priority:>8} {one.waiting:>8} {one.running:>8} {one.workers:>8}  "
        f"{_remark(one)}".rstrip()
        for one in found
    ]
    return "\n".join(map(printable, (header, *lines)))


def _remark(one: Queued) -> str:
    if one.called_off:
        return "called off"
    return f"waits for {one.waits_for}" if one.waits_for else ""


def unserved(connection: Connection) -> list[str]:
    """Return a line for each study that none of the living workers can serve."""
    return [
        f"{one.name} waits for {one.waits_for}: those that live cannot serve it."
        for one in of(connection)
        if one.waits_for not in (None, "a worker") and one.waiting
    ]


def as_json(connection: Connection) -> str:
    """Return the queue for programs."""
    told: list[dict[str, Any]] = [vars(one) for one in of(connection)]
    return numbers.written({"queue": told})
