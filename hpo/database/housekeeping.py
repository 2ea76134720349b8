"""What workers leave behind that nobody needs: their rows and their leases.

Swept when a worker enters or leaves, a run ends, or a study is deleted; not while somebody trains.
"""

from sqlalchemy import Connection

from hpo.database import fleet, leases


def sweep(connection: Connection) -> None:
    """Delete the rows of workers and leases that are over; who lives keeps, or renews, its own."""
    fleet.sweep(connection)
    leases.sweep(connection)
