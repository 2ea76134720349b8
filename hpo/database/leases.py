"""Leases: a named lock that is a row, taken and given back in short transactions of its own.

A holder renews its lease with a heartbeat. One that dies leaves it to whoever notices first: at once
where its process is surely gone (`hpo.machine.process`); soon when it misses its heartbeat and seems to be
gone, or when the lease has expired; else when it was seen without a heartbeat for as long as a lease
lasts. What is seen is measured on the observer's own clock, so that a step of the database's clock
neither locks a name nor gives it away. What a lease protects must be sound without it too; it only
keeps processes from doing the same work at once.
"""

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from hpo.database import batches, fleet, rows
from hpo.database.storage import Interrupted, Storage
from hpo.database.tables import leases
from hpo.errors import HpoError
from hpo.machine import process
from hpo.machine.process import this_worker
from hpo.machine.sightings import Sightings

DURATION = 60.0  #: seconds
#: Seconds beyond its end after which a lease is swept unwatched. If the database's clock was set by
#: so much, its holder takes it again with its next beat.
ABANDONED = 86400.0
PAUSE = 0.05  #: seconds between two tries
PATIENCE = 3.0  #: seconds of waiting after which it is said for whom
_wanted_here: set[str] = set()  #: tokens of this process; its other leases were left behind
_renewed = Sightings()


@contextmanager
def held(storage: Storage, name: str) -> Iterator[Callable[[], None]]:
    """Wait for the lease ``name`` and hold it for the time of a block.

    What the block gets is to be called now and then by work that takes long: if the lease was lost,
    because this process was stopped for long, it waits for it again.

    Raises:
        Interrupted: The storage's ``stop`` said so.
    """
    with _wanted() as token:
        _wait_for(storage, name, token)
        with _kept(storage, name, token) as renew:
            yield renew


@contextmanager
def tried(storage: Storage, name: str) -> Iterator[Callable[[], None] | None]:
    """Do the same if nobody holds the lease; else the block gets nothing, and there is no wait."""
    with _wanted() as token:
        holder = storage.write(lambda connection: _take(connection, name, token))
        if holder is None or holder.token != token:
            yield None
            return
        with _kept(storage, name, token) as renew:
            yield renew


@contextmanager
def _wanted() -> Iterator[str]:
    token = str(uuid.uuid4())
    _wanted_here.add(token)
    try:
        yield token
    finally:
        _wanted_here.discard(token)


@contextmanager
def _kept(storage: Storage, name: str, token: str) -> Iterator[Callable[[], None]]:
    """Keep a lease that was taken, with a heartbeat, until the block ends."""
    over = threading.Event()
    heart = threading.Thread(target=_beat, args=(storage, name, token, over), daemon=True)
    heart.start()
    seen = time.monotonic()

    def renew() -> None:
        nonlocal seen
        if time.monotonic() - seen > fleet.BEAT:
            _wait_for(storage, name, token)
            seen = time.monotonic()

    try:
        yield renew
    finally:
        over.set()
        heart.join(timeout=1)
        storage.finish(lambda connection: _release(connection, name, token))


def is_held(connection: Connection, name: str) -> bool:
    """Tell whether somebody holds the lease ``name``."""
    row = connection.execute(leases.select().where(leases.c.name == name)).one_or_none()
    return row is not None and not _is_free(row, rows.now(connection))


def _wait_for(storage: Storage, name: str, token: str) -> None:
    began = time.monotonic()
    is_told = False
    while True:
        holder = storage.write(lambda connection: _take(connection, name, token))
        if holder is not None and holder.token == token:
            return
        if storage.stop():
            raise Interrupted
        if holder and not is_told and time.monotonic() - began > PATIENCE:
            is_told = True
            storage.notify(_waiting(holder))
        time.sleep(PAUSE)


def _waiting(holder: Row[Any]) -> str:
    who = fleet.identity(holder.holder)
    return (
        f"Waiting for process {who.get('pid')} on {who.get('host')}, which plans or opens studies here. "
        f"If it is not heard of, this goes on in {DURATION:.0f} s at the latest."
    )


def _beat(storage: Storage, name: str, token: str, over: threading.Event) -> None:
    while not over.wait(fleet.BEAT):
        try:
            storage.finish(lambda connection: over.is_set() or _take(connection, name, token))
        except (HpoError, Interrupted, OSError):
            continue  # the next beat may get through


def sweep(connection: Connection) -> None:
    """Delete the leases that nobody holds any more, or for whose name nobody ever came again."""
    moment = rows.now(connection)
    over = [
        {"n": row.name, "t": row.token}
        for row in connection.execute(leases.select().order_by(leases.c.name))
        if _is_free(row, moment) or abs(moment - fleet.number(row.expires_at)) > ABANDONED
    ]
    if over:
        this = sa.and_(leases.c.name == sa.bindparam("n"), leases.c.token == sa.bindparam("t"))
        connection.execute(leases.delete().where(this), over)


def _take(connection: Connection, name: str, token: str) -> Row[Any] | None:
    """Take or renew the lease, if that can be; return its row as it is then."""
    moment = rows.now(connection)
    query = leases.select().where(leases.c.name == name).with_for_update()
    row = connection.execute(query).one_or_none()
    values = {
        "token": token,
        "holder": json.dumps(this_worker()),
        "expires_at": moment + DURATION,
    }
    if row is None:
        batches.insert_missing(connection, leases, [{"name": name, **values}])
    elif row.token == token or _is_free(row, moment):
        connection.execute(leases.update().where(leases.c.name == name).values(**values))
    return connection.execute(leases.select().where(leases.c.name == name)).one_or_none()


def _is_free(row: Row[Any], moment: float) -> bool:
    """Tell whether nobody holds a lease any more, although its row is there."""
    holder = fleet.identity(row.holder)
    if process.is_surely_gone(holder):
        return True
    if holder == this_worker():
        return row.token not in _wanted_here | fleet.present
    expires_at = fleet.number(row.expires_at)
    unheard = _renewed.unchanged_for(f"{row.name} {row.token}", expires_at)
    is_in_time = moment <= expires_at <= moment + DURATION + 1.0
    seems_free = process.is_gone(holder) or not is_in_time
    return unheard > (fleet.patience_of(fleet.GRACE) if seems_free else DURATION)


def _release(connection: Connection, name: str, token: str) -> None:
    connection.execute(leases.delete().where(leases.c.name == name, leases.c.token == token))
