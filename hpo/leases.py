"""Leases: a named lock that is a row, taken and given back in short transactions of its own.

A holder that dies leaves the lease to whoever notices first: at once on the same host, else when
it expires on the database's clock. What a lease protects must be sound without it too; it only
keeps processes from doing the same work at once.
"""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Row

from hpo import rows
from hpo.hosts import is_dead, this_worker
from hpo.storage import Interrupted, Storage
from hpo.tables import leases

DURATION = 60.0  #: seconds
PAUSE = 0.05  #: seconds between two tries
_wanted_here: set[str] = set()  #: tokens of this process; its other leases were left behind


@contextmanager
def held(storage: Storage, name: str) -> Iterator[Callable[[], None]]:
    """Wait for the lease ``name`` and hold it for the time of a block.

    What the block gets is to be called now and then by work that takes long: it renews the lease.

    Raises:
        Interrupted: The storage's ``stop`` said so.
    """
    token = str(uuid.uuid4())
    _wanted_here.add(token)
    try:
        while not storage.write(lambda connection: _take(connection, name, token)):
            if storage.stop():
                raise Interrupted
            time.sleep(PAUSE)
        renewed = time.monotonic()

        def renew() -> None:
            nonlocal renewed
            if time.monotonic() - renewed > DURATION / 4:
                storage.write(lambda connection: _take(connection, name, token))
                renewed = time.monotonic()

        try:
            yield renew
        finally:
            storage.finish(lambda connection: _release(connection, name, token))
    finally:
        _wanted_here.discard(token)


def is_held(connection: Connection, name: str) -> bool:
    """Tell whether somebody holds the lease ``name``."""
    row = connection.execute(leases.select().where(leases.c.name == name)).one_or_none()
    return row is not None and not _is_free(row, rows.now(connection))


def _take(connection: Connection, name: str, token: str) -> bool:
    moment = rows.now(connection)
    query = leases.select().where(leases.c.name == name).with_for_update()
    row = connection.execute(query).one_or_none()
    values = {
        "token": token,
        "holder": json.dumps(this_worker()),
        "expires_at": moment + DURATION,
    }
    if row is None:
        connection.execute(_insert_unless_there(connection, name, values))
    elif row.token == token or _is_free(row, moment):
        connection.execute(leases.update().where(leases.c.name == name).values(**values))
    row = connection.execute(leases.select().where(leases.c.name == name)).one_or_none()
    return row is not None and row.token == token


def _is_free(row: Row[Any], moment: float) -> bool:
    """Tell whether nobody holds a lease any more, although its row is there."""
    holder = json.loads(row.holder)
    left_behind = holder == this_worker() and row.token not in _wanted_here
    return row.expires_at < moment or left_behind or is_dead(holder)


def _insert_unless_there(connection: Connection, name: str, values: dict[str, object]):  # type: ignore[no-untyped-def]
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
    return insert(leases).values(name=name, **values).on_conflict_do_nothing()


def _release(connection: Connection, name: str, token: str) -> None:
    connection.execute(leases.delete().where(leases.c.name == name, leases.c.token == token))
