"""Studies copied from one database into another, on SQLite or PostgreSQL."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from uuid import uuid4

from hpo.database import leases, queue, rows
from hpo.database.connections import Connection
from hpo.database.locations import DEFAULT_STORAGE
from hpo.database.reader import read_once
from hpo.database.storage import Interrupted, Storage
from hpo.errors import HpoError, StudyDeleted, StudyNotFound
from hpo.mirror import copying, deleting
from hpo.mirror import study as studies
from hpo.planning.plan import plan

GIVEN_BACK_IN = 10.0  #: seconds that workers have to give back what is moved


def copy(
    names: Sequence[str],
    to: str,
    *,
    storage: str = DEFAULT_STORAGE,
    move: bool = False,
    stop: Callable[[], bool] = lambda: False,
    notify: Callable[[str], None] = lambda _: None,
) -> dict[str, int]:
    """Copy studies whole, with all that they rest on; return how many rows of each.

    Each one is read at one moment. Of one that is there already nothing is copied. After a kill the
    same command begins that study anew.

    Args:
        to: SQLAlchemy URL of the other database, which is made if it is not there.
        move: Call each study off here before it is copied, and delete it here if it is what was
            copied still; its looks at the test images go on counting here, too.
        notify: Is told whom a long wait is for.

    Raises:
        StudyNotFound: There is none of a name.
        HpoError: As `hpo.mirror.copying.copy`.
    """
    uuids = read_once(
        storage, lambda c: {name: studies.stored(c, name).uuid for name in names}, stop, notify
    )
    found = {}
    with Storage(to, stop, notify=notify) as target:
        if not move:
            for name, uuid in uuids.items():
                found[name] = _copied(name, uuid, storage, target).n_new
            return found
        _refuse_itself(storage, target, stop)
        with Storage(storage, stop, makes=False, notify=notify) as here:
            for name, uuid in uuids.items():
                with _called_off(here, uuid):
                    copied = _copied(name, uuid, storage, target)
                    deleting.delete_if(here, uuid, copied.check)  # the copy is on the disk by now
                found[name] = copied.n_new
    return found


def _copied(name: str, uuid: str, storage: str, target: Storage) -> copying.Copied:
    """Copy one study, and have its trials shown there."""

    def carry(connection: Connection) -> copying.Copied:
        study = studies.stored(connection, name)
        if study.uuid != uuid:
            raise StudyDeleted(name)
        return copying.copy(connection, study, target)

    copied = read_once(storage, carry, target.stop, target.notify)
    made = studies.by_uuid(target, uuid)
    if made is None:  # deleted just now
        raise StudyNotFound(copied.name, studies.names(target))
    plan(made)
    if copied.n_new:
        target.write(partial(copying.set_times, study=uuid))
    return copied


@contextmanager
def _called_off(here: Storage, uuid: str) -> Iterator[None]:
    """Let nobody train a study within the block; if that fails, whoever did may go on."""
    was = here.read(lambda connection: queue.place(connection, uuid)).is_cancelled
    here.write(lambda connection: queue.cancel(connection, uuid))
    try:
        end = time.monotonic() + GIVEN_BACK_IN
        while here.read(lambda c: copying.held(c, uuid)) and time.monotonic() < end:
            if here.stop():
                raise Interrupted
            time.sleep(0.1)
        yield
    except BaseException:
        if not was:
            here.finish(lambda connection: _renew(connection, uuid))
        raise


def _renew(connection: Connection, uuid: str) -> None:
    if rows.study_by_uuid(connection, uuid) is not None:
        queue.renew(connection, uuid)


def _refuse_itself(storage: str, target: Storage, stop: Callable[[], bool]) -> None:
    """Refuse to move studies to where they are, by whatever address that goes."""
    name = f"move {uuid4()}"
    source = Storage(storage, stop, makes=False, notify=target.notify)
    with source as here, leases.held(here, name):
        if target.read(lambda connection: leases.is_held(connection, name)):
            raise HpoError(
                "--to names the very database that the studies are in. Name another one."
            )
