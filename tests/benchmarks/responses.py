"""How long a user waits for a command: help, status, and the notebook's figures."""

from pathlib import Path

from commands import hpo
from goals import MeasureFailed, Row, at_most
from workplace import Images, fresh_database, times_of_trials, url, write_study

REPETITIONS = 5
N_TRIALS = 1000


def help_and_status(folder: Path, database: Path | None) -> list[Row]:
    """Measure both, five times; ``database`` holds a study of 1,000 trials if there is one."""
    if database is None:
        database = fresh_database(folder)
        study = write_study(folder, "thousand", cells=N_TRIALS, n_s=10, n_cycles=1)
        hpo(folder, "run", study, "--data", "digits", "--storage", url(database), "--workers", "2")
    _, ends = times_of_trials(database)
    if len(ends) != N_TRIALS:
        raise MeasureFailed(f"the study for `hpo status` has {len(ends)} trials, not {N_TRIALS}")
    waits: dict[str, list[float]] = {"help": [], "status": []}
    for _ in range(REPETITIONS):
        waits["help"].append(hpo(folder, "--help").seconds)
        waits["status"].append(hpo(folder, "status", "--storage", url(database)).seconds)
    return [
        Row("`hpo --help`", at_most(0.3, " s"), waits["help"], " s"),
        Row(
            f"`hpo status`, a study of {N_TRIALS:,} trials",
            at_most(1, " s"),
            waits["status"],
            " s",
        ),
    ]


def reproduction(folder: Path, images: Images, *, left_out: bool) -> list[Row]:
    """Measure ``hpo reproduce`` from nothing; it fails unless every figure matches."""
    measure, goal = "`hpo reproduce`, every figure matching", at_most(240, " s")
    if left_out:
        return [Row(measure, goal, missing="in `make bench-full` only")]
    if not images.are_cifar10:
        return [Row(measure, goal, missing="needs CIFAR-10")]
    workdir = folder / "reproduce"
    done = hpo(folder, "reproduce", "--workdir", workdir, "--data", images.spec)
    return [Row(measure, goal, [done.seconds], " s")]
