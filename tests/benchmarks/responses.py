"""How long a user waits for a command: of many trials, of a finished study, of the notebook's figures."""

from pathlib import Path

from commands import hpo
from goals import MeasureFailed, Row, at_most
from workplace import Images, fresh_database, times_of_trials, url, write_study

REPETITIONS = 5
N_TRIALS = 10_000
LONG = 2.0  #: seconds that nobody should wait for what is stored


def of_many_trials(folder: Path, database: Path | None) -> list[Row]:
    """Measure what looks into a study of 10,000 trials; ``database`` holds one if there is one."""
    if database is None:
        database = fresh_database(folder)
        study = write_study(folder, "many", cells=N_TRIALS, n_s=10, n_cycles=1)
        hpo(folder, "run", study, "--data", "digits", "--storage", url(database), "--workers", "2")
    _, ends = times_of_trials(database)
    if len(ends) != N_TRIALS:
        raise MeasureFailed(f"the study of many trials has {len(ends)}, not {N_TRIALS}")
    asked = [
        ("status",),
        ("best", "many-digits"),
        ("export", "many-digits"),
        ("plot", "many-digits", "lambda"),
        ("doctor",),
    ]
    waits: dict[str, list[float]] = {"--help": []} | {" ".join(what): [] for what in asked}
    for _ in range(REPETITIONS):
        waits["--help"].append(hpo(folder, "--help").seconds)
        for what in asked:
            done = hpo(folder, *what, "--storage", url(database))
            waits[" ".join(what)].append(done.seconds)
    return [
        Row(
            f"`hpo {what}`" + ("" if what == "--help" else f", {N_TRIALS:,} trials"),
            at_most(0.3 if what == "--help" else LONG, " s"),
            seconds,
            " s",
        )
        for what, seconds in waits.items()
    ]


def finished(folder: Path, images: Images) -> list[Row]:
    """Measure `hpo run` of a study that is finished, which compares its images all the same."""
    study = write_study(folder, "done", cells=8, n_s=10, n_cycles=1)
    command = ["run", study, "--data", images.spec, "--storage", url(fresh_database(folder))]
    hpo(folder, *command)
    waits = [hpo(folder, *command).seconds for _ in range(REPETITIONS)]
    return [Row("`hpo run` of a finished study, warm cache", at_most(0.5, " s"), waits, " s")]


def reproduction(folder: Path, images: Images, *, left_out: bool) -> list[Row]:
    """Measure ``hpo reproduce`` from nothing; it fails unless every figure matches."""
    measure, goal = "`hpo reproduce`, every figure matching", at_most(160, " s")
    if left_out:
        return [Row(measure, goal, missing="in `make bench-full` only")]
    if not images.are_cifar10:
        return [Row(measure, goal, missing="needs CIFAR-10")]
    workdir = folder / "reproduce"
    done = hpo(folder, "reproduce", "--workdir", workdir, "--data", images.spec)
    return [Row(measure, goal, [done.seconds], " s")]
