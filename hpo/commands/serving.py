"""A service on one machine: workers that are kept, a janitor, pages and probes: ``hpo serve``.

The main loop keeps the workers; pages are answered by threads of their own, from a connection that
cannot write. Whatever ends the process, its workers end with it, and what they held goes on elsewhere.
"""

import errno
import importlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from hpo.commands import dashboard
from hpo.commands.gate import App, Environ, Respond, hosts_of
from hpo.commands.keeping import Keeper, Watch
from hpo.commands.probes import Probes, Pulse
from hpo.database.reader import Reader
from hpo.database.storage import Interrupted, Storage
from hpo.errors import HostUnknown, HpoError, MissingExtra, PortTaken
from hpo.machine.logs import FORMATS, logger, note
from hpo.machine.supervisor import Supervisor
from hpo.planning import janitor

LOCAL = ("127.0.0.1", "localhost", "::1")
LOOK = 0.5  #: seconds between two turns of the main loop
TIDY_EVERY = 10.0  #: seconds between two turns of the janitor
TIDIES_FOR = 5.0  #: seconds that it waits for a database; meanwhile nobody looks after workers


class _Hurry:
    """A wish to stop, which the janitor has also when its time is up."""

    def __init__(self, stop: Callable[[], bool]) -> None:
        self.stop = stop
        self._until: float | None = None

    def __call__(self) -> bool:
        return self.stop() or (self._until is not None and time.monotonic() > self._until)

    def __enter__(self) -> None:
        self._until = time.monotonic() + TIDIES_FOR

    def __exit__(self, *_: object) -> None:
        self._until = None


def serve(
    watch: Watch,
    n_workers: int,
    host: str,
    port: int,
    stop: Callable[[], bool],
    log_format: str | None,
    environ: Mapping[str, str],
) -> None:
    """Keep workers and answer requests until ``stop`` says so; then let the workers give back.

    Args:
        host: Address to listen at; anything but this machine's own lets others read the probes, and
            nobody else the dashboard.
        port: 0 for one that is free.
        log_format: One of `hpo.machine.logs.FORMATS`; None for text on a terminal, else JSON.

    Raises:
        HpoError: There is no such format.
        StorageError: The database cannot be opened.
        MissingExtra: What serves is not installed.
        HostUnknown: It is no address of this machine.
        PortTaken: It is somebody else's.
    """
    form = log_format or ("text" if sys.stderr.isatty() else "json")
    if form not in FORMATS:
        raise HpoError(f"--log-format must be text or json, got {form!r}.")
    supervisor, log = Supervisor(environ), logger(form)

    def warn(text: str) -> None:
        note(log, "warning", logging.WARNING, text=text)

    hurry = _Hurry(stop)
    with Storage(watch.url, hurry, notify=warn) as storage:
        pulse = Pulse()
        pulse.n_wanted = n_workers
        with _pages(watch.url, host, port, pulse, environ, warn) as where:
            keeper = Keeper(watch, n_workers, lambda *told: _heard(log, *told))
            keeper.look(0.0)
            pulse.beat(keeper.n_alive, keeper.n_starts)
            note(log, "ready", address=f"http://{where}/", workers=n_workers)
            supervisor.tell("READY=1")
            try:
                _loop(keeper, storage, pulse, supervisor, hurry, log)
            finally:
                supervisor.tell("STOPPING=1")
                note(log, "draining", workers=keeper.n_alive)
                keeper.drain()
                note(log, "ended")


def _loop(
    keeper: Keeper,
    storage: Storage,
    pulse: Pulse,
    supervisor: Supervisor,
    hurry: "_Hurry",
    log: logging.Logger,
) -> None:
    tidied = told = time.monotonic()
    while not hurry.stop():
        keeper.look(LOOK)
        pulse.beat(keeper.n_alive, keeper.n_starts)
        now = time.monotonic()
        if supervisor.every and now - told > supervisor.every:
            told = now
            supervisor.tell("WATCHDOG=1")
        if now - tidied > TIDY_EVERY:
            tidied = now
            with hurry:
                _tidy(storage, log)


def _tidy(storage: Storage, log: logging.Logger) -> None:
    try:
        for name in janitor.tidy(storage):
            note(log, "freed", study=name)
    except Interrupted:
        pass
    except HpoError as error:  # the database is away; the next turn may find it
        note(log, "database", logging.WARNING, text=str(error))


def _heard(log: logging.Logger, place: int, kind: str, told: tuple[Any, ...]) -> None:
    """Write down what happened in a worker."""
    if kind == "started":
        note(log, "worker started", place=place, pid=told[0])
    elif kind == "left":
        note(log, "worker left", place=place, status=told[0])
    elif kind == "died":
        status, pause = told
        note(log, "worker died", logging.WARNING, place=place, status=status, again_in=pause)
    elif kind == "began":
        note(log, "study", place=place, study=told[0])
    elif kind == "claimed":
        note(log, "claimed", place=place, cells=told[0], update=told[1])
    elif kind == "ended":
        slot, outcome, value = told
        facts = {"cell": slot.cell, "replicate": slot.replicate}
        note(log, "trial", place=place, **facts, outcome=str(outcome), value=value)
    elif kind in ("warn", "error", "stumbled"):
        note(log, "warning", logging.WARNING, place=place, text=told[0])


@contextmanager
def _pages(
    url: str,
    host: str,
    port: int,
    pulse: Pulse,
    environ: Mapping[str, str],
    warn: Callable[[str], None],
) -> Iterator[str]:
    """Answer requests in threads until the block ends; what is yielded is where."""
    try:
        waitress = importlib.import_module("waitress.server")
    except ImportError as error:
        raise MissingExtra("`hpo serve`", "serve") from error
    site, reader = _Site(), Reader(url, notify=warn)
    try:
        try:
            server = waitress.create_server(
                site,
                host="127.0.0.1" if host == "localhost" else host,  # which may have two addresses
                port=port,
                threads=8,
                ident=None,
                clear_untrusted_proxy_headers=True,
            )
        except (ValueError, OSError) as error:  # waitress hides what is wrong with a name
            if isinstance(error, ValueError) or error.errno == errno.EADDRNOTAVAIL:
                raise HostUnknown(host) from error
            raise PortTaken(port, (error.strerror or str(error)).lower()) from error
        taken = getattr(server, "effective_port", None) or server.effective_listen[0][1]
        pages = dashboard.gated(reader, taken, warn, environ)
        site.app = Probes(reader, pulse, pages, hosts_of(taken) if host in LOCAL else None)
        thread = threading.Thread(target=server.run, name="pages", daemon=True)
        thread.start()
        try:
            yield f"{host}:{taken}"
        finally:
            server.close()
    finally:
        reader.close()


class _Site:
    """The application, which is made when its port is known."""

    app: App

    def __call__(self, environ: Environ, respond: Respond) -> Iterable[bytes]:
        """Answer a request."""
        return self.app(environ, respond)
