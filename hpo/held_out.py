"""The one way to the test images: every look at them is a row.

Only `hpo.held_out.look` evaluates a network on the test part of a source; `final` and
`reproduce` are its only callers. What the rows say together is in `hpo.looks`.
"""

import getpass
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row

from hpo import checkpoints, rows, tables
from hpo.errors import NoResult
from hpo.hosts import this_worker
from hpo.sources import Source
from hpo.storage import Storage
from hpo.tables import Slot, StoredStudy
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
    test = source.test()
    if test is None:
        raise NoResult(
            f"{source.name} has no test images, so there is no test accuracy. Add test_images and "
            "test_labels to the .npz."
        )
    hits = np.asarray(examine(test), dtype=bool)
    taken = Look(len(test), int(np.count_nonzero(hits)))
    moment = storage.write(rows.now)

    def write(connection: Connection) -> None:
        before = [r for r in rows.looks_of(connection, study) if _is_of(r, slot)]
        # A commit that was thought lost, or another process that looked at the same time.
        if any(row.looked_at == moment for row in before) or (before and not again):
            return
        connection.execute(
            tables.test_looks.insert().values(
                study=study,
                cell=slot.cell,
                replicate=slot.replicate,
                looked_at=moment,
                who=f"{_user()} on {this_worker()['host']}",
                what=what,
                fingerprint=test.fingerprint,
                n_images=taken.n_images,
                n_right=taken.n_right,
                hits=np.packbits(hits).tobytes(),
            )
        )

    storage.write(write)
    return taken


def taken_before(storage: Storage, study: str, slot: Slot) -> Look | None:
    """Return the last look at the test images for this slot, or None."""
    looks = storage.write(lambda connection: rows.looks_of(connection, study))
    found = [Look(row.n_images, row.n_right) for row in looks if _is_of(row, slot)]
    return found[-1] if found else None


def _is_of(row: Row[Any], slot: Slot) -> bool:
    return (row.cell, row.replicate) == (slot.cell, slot.replicate)


def final_network(connection: Connection, study: StoredStudy, slot: Slot) -> Network:
    """Return the final weights of a slot.

    Raises:
        NoResult: They are not kept, or are damaged.
    """
    found = checkpoints.load(connection, study.uuid, study.experiment, slot)
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
