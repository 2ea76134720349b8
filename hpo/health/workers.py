"""Workers that died and hold something."""

from hpo.database import fleet
from hpo.database.connections import Connection
from hpo.health.finding import Finding


def dead(connection: Connection) -> Finding:
    """Count the workers that died without giving back what they held.

    Whether one that seems dead lives is seen by `hpo.database.fleet.settle`, before this.
    """
    n_dead = fleet.n_dead_holders(connection)
    if n_dead:
        return Finding(
            f"{n_dead} workers died without leaving.",
            True,
            "`hpo run` or `hpo doctor --repair` frees what they held.",
        )
    return Finding("no worker died without leaving")
