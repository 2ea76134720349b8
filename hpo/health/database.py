"""The database as a whole: who reads it with what, its integrity, rows that belong to nobody."""

import platform
from importlib.metadata import version

from hpo.database import mending, rows, tables
from hpo.database.connections import Connection
from hpo.database.locations import shown
from hpo.health.finding import Finding
from hpo.machine.environment import environment


def versions(url: str) -> list[Finding]:
    """Tell with what the database is read."""
    here = environment()
    blas = f"BLAS {here['blas']}, {_threads()} threads in this process, one in each worker"
    return [
        Finding(
            f"Python {platform.python_version()}, NumPy {here['numpy']}, SciPy {here['scipy']}, "
            f"Optuna {version('optuna')}, SQLAlchemy {version('sqlalchemy')}"
        ),
        Finding(blas),
        Finding(f"database {shown(url)}, our schema {tables.SCHEMA_VERSION}"),
    ]


def _threads() -> int:
    import threadpoolctl

    pools = [p for p in threadpoolctl.threadpool_info() if p.get("user_api") == "blas"]
    return max((int(pool["num_threads"]) for pool in pools), default=1)


def integrity(connection: Connection) -> Finding:
    """Ask the database whether its file is sound."""
    answers = mending.answers_of_file(connection)
    if connection.dialect.name != "sqlite":
        return Finding(answers[0])
    if answers == ["ok"]:
        return Finding("SQLite finds its file sound")
    first = "; ".join(answers[:3])
    return Finding(f"SQLite finds its file damaged: {first}.", True, "Restore a copy.")


def orphans(connection: Connection) -> Finding:
    """Count the rows of studies that are gone."""
    n = mending.n_orphans(connection)
    if n:
        remedy = "`hpo doctor --repair` deletes them."
        if rows.unreadable_studies(connection):
            remedy = "They are kept: they may belong to a study that cannot be read."
        return Finding(f"{n} rows belong to no study.", True, remedy)
    return Finding("every row belongs to a study")


def delete_orphans(connection: Connection) -> None:
    """Delete the rows of studies that are gone; not while a damaged study may be theirs."""
    if not rows.unreadable_studies(connection):
        mending.delete_orphans(connection)
