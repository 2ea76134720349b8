"""The coarse grid, ours against every other way to do it: whole processes, alternating."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from commands import Done, Profile, hpo, peer, profile_of
from goals import Row, at_least, at_most, ratios
from machine import sgemm_peak
from workplace import Images, accuracies_of, fresh_database, url, write_study

CELLS, UPDATES, LOG_POINTS, N_VALIDATION = 8, 3600, 40, 5000
FIRST_LAYER = 3072 * 50  #: multiplications and additions of an image in a product
#: One product forward and one backward for every update, one forward for every evaluation.
FLOP = CELLS * (UPDATES * 2 * 2 * 100 + LOG_POINTS * N_VALIDATION * 2) * FIRST_LAYER
BATCHED = "torch_batched.py"
FUSED = ((BATCHED,), (BATCHED, "--compile"), ("jax_vmap.py",))  #: all in float32
BFLOAT16 = (BATCHED, "--bfloat16")
OPTUNA, NOTEBOOK, SCIKIT_LEARN = "torch_optuna.py", "notebook.py", "sklearn_mlp.py"
FULL = ("--train-metrics", "full")
EPOCH = 1 / 8  #: as a budget: those that are compared differ by whole epochs


@dataclass
class Contest:
    """Times of all sides, by side, in the order of the repetitions."""

    folder: Path
    images: Images
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    profiles: list[Profile] = field(default_factory=list)
    peaks: list[float] = field(default_factory=list)
    accuracies: dict[str, list[float]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def ours(self) -> None:
        """Run the whole coarse grid."""
        database = fresh_database(self.folder)
        done = self._ours("coarse", database)
        self.seconds["hpo"].append(done.seconds)
        self.profiles.append(profile_of(done))
        self.accuracies["hpo"] = accuracies_of(database)

    def ours_at_least_once(self) -> None:
        """Run it unless it was: what a peer that is run once is compared with."""
        if not self.seconds["hpo"]:
            self.ours()

    def ours_full(self) -> None:
        """Run the whole coarse grid, with the training set evaluated at every log point."""
        done = self._ours("coarse", fresh_database(self.folder), "--train-metrics", "full")
        self.seconds["hpo full"].append(done.seconds)

    def ours_full_scaled(self) -> None:
        """Run one of the two cycles, and count its training twice."""
        study = write_study(self.folder, "one-cycle", cells=CELLS, n_s=900, n_cycles=1)
        done = self._ours(study, fresh_database(self.folder), "--train-metrics", "full")
        self.seconds["hpo full"].append(done.seconds + profile_of(done).training)

    def theirs(self, script: str, *options: str) -> None:
        """Run the whole grid of a peer."""
        side = " ".join([script, *options])
        done, answer = peer(script, self.folder, self.images.batches, *options)
        self.seconds[side].append(done.seconds)
        self._note(side, answer)

    def theirs_scaled(self, script: str, budgets: tuple[float, float], *options: str) -> None:
        """Run one cell of a peer twice, and scale the difference to the whole grid.

        So start-up is counted once: t(b) = start + b * whole.
        """
        times = []
        for budget in budgets:
            chosen = ["--cells", "0", "--budget", str(budget), *options]
            done, answer = peer(script, self.folder, self.images.batches, *chosen)
            times.append(done.seconds)
            self.versions |= answer["versions"]
        slope = (times[1] - times[0]) / (budgets[1] - budgets[0])
        seconds = times[0] + slope * (CELLS - budgets[0])
        self.seconds[" ".join([script, *options])].append(seconds)

    def peak(self) -> None:
        """Measure the products of two processes, as the training arranges them."""
        self.peaks.append(sgemm_peak())

    def _ours(self, study: str | Path, database: Path, *options: str) -> Done:
        return hpo(
            self.folder,
            *("run", study, "--storage", url(database), "--data", self.images.spec),
            *("--workers", "2", "--pruner", "none", "--profile", *options),
        )

    def _note(self, side: str, answer: dict[str, Any]) -> None:
        self.accuracies[side] = answer["accuracies"]
        self.versions |= answer["versions"]


def alternate(sides: Sequence[Callable[[], None]], repetitions: int) -> None:
    """Call every side in every repetition, forwards and backwards in turn."""
    for repetition in range(repetitions):
        for side in sides if repetition % 2 == 0 else reversed(sides):
            side()


def against_libraries(contest: Contest, repetitions: int) -> list[Row]:
    """Measure ours, PyTorch with Optuna and the fused peers; and how near the peak ours comes."""
    fused = [lambda side=side: contest.theirs(*side) for side in (*FUSED, BFLOAT16)]
    sides = [contest.ours, contest.peak, lambda: contest.theirs(OPTUNA), *fused]
    alternate(sides, repetitions)
    ours = contest.seconds["hpo"]
    names = [" ".join(side) for side in FUSED]
    best = min(names, key=lambda name: statistics.median(contest.seconds[name]))
    rounded = " ".join(BFLOAT16)
    fractions = [
        FLOP / profile.training / 1e9 / peak
        for profile, peak in zip(contest.profiles, contest.peaks, strict=True)
    ]
    profiles = contest.profiles
    outside = [seconds - p.training for seconds, p in zip(ours, profiles, strict=True)]
    total = {name: sum(p.phases[name] for p in profiles) for name in profiles[0].phases}
    del total["sum"]
    phases = "both workers while both run: " + ", ".join(
        f"{name} {seconds / sum(total.values()):.0%}" for name, seconds in total.items()
    )
    return [
        Row("`hpo run coarse --pruner none`, two workers", None, ours, " s"),
        Row(
            "vs PyTorch + Optuna, one network at a time, two processes",
            at_least(2, "x"),
            ratios(contest.seconds[OPTUNA], ours),
            "x",
            _taking(contest, OPTUNA),
        ),
        Row(
            "vs the best fused peer in float32",
            at_least(1.25, "x"),
            ratios(contest.seconds[best], ours),
            "x",
            ", ".join(f"{_taking(contest, name)} ({name.replace('.py', '')})" for name in names),
        ),
        Row(
            "vs PyTorch batched with autocast to bfloat16, ours in float32",
            None,
            ratios(contest.seconds[rounded], ours),
            "x",
            _taking(contest, rounded),
        ),
        Row(
            "fraction of the sgemm peak, training and evaluation, two workers",
            at_least(80, " %"),
            [100 * fraction for fraction in fractions],
            " %",
            f"peak {statistics.median(contest.peaks):.0f} GFLOP/s",
        ),
        Row("time outside training, warm cache", at_most(1, " s"), outside, " s", phases),
        Row("start to first update", at_most(0.8, " s"), [p.before for p in profiles], " s"),
        Row("last update to exit", at_most(0.1, " s"), [p.after for p in profiles], " s"),
    ]


def against_notebook(contest: Contest, repetitions: int) -> list[Row]:
    """Measure ours against the notebook's algorithm, with and without its training curves."""
    before = len(contest.seconds["hpo"])
    sides = [
        contest.ours,
        lambda: contest.theirs(NOTEBOOK, *FULL),
        contest.ours_full,
        lambda: contest.theirs(NOTEBOOK),
    ]
    alternate(sides, repetitions)
    ours, alike = contest.seconds["hpo"][before:], contest.seconds[NOTEBOOK]
    return [
        *_notebook_rows(contest, ours, ""),
        Row(
            "the same with validation alone on both sides",
            None,
            ratios(alike, ours),
            "x",
            f"{statistics.median(alike):.0f} s",
        ),
    ]


def against_notebook_scaled(contest: Contest) -> list[Row]:
    """Do the same with one cell of the notebook's and one cycle of ours, once."""
    contest.ours_at_least_once()
    contest.theirs_scaled(NOTEBOOK, (EPOCH, 1), *FULL)
    contest.ours_full_scaled()
    return _notebook_rows(contest, contest.seconds["hpo"][-1:], ", scaled from parts")


def _notebook_rows(contest: Contest, ours: list[float], how: str) -> list[Row]:
    own_way, both = contest.seconds[" ".join([NOTEBOOK, *FULL])], contest.seconds["hpo full"]
    return [
        Row(
            "vs the notebook's algorithm, which evaluates the training set at every log point",
            at_least(11, "x"),
            ratios(own_way, ours),
            "x",
            f"{statistics.median(own_way):.0f} s{how}",
        ),
        Row(
            "the same with `--train-metrics full` on both sides",
            at_least(4, "x"),
            ratios(own_way, both),
            "x",
            f"ours {statistics.median(both):.1f} s{how}",
        ),
    ]


def against_scikit_learn(contest: Contest, *, scaled: bool) -> list[Row]:
    """Run scikit-learn's class; for information."""
    contest.ours_at_least_once()
    if scaled:
        contest.theirs_scaled(SCIKIT_LEARN, (EPOCH, 5 * EPOCH))
    else:
        contest.theirs(SCIKIT_LEARN, "--budget", "1")
    [seconds] = [t for side, [t] in contest.seconds.items() if side.startswith(SCIKIT_LEARN)]
    if scaled:
        seconds /= 2  # one cell has one process; two share the grid evenly
    how = ", scaled from parts of one cell" if scaled else ""
    return [
        Row(
            "vs scikit-learn's MLPClassifier, two processes",
            None,
            [seconds / statistics.median(contest.seconds["hpo"])],
            "x",
            f"{seconds:.0f} s{how}",
        )
    ]


def _taking(contest: Contest, side: str) -> str:
    return f"{statistics.median(contest.seconds[side]):.1f} s"
