"""PostgreSQL: how it is connected to, also through a pooler, and how tables are made there.

A pooler gives each transaction any connection, so nothing is asked for at the start of a session
and nothing is left in one: limits are set in each transaction, statements are not prepared, locks
end with their transaction.
"""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError

from hpo.database import optuna_schema
from hpo.database.locations import shown
from hpo.database.sqlite_file import LOCK_WAIT
from hpo.database.waiting import Wait
from hpo.errors import StorageError

#: What a connection has unless its URL says otherwise. By the last four (TCP only) we know half a
#: minute after a server vanished that it did; by the system's own, after a quarter to two hours.
CONNECTION = {
    "connect_timeout": 10,
    "client_encoding": "utf8",
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,  # milliseconds
}
OPEN_FOR = 15.0  #: seconds that we wait for a server that does not answer at the start
OPENING = 0x68706F  #: key of the lock under which tables are made
OPENING_FOR = 60  #: seconds after which the server frees that lock from a process that stands still
GIVEN_UP_AFTER = 180.0  #: seconds that we wait for the lock
MADE_ALREADY = ("23505", "42P07", "42710")  #: codes for a row, a table, a type that is there
STANDS_FOR = 3600  #: the same of one that only reads, and waits for another database
IDLE_FOR = 30  #: seconds after which a transaction that stands still is ended by the server


def options(url: str) -> dict[str, Any]:
    """Return what engines for ``url`` are made with."""
    asked = sa.make_url(url).query
    arguments: dict[str, Any] = {"prepare_threshold": None}
    arguments |= {name: value for name, value in CONNECTION.items() if name not in asked}
    return {"pool_pre_ping": True, "connect_args": arguments}


def limit(engine: Engine) -> None:
    """Let each transaction wait for a lock in short turns, and not stand still for ever.

    So a signal is answered meanwhile, and a process that was suspended in the middle of a
    transaction does not hold up the others.
    """
    text = (
        f"select set_config('lock_timeout', '{int(1000 * LOCK_WAIT)}ms', true), "
        f"set_config('idle_in_transaction_session_timeout', '{IDLE_FOR}s', true)"
    )

    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(
            text
        )  # not a cursor of the driver's: its errors are known as such

    event.listen(engine, "begin", begun)


def may_stand_still(connection: Connection) -> None:
    """Let the transaction of a connection, which only reads, stand still for long."""
    if connection.dialect.name == "postgresql":
        text = "select set_config('idle_in_transaction_session_timeout', '{}s', true)"
        connection.execute(sa.text(text.format(STANDS_FOR)))


def make_tables(
    engine: Engine, url: str, stop: Callable[[], bool], notify: Callable[[str], None]
) -> None:
    """Make Optuna's tables unless they are there; of several that would make them, one does.

    Raises:
        StorageError: The database cannot be reached, or not be written to.
        Interrupted: ``stop`` said so.
    """
    wait = Wait(url, stop, notify, away_for=OPEN_FOR)
    while True:
        try:
            with engine.begin() as connection:
                if optuna_schema.are_made(connection, shown(url)):
                    return
                if _have_lock(connection, url):  # perhaps only now, after who has made them
                    if not optuna_schema.are_made(connection, shown(url)):
                        optuna_schema.make(connection, shown(url))
                    return
        except ImportError:
            raise
        except Exception as error:
            if not _is_made_meanwhile(error):
                wait.after(error)
                continue
        if wait.seconds > GIVEN_UP_AFTER:
            raise StorageError(
                f"Another process has been making tables in {shown(url)} for {GIVEN_UP_AFTER:.0f} "
                "seconds. End it, or its transaction, and run the same command again."
            )
        wait.held(lambda: "another process that opens it")


def _is_made_meanwhile(error: Exception) -> bool:
    """Tell whether Optuna itself, which knows nothing of our lock, made what we were about to make."""
    original = error.orig if isinstance(error, DBAPIError) else None
    return getattr(original, "sqlstate", None) in MADE_ALREADY


def _have_lock(connection: Connection, url: str) -> bool:
    """Try to get the lock, which is held as long as the transaction; look at what we deal with."""
    connection.execute(
        sa.text(f"select set_config('idle_in_transaction_session_timeout', '{OPENING_FOR}s', true)")
    )
    encoding = connection.execute(sa.text("show server_encoding")).scalar_one()
    if encoding != "UTF8":
        raise StorageError(
            f"{shown(url)} stores text as {encoding}; hpo needs UTF8. Make another one, for example "
            "with createdb -E UTF8 -T template0."
        )
    query = sa.text(f"select pg_try_advisory_xact_lock({OPENING})")
    return bool(connection.execute(query).scalar_one())
