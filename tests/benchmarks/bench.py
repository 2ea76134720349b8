"""Measure ours against every other way to do the search, and against its goals.

    make bench           about 6 minutes: one repetition, the slowest peers scaled from parts
    make bench-full      about half an hour

Whole processes from start to exit on both sides, each with its own import, load and compile, on
the same images, alternating. Goals that are missed are shown as missed; the exit status is 0
unless something could not be measured.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import capacities
import report
import responses
from commands import hpo, import_peers, tell
from contests import (
    Contest,
    against_libraries,
    against_notebook,
    against_notebook_scaled,
    against_scikit_learn,
)
from goals import MeasureFailed, Row
from machine import facts, sharing
from workplace import find_images, fresh_database, url, write_study


@dataclass(frozen=True)
class Plan:
    """What is measured how often."""

    quick: bool
    library_repetitions: int
    notebook_repetitions: int
    size: capacities.Size


QUICK = Plan(True, 1, 1, capacities.QUICK)
FULL = Plan(False, 5, 2, capacities.FULL)


def measures(contest: Contest, plan: Plan) -> list[tuple[str, Callable[[], list[Row]]]]:
    """Return every measure with its name, in the order in which they are made."""
    folder, images, size = contest.folder, contest.images, plan.size
    many: list[Path] = []

    def notebook() -> list[Row]:
        if plan.quick:
            return against_notebook_scaled(contest)
        return against_notebook(contest, plan.notebook_repetitions)

    def overhead() -> list[Row]:
        rows, database = capacities.overhead(folder, size)
        many.append(database)
        return rows

    def waits() -> list[Row]:
        has_them = many and size.n_trials == responses.N_TRIALS
        return responses.of_many_trials(folder, many[0] if has_them else None)

    return [
        ("warm-up", lambda: warm_up(contest)),
        ("libraries", lambda: against_libraries(contest, plan.library_repetitions)),
        ("notebook", notebook),
        ("scikit-learn", lambda: against_scikit_learn(contest, scaled=plan.quick)),
        ("stack width", lambda: capacities.stack_widths(folder, images, size)),
        ("workers", lambda: capacities.workers(folder, images, size)),
        ("memory", lambda: capacities.memory(folder, images)),
        ("overhead", overhead),
        ("waits", waits),
        ("finished", lambda: responses.finished(folder, images)),
        ("reproduce", lambda: responses.reproduction(folder, images, left_out=plan.quick)),
    ]


def warm_up(contest: Contest) -> list[Row]:
    """Fill the caches of images and libraries with runs that are not measured."""
    import_peers(contest.folder)
    study = write_study(contest.folder, "warm", cells=2, n_s=10, n_cycles=1)
    storage = url(fresh_database(contest.folder))
    hpo(contest.folder, "run", study, "--data", contest.images.spec, "--storage", storage)
    return []


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="about 6 minutes")
    parser.add_argument("--out", type=Path, default=Path("bench-results"), help="folder of results")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="these measures alone")
    options = parser.parse_args()
    plan = QUICK if options.quick else FULL
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="hpo-bench-") as name:
        folder = Path(name)
        contest = Contest(folder, find_images(folder))
        tell(f"Images: {contest.images.said}")
        rows = []
        for measure, make in measures(contest, plan):
            if options.only and measure not in ("warm-up", *options.only):
                continue
            tell(f"-- {measure}")
            try:
                rows += make()
            except MeasureFailed as error:
                rows.append(Row(measure, None, missing=str(error), failed=True))
    about = facts() | contest.versions | {"images": contest.images.said}
    if contest.peaks:
        about["sgemm peak"] = f"{median(contest.peaks):.0f} GFLOP/s, two processes, one thread each"
        about["cores"] += f", {sharing()}"
    mode, minutes = "quick" if plan.quick else "full", (time.perf_counter() - began) / 60
    about["mode"] = f"{mode}, {minutes:.1f} minutes, {time.strftime('%Y-%m-%d %H:%M')}"
    print(report.text(rows, about, contest.accuracies))
    written = report.write(
        options.out,
        mode,
        md=report.markdown(rows, about, contest.accuracies),
        json=report.as_json(rows, about, contest.accuracies, contest.seconds),
    )
    tell("Written: " + ", ".join(map(str, written)))
    return int(any(row.failed for row in rows))


if __name__ == "__main__":
    sys.exit(main())
