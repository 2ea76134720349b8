"""What the looks at the test images that a study took say together; `hpo.held_out.looking` takes them.

A look that was begun and never completed is a look, and says nothing.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from hpo.database import damage, digests
from hpo.database.tables import test_looks

if TYPE_CHECKING:  # a report of accuracies does without NumPy
    import numpy as np
    from numpy.typing import NDArray


def looks_of(connection: Connection, study: str) -> list[Row[Any]]:
    """Return every look at the test images that this study took, oldest first.

    Raises:
        DamagedRow: One is not what was written.
    """
    rows = connection.execute(
        test_looks.select().where(test_looks.c.study == study).order_by(test_looks.c.id)
    )
    return [damage.check(connection, test_looks, row) for row in rows]


def begin(connection: Connection, values: dict[str, Any]) -> int:
    """Store the row of a look that will be taken, and return its id."""
    made = connection.execute(test_looks.insert().values(values)).inserted_primary_key
    return int(made[0]) if made else 0


def complete(connection: Connection, begun: int, values: dict[str, Any]) -> None:
    """Write what a look said into its row."""
    this = test_looks.c.id == begun
    connection.execute(test_looks.update().where(this).values(values))
    digests.seal(connection, test_looks, test_looks.select().where(this))


def n_by_others(connection: Connection, study: str, fingerprint: str) -> int:
    """Return how many looks at these images other studies took, those since deleted included."""
    others = sa.and_(test_looks.c.study != study, test_looks.c.fingerprint == fingerprint)
    query = sa.select(sa.func.count()).select_from(test_looks).where(others)
    return int(connection.execute(query).scalar_one())


def latest(looks: Sequence[Row[Any]]) -> list[Row[Any]]:
    """Return the last look at every replicate of the cell that was looked at last, by replicate.

    Looks at other test images than the last one's say nothing about these, and are left out.

    Args:
        looks: All of a study, oldest first.
    """
    looks = [look for look in looks if look.is_complete]
    if not looks:
        return []
    last = looks[-1]
    alike = [x for x in looks if (x.cell, x.fingerprint) == (last.cell, last.fingerprint)]
    found = {look.replicate: look for look in alike}  # a later one replaces an earlier one
    return [found[replicate] for replicate in sorted(found)]


def accuracy(looks: Sequence[Row[Any]]) -> float | None:
    """Return the test accuracy, a mean over the replicates; None if nobody has looked."""
    shares = [look.n_right / look.n_images for look in latest(looks)]
    return sum(shares) / len(shares) if shares else None


def hits(looks: Sequence[Row[Any]]) -> "NDArray[np.bool_] | None":
    """Return which images each replicate got right, (replicates, n); None if bits are missing.

    An older hpo (schema 2) kept no bits.
    """
    import numpy as np

    found = latest(looks)
    if not found or any(look.hits is None for look in found):
        return None
    packed = [np.frombuffer(look.hits, np.uint8) for look in found]
    return np.stack([np.unpackbits(p, count=found[0].n_images).astype(bool) for p in packed])


def void(connection: Connection, look: Row[Any]) -> None:
    """Keep a look whose row is damaged as one that was begun: the next run completes it."""
    this = test_looks.c.id == look.id
    blank = {"is_complete": False, "n_right": 0, "hits": None}
    connection.execute(test_looks.update().where(this).values(blank))
    digests.seal(connection, test_looks, test_looks.select().where(this))
