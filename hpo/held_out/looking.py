"""The one way to the test images: every look at them is a row.

Only `hpo.held_out.looking.look` evaluates a network on the test part of a source; `final` and
`reproduce` are its only callers. The row comes first, and says that it is not completed; a process
that dies then leaves a look, which the next run completes, with the same weights. What
the rows say together is in `hpo.database.looks`.
"""

import getpass
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo.data.source import Source
from hpo.database import checkpoints, leases, looks, rows
from hpo.database.connections import Connection, Row
from hpo.database.storage import Storage
from hpo.errors import NoResult
from hpo.experiment.records import Slot, StoredStudy
from hpo.machine.process import this_worker
from model.data import Dataset
from model.network import Network


@dataclass(frozen=True)
class Look:
    """What the test images said."""

    n_images: int
    n_right: int

    @property
    def accuracy(self) -> float:
        """Share of the test images that were classified rightly."""
        return self.n_right / self.n_images


def look(
    storage: Storage,
    study: str,
    slot: Slot,
    what: str,
    examine: Callable[[Dataset], NDArray[np.bool_]],
    source: Source,
    *,
    again: bool = False,
) -> Look:
    """Return what a network makes of the test images; a look that was taken is not taken again.

    Args:
        study: Key that the look is stored under: a study's uuid.
        slot: Whose network it is.
        what: The network, in words.
        examine: Tells which of the images it gets right.
        again: Look all the same; it is one more row.

    Raises:
        NoResult: The source has no test images.
    """
    earlier = taken_before(storage, study, slot)
    if earlier is not None and not again:
        return earlier
    test = _of(source)
    with leases.held(storage, f"look {study}"):  # of two at once, one looks
        begun = storage.write(lambda connection: _standing(connection, study, slot, test))
        if begun is None:
            earlier = taken_before(storage, study, slot)
            if earlier is not None and not again:
                return earlier
            begun = _begin(storage, study, slot, what, test)
        hits = np.asarray(examine(test), dtype=bool)
        storage.write(lambda connection: _complete(connection, begun, hits))
    return Look(len(test), int(np.count_nonzero(hits)))


def check(source: Source) -> None:
    """Refuse a source without sound test images, before anything is trained; nobody is shown them.

    Raises:
        NoResult: It has none.
        model.errors.InvalidData: They are damaged or not what they should be.
    """
    _of(source)


def _of(source: Source) -> Dataset:
    test = source.test()
    if test is None:
        raise NoResult(
            f"{source.name} has no test images, so there is no test accuracy. Add test_images and "
            "test_labels to the .npz."
        )
    return test


def _standing(connection: Connection, study: str, slot: Slot, test: Dataset) -> int | None:
    """Return the id of a look at these images that was begun and not completed, or None."""
    found = [
        row.id
        for row in looks.looks_of(connection, study)
        if _is_of(row, slot) and not row.is_complete and row.fingerprint == test.fingerprint
    ]
    return found[-1] if found else None


def _begin(storage: Storage, study: str, slot: Slot, what: str, test: Dataset) -> int:
    """Store the row of a look that will be taken, and return its id."""
    moment = storage.read(rows.now)

    def write(connection: Connection) -> int:
        for row in looks.looks_of(connection, study):
            if _is_of(row, slot) and row.looked_at == moment:  # a commit that was thought lost
                return int(row.id)
        values = {
            "study": study,
            "cell": slot.cell,
            "replicate": slot.replicate,
            "looked_at": moment,
            "who": f"{_user()} on {this_worker()['host']}",
            "what": what,
            "fingerprint": test.fingerprint,
            "n_images": len(test),
            "n_right": 0,
            "is_complete": False,
        }
        return looks.begin(connection, values)

    return storage.write(write)


def _complete(connection: Connection, begun: int, hits: NDArray[np.bool_]) -> None:
    """Write what a look said into its row."""
    said = {
        "is_complete": True,
        "n_right": int(np.count_nonzero(hits)),
        "hits": np.packbits(hits).tobytes(),
    }
    looks.complete(connection, begun, said)


def taken_before(storage: Storage, study: str, slot: Slot) -> Look | None:
    """Return the last completed look at the test images for this slot, or None."""
    taken = storage.read(lambda connection: looks.looks_of(connection, study))
    found = [
        Look(row.n_images, row.n_right) for row in taken if row.is_complete and _is_of(row, slot)
    ]
    return found[-1] if found else None


def _is_of(row: Row[Any], slot: Slot) -> bool:
    return (row.cell, row.replicate) == (slot.cell, slot.replicate)


def final_network(connection: Connection, study: StoredStudy, slot: Slot) -> Network:
    """Return the final weights of a slot.

    Raises:
        NoResult: They are not kept, or are damaged.
    """
    found = checkpoints.load(connection, study.uuid, study.experiment, [slot]).get(slot)
    if isinstance(found, checkpoints.Damaged):
        raise found
    if found is None or found.n_updates < study.experiment.recipe(slot.cell).n_updates:
        raise NoResult(
            f"The weights of cell {slot.cell}, replicate {slot.replicate}, are not stored: only those "
            "of the best cells are kept."
        )
    return found.network


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
