"""What a service says of itself and its database to machines: ``/healthz``, ``/readyz``, ``/metrics``."""

import importlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from hpo.commands.gate import SAFE, App, Environ, Respond
from hpo.database import fleet, rows, tally
from hpo.database.connections import Connection
from hpo.database.reader import Reader
from hpo.errors import MissingExtra
from hpo.mirror import identity

TEXT = "text/plain; charset=utf-8"
STALLED = 60.0  #: seconds after which a main loop that did not come round is said to hang
Facts = tuple[dict[str, str], dict[str, dict[str, int]], list[fleet.WorkerRow]]


class Pulse:
    """That the main loop comes round, and who is kept."""

    def __init__(self) -> None:
        self.at = time.monotonic()
        self.n_alive = self.n_starts = self.n_wanted = 0

    def beat(self, n_alive: int, n_starts: int) -> None:
        """Come round."""
        self.at, self.n_alive, self.n_starts = time.monotonic(), n_alive, n_starts


class Probes:
    """A WSGI application that answers the three, and hands everything else on."""

    def __init__(
        self, reader: Reader, pulse: Pulse, other: App, hosts: Collection[str] | None
    ) -> None:
        """Stand before ``other``.

        Args:
            hosts: Names under which they may be asked; any if None.
        """
        self._reader, self._pulse, self._other = reader, pulse, other
        self._hosts = hosts
        self._metrics = _metrics(reader, pulse)
        self._answers: dict[str, Callable[[], tuple[str, str, bytes]]] = {
            "/healthz": self._health,
            "/readyz": self._ready,
            "/metrics": lambda: ("200 OK", *self._metrics()),
        }

    def __call__(self, environ: Environ, respond: Respond) -> Iterable[bytes]:
        """Answer a request."""
        answer = self._answers.get(environ.get("PATH_INFO", ""))
        if answer is None or environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return self._other(environ, respond)
        host = str(environ.get("HTTP_HOST", "")).lower()
        if self._hosts is not None and host not in self._hosts:
            return self._other(environ, respond)  # which refuses it
        status, kind, body = answer()
        headers = [("Content-Type", kind), ("Content-Length", str(len(body))), *SAFE]
        respond(status, headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _health(self) -> tuple[str, str, bytes]:
        late = time.monotonic() - self._pulse.at
        if late > STALLED:
            return "503 Service Unavailable", TEXT, f"stalled for {late:.0f} s\n".encode()
        return "200 OK", TEXT, b"alive\n"

    def _ready(self) -> tuple[str, str, bytes]:
        try:
            self._reader.read(rows.now)
        except Exception as error:
            told = f"the database does not answer: {type(error).__name__}\n"
            return "503 Service Unavailable", TEXT, told.encode()
        if self._pulse.n_wanted and not self._pulse.n_alive:
            return "503 Service Unavailable", TEXT, b"no worker is running\n"
        return "200 OK", TEXT, b"ready\n"


def _metrics(reader: Reader, pulse: Pulse) -> Callable[[], tuple[str, bytes]]:
    """Return what tells the metrics in the format of Prometheus."""
    try:
        client = importlib.import_module("prometheus_client")
        core = importlib.import_module("prometheus_client.core")
    except ImportError as error:
        raise MissingExtra("`hpo serve`", "serve") from error
    registry = client.CollectorRegistry()
    registry.register(_Collector(reader, pulse, core))

    def told() -> tuple[str, bytes]:
        return client.CONTENT_TYPE_LATEST, client.generate_latest(registry)

    return told


class _Collector:
    """Reads the database once a scrape."""

    def __init__(self, reader: Reader, pulse: Pulse, core: Any) -> None:
        self._reader, self._pulse, self._core = reader, pulse, core

    def collect(self) -> Iterator[Any]:
        """Yield a family of metrics each."""
        gauge = self._core.GaugeMetricFamily
        try:
            names, counts, workers = self._reader.read(_facts)
        except Exception:  # a database that is away is what this tells
            names, counts, workers = {}, {}, []
            yield gauge("hpo_database_up", "Whether the database answers.", value=0)
        else:
            yield gauge("hpo_database_up", "Whether the database answers.", value=1)
        trials = gauge("hpo_trials", "Trials by study and state.", labels=["study", "state"])
        for uuid, states in counts.items():
            for state, n in states.items():
                trials.add_metric([names.get(uuid, uuid), state], n)
        yield trials
        heard = gauge("hpo_workers", "Workers of the database.", labels=["state"])
        n_alive = sum(worker.is_timely for worker in workers)
        heard.add_metric(["alive"], n_alive)
        heard.add_metric(["silent"], len(workers) - n_alive)
        yield heard
        oldest = max((worker.silent_for for worker in workers if worker.is_timely), default=0.0)
        yield gauge("hpo_oldest_heartbeat_seconds", "Of workers that live.", value=max(0.0, oldest))
        yield gauge("hpo_kept_workers", "Workers of this service.", value=self._pulse.n_alive)
        starts = self._core.CounterMetricFamily("hpo_worker_starts", "Workers started here.")
        starts.add_metric([], self._pulse.n_starts)
        yield starts


def _facts(connection: Connection) -> Facts:
    names = {standing.uuid: standing.name for standing in identity.survey(connection)}
    return names, tally.counts_by_study(connection), fleet.living(connection)
