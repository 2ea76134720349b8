"""Our tables, made or brought up to the present schema; Optuna's are never touched.

A migration and the record of it commit together.
"""

from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy import Connection

from hpo.database import digests, fleet, sql_views, tables
from hpo.errors import StorageError
from hpo.experiment.records import State

LATEST = 9999  #: the newest schema that there might be, of an hpo to come


def stored_version(connection: Connection) -> int | None:
    """Return the schema that the database has, or None when our tables are not there."""
    if not sa.inspect(connection).has_table(tables.meta.name):
        return None
    query = sa.select(tables.meta.c.value).where(tables.meta.c.key == "schema_version")
    version = connection.execute(query).scalar_one_or_none()
    if version is None:
        return None
    if not str(version).isdecimal() or not 1 <= int(version) <= LATEST:
        raise StorageError(
            f"The database says that its schema is {str(version)[:40]!r}, which no hpo has written: it "
            "is damaged. Restore a copy."
        )
    return int(version)


def migrate(connection: Connection, where: str) -> None:
    """Create what is missing and bring an older schema up to date.

    Raises:
        StorageError: A newer hpo has written the database.
    """
    if connection.dialect.name == "postgresql":  # one migrates, the others find it done
        connection.execute(sa.text("select pg_advisory_xact_lock(6844527)"))
    version = stored_version(connection)
    refuse_newer(version, where)
    if version != tables.SCHEMA_VERSION:
        for step in range(version or tables.SCHEMA_VERSION, tables.SCHEMA_VERSION):
            _STEPS[step](connection)
        tables.metadata.create_all(connection)
        if (
            connection.dialect.name == "postgresql"
        ):  # weights do not get smaller by compressing them
            external = "ALTER TABLE hpo_checkpoints ALTER COLUMN content SET STORAGE EXTERNAL"
            connection.execute(sa.text(external))
        connection.execute(tables.meta.delete().where(tables.meta.c.key == "schema_version"))
        row = {"key": "schema_version", "value": str(tables.SCHEMA_VERSION)}
        connection.execute(tables.meta.insert().values(row))
    sql_views.make(connection)


def refuse_newer(version: int | None, where: str) -> None:
    """Refuse a database whose tables a newer hpo has written."""
    if version is not None and version > tables.SCHEMA_VERSION:
        raise StorageError(
            f"{where} was written by a newer hpo (schema {version}; this one knows "
            f"{tables.SCHEMA_VERSION}). Upgrade hpo, or use another --storage."
        )


def _add_workers_and_checkpoints(connection: Connection) -> None:
    """1 to 2: attempts may have to stay alone, checkpoints name their environment.

    Workers had no heartbeat, so of one on another host or from before a restart nobody could tell
    whether it lives: all that was running waits again, and a worker that lives finds its token
    gone.
    """
    for statement in (
        "ALTER TABLE hpo_attempts ADD COLUMN alone BOOLEAN NOT NULL DEFAULT false",
        "ALTER TABLE hpo_checkpoints ADD COLUMN environment TEXT",
        "UPDATE hpo_attempts SET state = 'waiting', token = NULL, in_optuna = false "
        "WHERE state = 'running'",
    ):
        connection.execute(sa.text(statement))


def _add_bits_of_looks(connection: Connection) -> None:
    """2 to 3: a look at the test images keeps which of them were right; rungs are a new table."""
    connection.execute(sa.text(f"ALTER TABLE hpo_test_looks ADD COLUMN hits {_bytes(connection)}"))


def _add_identity_and_digests(connection: Connection) -> None:
    """3 to 4: studies know Optuna's id and name of them; rows that results rest on have digests.

    An attempt that dies says how far its slot was. Attempts of a user's own objective had no worker
    with a heartbeat: they wait again.
    """
    for statement in (
        "ALTER TABLE hpo_attempts ADD COLUMN saved INTEGER",
        "UPDATE hpo_attempts SET state = 'waiting', token = NULL, in_optuna = false "
        "WHERE state = 'running' AND worker NOT LIKE '%\"id\"%'",
        "ALTER TABLE hpo_studies ADD COLUMN optuna_id INTEGER",
        "ALTER TABLE hpo_studies ADD COLUMN optuna_name VARCHAR(512)",
        "ALTER TABLE hpo_studies ADD COLUMN former_name VARCHAR(512)",
        "ALTER TABLE hpo_studies ADD COLUMN digest VARCHAR(64)",
        "ALTER TABLE hpo_results ADD COLUMN digest VARCHAR(64)",
        "ALTER TABLE hpo_results ADD COLUMN curve_digest VARCHAR(64)",
        "ALTER TABLE hpo_curves ADD COLUMN digest VARCHAR(64)",
        "ALTER TABLE hpo_test_looks ADD COLUMN is_complete BOOLEAN DEFAULT true NOT NULL",
        "ALTER TABLE hpo_test_looks ADD COLUMN digest VARCHAR(64)",
    ):
        connection.execute(sa.text(statement))
    if sa.inspect(connection).has_table(tables.rungs.name):  # schema 2 had none
        connection.execute(sa.text("ALTER TABLE hpo_rungs ADD COLUMN digest VARCHAR(64)"))
        digests.seal(connection, tables.rungs, tables.rungs.select())
    digests.seal(connection, tables.studies, tables.studies.select())
    digests.seal(connection, tables.test_looks, tables.test_looks.select())
    curves = tables.curves.c
    for study, cell in connection.execute(sa.select(curves.study, curves.cell).distinct()).all():
        here = sa.and_(curves.study == study, curves.cell == cell)
        query = tables.curves.select().where(here)
        digests.seal(connection, tables.curves, query.order_by(curves.replicate, curves.n_updates))
        _seal_curves(connection, study, cell)
    digests.seal(connection, tables.results, tables.results.select())


def _add_bits_at_rungs(connection: Connection) -> None:
    """4 to 5: which images were right at rungs is a new table; of older rungs nobody knows."""
    del connection


def _add_what_a_fleet_needs(connection: Connection) -> None:
    """5 to 6: attempts know how long they were held, and by which worker; workers, where they idle.

    What is waiting, running or not shown has an index each. Notes of idle workers were leases.
    """
    seconds = sa.Double().compile(connection.dialect)
    there = sa.inspect(connection).get_table_names()
    statements = [
        f"ALTER TABLE hpo_attempts ADD COLUMN seconds {seconds}",
        "ALTER TABLE hpo_attempts ADD COLUMN worker_id VARCHAR(36)",
    ]
    if tables.workers.name in there:  # schema 1 had none
        statements.append("ALTER TABLE hpo_workers ADD COLUMN idle_at VARCHAR(36)")
    if tables.leases.name in there:
        statements.append("DELETE FROM hpo_leases WHERE name LIKE 'idle %'")
    for statement in statements:
        connection.execute(sa.text(statement))
    _name_the_workers(connection)
    for index in sorted(tables.attempts.indexes, key=lambda index: str(index.name)):
        index.create(connection, checkfirst=True)


def _add_a_queue(connection: Connection) -> None:
    """6 to 7: studies have a place in a queue, a new table; workers say what they do, and how fast."""
    if not sa.inspect(connection).has_table(tables.workers.name):  # schema 1 had none
        return
    there = {column["name"] for column in sa.inspect(connection).get_columns("hpo_workers")}
    for name in ("study", "data", "versions", "pace", "work_left", "moved_at"):
        kind = tables.workers.c[name].type.compile(connection.dialect)
        if name not in there:
            connection.execute(sa.text(f"ALTER TABLE hpo_workers ADD COLUMN {name} {kind}"))
    for index in tables.workers.indexes:
        index.create(connection, checkfirst=True)


def _name_the_workers(connection: Connection) -> None:
    """Note whose row belongs to what is running, which only its JSON said."""
    running = tables.attempts.update().where(tables.attempts.c.state == State.RUNNING)
    query = sa.select(tables.attempts.c.worker).where(tables.attempts.c.state == State.RUNNING)
    for text in connection.execute(query.distinct()).scalars().all():
        worker = fleet.identity(text).get("id")
        if isinstance(worker, str):
            mine = running.where(tables.attempts.c.worker == text)
            connection.execute(mine.values(worker_id=worker[:36]))


def _seal_curves(connection: Connection, study: str, cell: int) -> None:
    """Let the results of a cell know the digests of their curves."""
    curves, results = tables.curves.c, tables.results
    query = sa.select(curves.replicate, curves.digest).where(
        curves.study == study, curves.cell == cell
    )
    points: dict[int, list[str]] = {}
    for replicate, digest in connection.execute(query.order_by(curves.n_updates)):
        points.setdefault(replicate, []).append(digest)
    mine = sa.and_(results.c.study == study, results.c.cell == cell)
    update = results.update().where(mine, results.c.replicate == sa.bindparam("of_replicate"))
    connection.execute(
        update.values(curve_digest=sa.bindparam("sealed")),
        [{"of_replicate": r, "sealed": digests.of_curve(p)} for r, p in points.items()],
    )


def _bytes(connection: Connection) -> str:
    return "BYTEA" if connection.dialect.name == "postgresql" else "BLOB"


_STEPS: dict[int, Callable[[Connection], None]] = {
    1: _add_workers_and_checkpoints,
    2: _add_bits_of_looks,
    3: _add_identity_and_digests,
    4: _add_bits_at_rungs,
    5: _add_what_a_fleet_needs,
    6: _add_a_queue,
}
