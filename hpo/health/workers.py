"""Workers that died without leaving."""

from sqlalchemy import Connection

from hpo import fleet, rows, tables
from hpo.health.finding import Finding


def dead(connection: Connection) -> Finding:
    """Count the workers that died without leaving."""
    found = [worker for worker in fleet.living(connection) if not worker.is_alive]
    if found:
        return Finding(
            f"{len(found)} workers died without leaving.",
            True,
            "`hpo run` or `hpo doctor --repair` frees what they held.",
        )
    return Finding("no worker died without leaving")


def close_dead(connection: Connection) -> None:
    """Close the rows of dead workers."""
    table = tables.workers
    dead = [worker.id for worker in fleet.living(connection) if not worker.is_alive]
    if dead:
        closed = table.update().where(table.c.id.in_(dead))
        connection.execute(closed.values(ended_at=rows.now(connection)))
