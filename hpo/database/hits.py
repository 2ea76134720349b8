"""Which validation images each network got right: a bit for each image in a result's row."""

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from hpo.database import outcomes
from hpo.experiment.records import Outcome, Slot, StoredStudy


def hits_of(connection: Connection, study: StoredStudy) -> dict[Slot, NDArray[np.bool_]]:
    """Return which validation images every complete network got right, shape (images,) each.

    Results without bits are left out: those that an objective of the user's own brought.
    """
    n_images = study.experiment.data.n_validation
    return {
        Slot(row.cell, row.replicate): np.unpackbits(
            np.frombuffer(row.hits, np.uint8), count=n_images
        ).astype(np.bool_)
        for row in outcomes.result_rows(connection, study.uuid)
        if row.outcome == Outcome.COMPLETE and len(row.hits) == (n_images + 7) // 8
    }
