"""How long Optuna waits for a lock, whose transactions nobody tries again."""

from typing import Any

from sqlalchemy import Connection, Engine, event

PATIENCE = 60  #: seconds


def be_patient(engine: Engine) -> None:
    """Let the database wait for a lock as long as we would; for an engine of Optuna's own.

    Without it Optuna waits as briefly as we do between two looks at a signal, and then gives up.
    """
    is_sqlite = engine.dialect.name == "sqlite"
    moment, listener = ("checkout", _checked_out) if is_sqlite else ("begin", _begun)
    if not event.contains(engine, moment, listener):  # several samplers may share an engine
        event.listen(engine, moment, listener)


def _checked_out(connection: Any, *_: object) -> None:
    connection.execute(f"PRAGMA busy_timeout={1000 * PATIENCE}")


def _begun(connection: Connection) -> None:
    connection.exec_driver_sql(f"select set_config('lock_timeout', '{PATIENCE}s', true)")
