"""Which validation images each network got right: a bit for each image.

Those of a complete network are in its result's row; those at rungs, of the cells that are cut there and
of those that go on, have rows of their own.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from hpo.database import batches, damage, outcomes
from hpo.database.tables import rung_bits
from hpo.experiment.records import Outcome, Slot, StoredStudy


def hits_of(connection: Connection, study: StoredStudy) -> dict[Slot, NDArray[np.bool_]]:
    """Return which validation images every complete network got right, shape (images,) each.

    Results without bits are left out: those that an objective of the user's own brought.
    """
    n_images = study.experiment.data.n_validation
    return {
        Slot(row.cell, row.replicate): _bits(row.hits, n_images)
        for row in outcomes.result_rows(connection, study.uuid)
        if row.outcome == Outcome.COMPLETE and len(row.hits) == (n_images + 7) // 8
    }


def keep_at_rung(
    connection: Connection, study: str, n_updates: int, found: Mapping[Slot, bytes]
) -> None:
    """Store which images networks got right at a rung; what was stored before is replaced."""
    rows = [
        {
            "study": study,
            "cell": slot.cell,
            "replicate": slot.replicate,
            "n_updates": n_updates,
            "hits": bits,
        }
        for slot, bits in found.items()
    ]
    batches.upsert(connection, rung_bits, rows, ("study", "cell", "replicate", "n_updates"))


def at_rungs(
    connection: Connection, study: StoredStudy, cycle: int | None = None
) -> dict[int, dict[Slot, NDArray[np.bool_]]]:
    """Return which images were right at rungs, by cycle and slot; one cycle, or all of them.

    Raises:
        DamagedRow: One is not what was written.
    """
    experiment = study.experiment
    query = rung_bits.select().where(rung_bits.c.study == study.uuid)
    if cycle is not None:
        lengths = {2 * experiment.recipe(c).n_s * cycle for c in range(len(experiment.cells))}
        query = query.where(rung_bits.c.n_updates.in_(lengths))
    found: dict[int, dict[Slot, NDArray[np.bool_]]] = {}
    for row in connection.execute(query.order_by(rung_bits.c.cell, rung_bits.c.replicate)):
        damage.check(connection, rung_bits, row)
        here = experiment.recipe(row.cell).cycle_end(row.n_updates)
        if here is not None and cycle in (None, here):
            bits = _bits(row.hits, experiment.data.n_validation)
            found.setdefault(here, {})[Slot(row.cell, row.replicate)] = bits
    return found


def _bits(packed: bytes, n_images: int) -> NDArray[np.bool_]:
    return np.unpackbits(np.frombuffer(packed, np.uint8), count=n_images).astype(np.bool_)
