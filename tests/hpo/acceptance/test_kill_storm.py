"""Workers and the process that started them are killed again and again; nothing may be lost.

The processes, the signals and the databases are real. While the storm lasts, the last checkpoint
of every cell is looked at: it never goes back.
"""

import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa

from hpo.database import outcomes, rows, tables
from hpo.database.reader import Reader, read_once
from hpo.experiment.records import Slot
from hpo.mirror.study import stored
from hpo.views.export import to_json
from tests.hpo import poolers

pytestmark = pytest.mark.long
pooled = poolers.pooled

SCRIPT = Path(sys.executable).with_name("hpo")
LOOK = 0.1  #: seconds between two looks at the checkpoints

DIGITS = """
from hpo.definition.study import StudyDefinition
from hpo.definition.grids import Logarithmic

STUDY = StudyDefinition(
    name="storm", grid=Logarithmic(-5, -1, {n_cells}), n_s={n_s}, n_cycles={n_cycles}, batch_size=100
)
"""


@dataclass
class Storm:
    """Runs one command until its study is done, and kills what runs at random moments."""

    command: list[str | Path]
    url: str
    study: str
    folder: Path
    rng: random.Random
    n_updates: int  #: of all cells together
    longest: float  #: seconds between two kills at most, but
    lull: int  #: after so many kills the next one waits until something more is saved
    n_kills: int = 0
    n_parents_killed: int = 0
    n_gave_up: int = 0
    furthest: dict[Slot, int] = field(default_factory=dict)  #: update by slot, as last seen
    at_last_kill: int = 0  #: the sum of it when the storm ended
    _next_lull: int = 2
    _reader: Reader | None = None

    def rage(self, n_kills: int, limit: float) -> str:
        """Kill so many processes, then let the run end; return what it printed."""
        end = time.monotonic() + limit
        while True:
            with (self.folder / "out").open("w+") as out, (self.folder / "err").open("a+") as err:
                process = subprocess.Popen(self.command, cwd=self.folder, stdout=out, stderr=err)
                try:
                    while process.poll() is None:
                        assert time.monotonic() < end, f"not done after {self.n_kills} kills"
                        if self.n_kills >= n_kills:
                            self._watch(LOOK)
                            continue
                        was_lull = self.n_kills >= self._next_lull
                        if was_lull:
                            self._watch_until_more_is_saved(process)
                        enough = self.at_last_kill + self.n_updates / (2 * n_kills)
                        self._watch(self.rng.uniform(0.05, self.longest), enough)
                        if process.poll() is None:  # it may have been killed just before
                            self._next_lull += self.lull * was_lull
                            self._kill(psutil.Process(process.pid), was_lull)
                        self.at_last_kill = sum(self.furthest.values())
                finally:
                    process.kill()
                    process.wait()
            told = (self.folder / "err").read_text()
            assert "Traceback" not in told, told
            if process.returncode == 0:
                assert self.n_kills >= n_kills, "the study was done before the storm was over"
                return (self.folder / "out").read_text()
            if (
                process.returncode == 1
            ):  # many deaths in a row: a sentence, and the next run goes on
                assert "keep dying" in told.splitlines()[-1]
                self.n_gave_up += 1
            else:
                assert process.returncode == -signal.SIGKILL

    def _kill(self, parent: psutil.Process, in_training: bool) -> None:
        """Kill the parent, or one of its workers, or all of them, if there are any yet."""
        workers = workers_of(parent)
        one = [self.rng.choice(workers)] if workers else []
        choices = [one, workers] if in_training else [[parent], one, workers, workers]
        for victim in self.rng.choice(choices):
            with suppress(psutil.NoSuchProcess):
                victim.kill()
                self.n_kills += 1
                self.n_parents_killed += victim == parent

    def _watch(self, seconds: float, enough: float = float("inf")) -> None:
        """Look at the checkpoints for some time, or until so many updates are saved."""
        end = time.monotonic() + seconds
        while True:
            for slot, n_updates in self._standing().items():
                before = self.furthest.get(slot, 0)
                assert n_updates >= before, f"{slot} went from {before} back to {n_updates}"
                self.furthest[slot] = n_updates
            rest = end - time.monotonic()
            if rest <= 0 or sum(self.furthest.values()) >= enough:
                return
            time.sleep(min(LOOK, rest))

    def _watch_until_more_is_saved(self, process: "subprocess.Popen[bytes]") -> None:
        before = sum(self.furthest.values())
        while sum(self.furthest.values()) == before and process.poll() is None:
            self._watch(LOOK)

    def _standing(self) -> dict[Slot, int]:
        """Return the last update of every slot that is kept: its checkpoint's or its result's."""
        if self._reader is None:
            try:
                self._reader = Reader(self.url)
            except Exception:  # not made yet, or half
                return {}
        return self._reader.read(lambda connection: standing(connection, self.study))

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()


def standing(connection: sa.Connection, name: str) -> dict[Slot, int]:
    found: dict[Slot, int] = {}
    for study in rows.studies_by_name(connection, name):
        # Results are asked for last: when a cell ends, its checkpoint may go and its result comes.
        for table in (tables.checkpoints, tables.results):
            query = sa.select(table.c.cell, table.c.replicate, table.c.n_updates)
            mine = query.where(table.c.study == study.uuid)
            for cell, replicate, n_updates in connection.execute(mine):
                slot = Slot(cell, replicate)
                found[slot] = max(found.get(slot, 0), n_updates)
    return found


def workers_of(parent: psutil.Process) -> list[psutil.Process]:
    """Return the worker processes among the children, oldest first."""
    found = []
    for child in parent.children():
        try:
            if any("hpo.workers.member" in word for word in child.cmdline()):
                found.append(child)
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def hpo(folder: Path, *arguments: str | Path) -> str:
    done = subprocess.run(
        [SCRIPT, *arguments], cwd=folder, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def without_storage(shown: str) -> str:
    """Return what was printed without the name of the database in its hints."""
    return re.sub(r" --storage (?:'[^']*'|[^\s`]+)", "", shown)


def export(url: str, study: str) -> str:
    return read_once(url, lambda connection: to_json(connection, stored(connection, study)))


def every_cell_has_one_counted_result(url: str, study: str, n_cells: int) -> None:
    """Look at our rows, and at Optuna's: one live trial a cell, and a failed one for each death."""

    def look(connection: sa.Connection) -> tuple[list[int], Counter[str], Counter[str]]:
        uuid = stored(connection, study).uuid
        cells = [result.slot.cell for result in outcomes.results_of(connection, uuid)]
        ours = Counter(attempt.state for attempt in rows.attempts_of(connection, uuid))
        shown = Counter(connection.execute(sa.text("select state from trials")).scalars())
        return cells, ours, shown

    cells, ours, shown = read_once(url, look)
    assert cells == list(range(n_cells))
    assert ours == Counter(ended=n_cells, failed=ours["failed"])
    assert shown == Counter(COMPLETE=n_cells, FAIL=ours["failed"])
    assert ours["failed"] > 0  # the kills met trials that were running


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((4, 80, 20, 5), id="small"),
        pytest.param((24, 150, 28, 30), id="24-cells", marks=pytest.mark.long),
    ],
)
def size(request: pytest.FixtureRequest) -> tuple[int, int, int, int]:
    """Cells, n_s, cycles and kills."""
    found: tuple[int, int, int, int] = request.param
    return found


@pytest.fixture(scope="module")
def quiet(
    size: tuple[int, int, int, int], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """The study file, and the export of a run with one worker that nothing disturbed."""
    n_cells, n_s, n_cycles, _ = size
    folder = tmp_path_factory.mktemp("quiet")
    file = folder / "storm.py"
    file.write_text(DIGITS.format(n_cells=n_cells, n_s=n_s, n_cycles=n_cycles))
    url = f"sqlite:///{folder / 'quiet.db'}"
    hpo(folder, "run", file, "--data", "digits", "--storage", url, "--workers", "1")
    return file, export(url, "storm-digits")


@pytest.mark.parametrize("seed", [20261123])
def test_a_study_whose_workers_are_killed_all_the_time_ends_as_if_nothing_had_happened(
    url: str,
    size: tuple[int, int, int, int],
    quiet: tuple[Path, str],
    tmp_path: Path,
    seed: int,
) -> None:
    survive(url, size, quiet, tmp_path, seed)


def test_so_does_one_behind_a_pooler_of_transactions(
    pooled: str, size: tuple[int, int, int, int], quiet: tuple[Path, str], tmp_path: Path
) -> None:
    survive(pooled, size, quiet, tmp_path, 20261128)


def survive(
    url: str,
    size: tuple[int, int, int, int],
    quiet: tuple[Path, str],
    tmp_path: Path,
    seed: int,
) -> None:
    file, undisturbed = quiet
    run = ["run", file, "--data", "digits", "--storage", url, "--workers", "2"]
    n_cells, n_s, n_cycles, n_kills = size
    rng = random.Random(seed)
    n_updates = n_cells * n_cycles * 2 * n_s
    storm = Storm(
        [SCRIPT, *run], url, "storm-digits", tmp_path, rng, n_updates, longest=2.5, lull=4
    )

    began = time.monotonic()
    with closing(storm):
        table = storm.rage(n_kills, limit=200)
    print(
        f"{storm.n_kills} kills ({storm.n_parents_killed} of them parents, gave up "
        f"{storm.n_gave_up} times) in {time.monotonic() - began:.0f} s; "
        f"{storm.at_last_kill / n_updates:.0%} was done at the last kill"
    )

    assert storm.at_last_kill > 0  # what was done between kills was kept
    assert export(url, "storm-digits") == undisturbed
    every_cell_has_one_counted_result(url, "storm-digits", n_cells)
    assert hpo(tmp_path, *run) == table  # a plain run finds nothing to train, and no dead worker
    assert "Everything is sound." in hpo(tmp_path, "doctor", "--storage", url)


SPACE = """
from hpo.definition.study import StudyDefinition
from hpo.definition.ranges import Real, WholeEpochs
from hpo.definition.spaces import Space

STUDY = StudyDefinition(
    name="search",
    space=Space(
        lambda_=Real(1e-4, 1e-1, logarithmic=True),
        eta_max=Real(0.05, 0.3),
        n_s=WholeEpochs(2, 6),
        normalisation=("image", "feature"),
        budget=24_000,
        width=6,
    ),
    n_cycles=10,
)
"""


def test_a_search_whose_workers_are_killed_proposes_what_it_would_have_proposed(
    url: str, tmp_path: Path
) -> None:
    file = tmp_path / "search.py"
    file.write_text(SPACE)
    name, run = "search-digits", ["run", file, "--data", "digits", "--storage"]
    quiet = f"sqlite:///{tmp_path / 'quiet.db'}"
    shown = hpo(tmp_path, *run, quiet, "--workers", "1")
    command: list[str | Path] = [SCRIPT, *run, url, "--workers", "2"]
    storm = Storm(command, url, name, tmp_path, random.Random(5), 24_000, longest=1.5, lull=3)

    with closing(storm):
        table = storm.rage(10, limit=200)
    print(f"{storm.n_kills} kills, {storm.n_parents_killed} of them parents")

    assert storm.at_last_kill > 0
    assert without_storage(table) == without_storage(shown)
    assert export(url, name) == export(quiet, name)
    stored_now = read_once(url, lambda connection: stored(connection, name))
    shown_states = read_once(
        url, lambda c: Counter(c.execute(sa.text("select state from trials")).scalars())
    )
    n_shown = shown_states["COMPLETE"] + shown_states["PRUNED"]
    assert n_shown == stored_now.experiment.n_slots
    assert shown_states["PRUNED"] > shown_states["COMPLETE"]  # of six, five are cut
    assert "Everything is sound." in hpo(tmp_path, "doctor", "--storage", url)


@pytest.mark.long
def test_the_coarse_study_on_cifar10_survives_kills_with_the_same_bits(
    cifar10_folder: Path, tmp_path: Path
) -> None:
    quiet, url = (f"sqlite:///{tmp_path / name}.db" for name in ("quiet", "storm"))
    run = ["run", "coarse", "--pruner", "none", "--data", cifar10_folder, "--storage"]
    shown = hpo(tmp_path, *run, quiet, "--workers", "1")
    command: list[str | Path] = [SCRIPT, *run, url, "--workers", "2"]
    rng = random.Random(7)
    storm = Storm(command, url, "coarse", tmp_path, rng, 8 * 3600, longest=1.0, lull=4)

    with closing(storm):
        table = storm.rage(10, limit=180)
    print(f"{storm.n_kills} kills, {storm.n_parents_killed} of them parents")

    assert storm.at_last_kill > 0
    assert export(url, "coarse") == export(quiet, "coarse")
    assert table == shown
    every_cell_has_one_counted_result(url, "coarse", 8)
    assert hpo(tmp_path, *run, url) == table
    assert "Everything is sound." in hpo(tmp_path, "doctor", "--storage", url)
