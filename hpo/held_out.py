"""The one way to the test images: every look at them is a row.

Only `hpo.held_out.look` evaluates a network on the test part of a source; `final` and
`reproduce` are its only callers.
"""

import getpass
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from hpo import tables
from hpo.errors import NoResult
from hpo.hosts import this_worker
from hpo.sources import Source
from hpo.storage import Storage
from hpo.tables import Slot
from hpo.weights import unpack
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
) -> Look:
    """Return what a network makes of the test images; a look that was taken is not taken again.

    Args:
        study: Key that the look is stored under: a study's uuid.
        slot: Whose network it is.
        what: The network, in words.
        examine: Tells which of the images it gets right.

    Raises:
        NoResult: The source has no test images.
    """
    earlier = taken_before(storage, study, slot)
    if earlier is not None:
        return earlier
    test = source.test()
    if test is None:
        raise NoResult(
            f"{source.name} has no test images, so there is no test accuracy. Add test_images and "
            "test_labels to the .npz."
        )
    taken = Look(len(test), int(np.count_nonzero(examine(test))))

    def write(connection: Connection) -> None:
        connection.execute(
            tables.test_looks.insert().values(
                study=study,
                cell=slot.cell,
                replicate=slot.replicate,
                looked_at=time.time(),
                who=f"{_user()} on {this_worker()['host']}",
                what=what,
                fingerprint=test.fingerprint,
                n_images=taken.n_images,
                n_right=taken.n_right,
            )
        )

    storage.write(write)
    return taken


def taken_before(storage: Storage, study: str, slot: Slot) -> Look | None:
    """Return the last look at the test images for this slot, or None."""

    def read(connection: Connection) -> Look | None:
        for row in reversed(tables.look_at_test(connection, study)):
            if (row.cell, row.replicate) == (slot.cell, slot.replicate):
                return Look(row.n_images, row.n_right)
        return None

    return storage.write(read)


def final_network(connection: Connection, study: str, slot: Slot) -> Network:
    """Return the final weights of a slot.

    Raises:
        NoResult: They are not kept, or are damaged.
    """
    table = tables.checkpoints
    row = connection.execute(
        table.select()
        .where(tables.at(table, study, slot))
        .order_by(table.c.n_updates.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        raise NoResult(
            f"The weights of cell {slot.cell} are not stored: only those of the best cells are kept."
        )
    return unpack(row.content, row.sha256)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
