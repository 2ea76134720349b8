"""How ours scales: with the width of a stack, with workers, with trials; and what memory it takes."""

import json
import statistics
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from commands import HPO, hpo, profile_of, whole
from goals import MeasureFailed, Row, at_least, at_most
from memory import peak_memory
from workplace import Images, fresh_database, times_of_trials, url, write_study

SLACK = 1.02  #: a width may take this much of the time of the one before and still count as falling


@dataclass(frozen=True)
class Size:
    """How much is done to measure something."""

    #: Repetitions of all stack widths, and updates of each.
    width_repetitions: int
    width_updates: int
    #: Repetitions of one worker against two, and updates of each network.
    worker_repetitions: int
    worker_updates: int
    #: Trials of the study that is all overhead, and repetitions.
    n_trials: int
    trial_repetitions: int


QUICK = Size(3, 30, 1, 360, 10_000, 1)
FULL = Size(15, 90, 3, 1200, 10_000, 3)


def stack_widths(folder: Path, images: Images, size: Size) -> list[Row]:
    """Measure the time of an update and network at every width."""
    script = Path(__file__).with_name("stack_width.py")
    arguments = [images.spec, str(size.width_repetitions), str(size.width_updates)]
    done = whole([sys.executable, script, *arguments], folder)
    found: dict[int, list[float]] = {int(k): v for k, v in json.loads(done.out).items()}
    medians = {width: statistics.median(times) for width, times in found.items()}
    rising = [
        f"{wide} is slower than {narrow}"
        for narrow, wide in pairwise(medians)
        if medians[wide] > SLACK * medians[narrow]
    ]
    gains = [one / wide for one, wide in zip(found[1], found[16], strict=True)]
    curve = ", ".join(f"{width}: {time:.3f}" for width, time in medians.items())
    return [
        Row(
            "stack width 16 vs width 1, time a network; falling steadily",
            at_least(1.35, "x"),
            gains,
            "x",
            f"ms an update and network at width {curve}",
            ", ".join(rising),
        )
    ]


def workers(folder: Path, images: Images, size: Size) -> list[Row]:
    """Measure the training time of 32 cells with one worker and with two, alternating."""
    n_s = size.worker_updates // 2
    share = 5000 * n_s // 900  # fewer images to evaluate, as an evaluation follows fewer updates
    study = write_study(folder, "workers", cells=32, n_s=n_s, n_cycles=1, n_validation=share)
    seconds: dict[str, list[float]] = {"1": [], "2": []}
    for repetition in range(size.worker_repetitions):
        for n in "12" if repetition % 2 == 0 else "21":
            storage = url(fresh_database(folder))
            what = ["--data", images.spec, "--storage", storage, "--workers", n]
            done = hpo(folder, "run", study, *what, "--profile")
            seconds[n].append(profile_of(done).training)
    gains = [one / two for one, two in zip(seconds["1"], seconds["2"], strict=True)]
    note = f"{size.worker_updates} updates, " + " and ".join(
        f"{statistics.median(times):.1f} s" for times in seconds.values()
    )
    return [Row("workers 1 to 2, 32 cells, width 16", at_least(1.85, "x"), gains, "x", note)]


def memory(folder: Path, images: Images) -> list[Row]:
    """Measure the memory of two workers with a stack of 16 each."""
    study = write_study(folder, "memory", cells=32, n_s=40, n_cycles=2)
    what = ["--data", images.spec, "--storage", url(fresh_database(folder)), "--workers", "2"]
    peak = peak_memory([HPO, "run", study, *what], folder)
    return [
        Row(
            "private memory of a worker, stack width 16",
            at_most(400, " MB"),
            [peak.private / 1e6],
            " MB",
            "USS, largest seen",
        ),
        Row(
            "memory of a run with two workers",
            at_most(1200, " MB"),
            [peak.whole / 1e6],
            " MB",
            "PSS of all processes, largest seen",
        ),
    ]


def overhead(folder: Path, size: Size) -> tuple[list[Row], Path]:
    """Measure a study of many tiny trials; return also its database."""
    n = size.n_trials
    study = write_study(folder, "many", cells=n, n_s=10, n_cycles=1)
    overheads, slowdowns, walls = [], [], []
    database, half = folder, write_study(folder, "half-as-many", cells=n // 2, n_s=10, n_cycles=1)
    peaks = {}
    for cells, file in ((n // 2, half), (n, study)):
        what = ["--data", "digits", "--storage", url(fresh_database(folder)), "--workers", "2"]
        peaks[cells] = peak_memory([HPO, "run", file, *what], folder).whole / 1e6
    for _ in range(size.trial_repetitions):
        database = fresh_database(folder)
        what = ["--data", "digits", "--storage", url(database), "--workers", "2"]
        done = hpo(folder, "run", study, *what, "--profile")
        training = profile_of(done).worker_seconds
        overheads.append(1e3 * (2 * done.seconds - training) / n)
        slowdowns.append(_slowdown(database, n))
        walls.append(done.seconds)
    note = f"{n:,} trials in {statistics.median(walls):.1f} s"
    return [
        Row(
            "overhead a trial, `digits`, tiny budget, two workers, SQLite",
            at_most(15, " ms"),
            overheads,
            " ms",
            note,
        ),
        Row(
            "the last fifth of these trials vs the first",
            at_most(1.1, "x"),
            slowdowns,
            "x",
            "time from the end of one fifth to the end of the next",
        ),
        Row(
            f"memory of these {n:,} trials vs half as many",
            at_most(1.2, "x"),
            [peaks[n] / peaks[n // 2]],
            "x",
            f"PSS of all processes, largest seen, {peaks[n]:.0f} MB",
        ),
    ], database


def _slowdown(database: Path, n: int) -> float:
    """Return the time of the last fifth of the trials divided by that of the first."""
    first, ends = times_of_trials(database)
    if len(ends) != n:
        raise MeasureFailed(f"{len(ends)} of {n} trials ended")
    fifth = n // 5
    return (ends[-1] - ends[-1 - fifth]) / (ends[fifth - 1] - first)
