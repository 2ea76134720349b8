"""Optuna's dashboard over a stored database, on this machine and only to look at: ``hpo dashboard``.

Three fences keep what is shown as it is: the gate in front of the page (`hpo.commands.gate`), a
storage whose methods refuse to write (`hpo.database.shown_storage`), and a connection that cannot.
"""

import importlib
import socketserver
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from hpo.commands.gate import SAFE, App, Environ, Gate, Respond
from hpo.database.connections import Connection
from hpo.database.patience import be_patient
from hpo.database.reader import Reader
from hpo.database.storage import Storage
from hpo.errors import MissingExtra, PortTaken
from hpo.experiment.records import StoredStudy

if TYPE_CHECKING:
    from hpo.mirror.dashboard_storage import DashboardStorage

HOST = "127.0.0.1"  #: nobody else can reach it; another machine gets there through ssh -L
LONGEST_WAIT = 30  #: seconds for a request to arrive
MOST_TRIALS = 20_000  #: of a study that is shown; 100,000 take 39 s and 900 MB
Notify = Callable[[str], None]


class Server(socketserver.ThreadingMixIn, WSGIServer):
    """Answers requests, each in a thread of its own, until it is interrupted."""

    daemon_threads = True  # who waits for an answer does not hold up Ctrl-C
    block_on_close = False
    allow_reuse_address = True  # a dashboard that was just ended does not keep its port

    def server_bind(self) -> None:
        """Take the port, without asking the network what this machine is called."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that left in the middle of an answer."""


class Handler(WSGIRequestHandler):
    """Reads requests; none is written to the terminal."""

    timeout = LONGEST_WAIT

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(
    url: str,
    port: int,
    notify: Notify,
    *,
    allow_edit: bool = False,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """Open a database and take a port; what is yielded answers as long as it is told to.

    Args:
        port: 0 for one that is free.
        allow_edit: Let the dashboard write, as Optuna's own does.
        environ: The environment, for HPO_DATA and HPO_CACHE; nothing of it is read if None.

    Raises:
        StorageError: There is no database, or it is not one of ours.
        MissingExtra: optuna-dashboard is not installed.
        PortTaken: It is somebody else's.
    """
    wsgi = _dashboard()
    reader = Reader(url, notify=notify)
    try:
        server = _bound(port)
        try:
            if allow_edit:
                with Storage(url, makes=False, notify=notify) as storage:
                    be_patient(storage.optuna.engine)
                    app = wsgi(storage.optuna)
                    yield _showing(server, app, storage.optuna, notify)
            else:
                server.set_app(gated(reader, server.server_port, notify, environ or {}))
                yield server
        finally:
            server.server_close()
    finally:
        reader.close()


def serve(
    url: str,
    port: int,
    notify: Notify,
    *,
    allow_edit: bool = False,
    environ: Mapping[str, str] | None = None,
) -> None:
    """Show the dashboard until somebody interrupts this process; arguments as in `serving`.

    Raises:
        HpoError: As `serving`.
    """
    notify("Opening the dashboard ...")
    with serving(url, port, notify, allow_edit=allow_edit, environ=environ) as server:
        how = "it can edit what is stored" if allow_edit else "nothing can be changed there"
        notify(f"The dashboard is at http://{HOST}:{server.server_port}/ ({how}). Ctrl-C ends it.")
        server.serve_forever()


def _dashboard() -> Callable[..., App]:
    """Return what makes the page."""
    try:
        module = importlib.import_module("optuna_dashboard")
    except ImportError as error:
        raise MissingExtra("The dashboard", "dashboard") from error
    found: Callable[..., App] = module.wsgi
    return found


def _shown(
    reader: Reader, wsgi: Callable[..., App], environ: Mapping[str, str]
) -> "tuple[App, DashboardStorage]":
    """Return the page, and what it reads."""
    from hpo.commands.artifacts import Artifacts, names
    from hpo.database import shown_storage  # with Optuna
    from hpo.mirror.dashboard_storage import DashboardStorage, Remarks
    from hpo.views import remarks

    def said(connection: Connection, study: StoredStudy) -> Remarks:
        files = names(connection, study, environ)
        return replace(remarks.of_study(connection, study), files=files)

    storage = DashboardStorage(shown_storage.opened(reader), reader, said)
    return wsgi(storage, artifact_store=Artifacts(storage, reader, environ)), storage


def gated(reader: Reader, port: int, notify: Notify, environ: Mapping[str, str]) -> App:
    """Return the page with its gate for somebody else's server; without the extra, what says so."""
    try:
        app, storage = _shown(reader, _dashboard(), environ)
    except MissingExtra as error:
        told = str(error)

        def unavailable(_: Environ, respond: Respond) -> list[bytes]:
            respond("404 Not Found", [("Content-Type", "text/plain; charset=utf-8"), *SAFE])
            return [told.encode()]

        return Gate(unavailable, port)
    return Gate(
        app,
        port,
        notify=notify,
        after=storage.remove_session,
        too_large=lambda study_id: _too_large(storage.n_trials(study_id)),
    )


def _too_large(n_trials: int) -> str | None:
    if n_trials <= MOST_TRIALS:
        return None
    return (
        f"This study has {n_trials:,} trials; more than {MOST_TRIALS:,} take a browser too long. "
        "`hpo report`, `hpo plot` and `hpo export` show it."
    )


def _bound(port: int) -> Server:
    try:
        return Server((HOST, port), Handler)
    except OSError as error:
        raise PortTaken(port, (error.strerror or str(error)).lower()) from error


def _showing(
    server: Server,
    app: App,
    storage: Any,
    notify: Notify,
) -> Server:
    after = storage.remove_session
    server.set_app(Gate(app, server.server_port, allow_edit=True, notify=notify, after=after))
    return server
