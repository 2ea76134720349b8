"""Searches side by side on the table: what the recipe that each chooses lacks, for the same updates.

    python -m tests.benchmarks.regret.compare [--full] [--repetitions N] [--budgets 150000,300000]
                                              [--methods joint,Sobol] [--keep FOLDER]

`make bench-search` runs it. Repetition r has the same luck with every recipe in every method, so
differences are paired. Methods run in two processes, ours in the environment of this Python, peers in
`.venv-search-peers`; a peer that cannot be imported there is named and left out.
"""

import argparse
import json
import math
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[3]
PEERS = ROOT / ".venv-search-peers" / "bin" / "python"
BUDGETS = (150_000, 300_000, 600_000, 1_200_000)
JOINT = "joint"
BEFORE = "joint of before (TPE, pruner none, race of 4 with 30 %)"
GOAL_OF_BEFORE = 0.62  #: at 300,000: times the regret of `BEFORE`
#: Methods by the module that has them.
OURS = {
    "ours": (
        JOINT,
        "joint, judged by 10,000 images",
        BEFORE,
        "joint, by TPE",
        "random, halved as joint",
        "Sobol, halved as joint",
    )
}
THEIRS = {
    "optunas": (
        "Optuna TPE",
        "Optuna TPE, median",
        "Optuna TPE, successive halving",
        "Optuna TPE, Hyperband",
        "Optuna GP",
        "Optuna CMA-ES, median",
        "random",
        "Sobol",
    ),
    "syne_tunes": ("Syne Tune ASHA", "Syne Tune BOHB"),
    "dehbs": ("DEHB",),
    "smacs": ("SMAC3 multi-fidelity",),
}
SLOW = {"Optuna GP": 300_000, "SMAC3 multi-fidelity": 300_000}  #: budgets up to which they run
SLOWER = 2  #: times fewer repetitions of those that are slow
PART = 10  #: repetitions in a process


@dataclass(frozen=True)
class Job:
    """Repetitions of one method with one budget."""

    module: str
    method: str
    budget: int
    first: int
    last: int

    def run(self, keep: Path | None) -> tuple["Job", list[list[float]] | str]:
        """Return regret and updates of every repetition, or what went wrong."""
        name = re.sub(r"\W+", "-", self.method)
        kept = keep and keep / f"{name}-{self.budget}-{self.first}-{self.last}.json"
        if kept and kept.is_file():
            return self, json.loads(kept.read_text())
        python = sys.executable if self.module in OURS else str(PEERS)
        told = map(str, (self.module, self.method, self.budget, self.first, self.last))
        command = [python, "-m", "tests.benchmarks.regret.one", *told]
        try:
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        except OSError as error:
            return self, str(error)
        if done.returncode:
            return self, (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        if kept:
            kept.write_text(done.stdout)
        return self, json.loads(done.stdout.splitlines()[-1])


@dataclass(frozen=True)
class Measured:
    """The repetitions of one method with one budget."""

    regret: np.ndarray
    spent: np.ndarray

    def in_words(self) -> str:
        """Return mean and standard error."""
        return _with_error(self.regret)


Table = Mapping[tuple[str, int], Measured]


def _with_error(values: np.ndarray, sign: str = "") -> str:
    error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{values.mean():{sign}.3f} ± {error:.3f}"


def measured(
    methods: Sequence[str], budgets: Sequence[int], n: int, keep: Path | None = None
) -> tuple[Table, dict[str, str]]:
    """Run all, two processes at a time; return what they came to, and what could not run."""
    modules = {m: module for module, known in (OURS | THEIRS).items() for m in known}
    wanted = {method: max(2, n // SLOWER) if method in SLOW else n for method in methods}
    jobs = [
        Job(modules[method], method, budget, first, min(first + PART, wanted[method]))
        for budget in budgets
        for method in methods
        if budget <= SLOW.get(method, budget)
        for first in range(0, wanted[method], PART)
    ]
    found: dict[tuple[str, int], dict[int, list[list[float]]]] = {}
    failed: dict[str, str] = {}
    with ThreadPoolExecutor(2) as pool:
        for job, answers in pool.map(lambda job: job.run(keep), jobs):
            print(f"{job.method}, {job.budget:,}, {job.last}", file=sys.stderr)
            if isinstance(answers, str):
                failed[job.method] = answers
            else:
                found.setdefault((job.method, job.budget), {})[job.first] = answers
    table = {}
    for key, parts in found.items():
        rows = np.array([row for first in sorted(parts) for row in parts[first]])
        if key[0] not in failed:
            table[key] = Measured(rows[:, 0], rows[:, 1])
    return table, failed


def shown(table: Table, methods: Sequence[str], budgets: Sequence[int]) -> str:
    """Return regrets, and how far each method is behind `joint` by pairs, as Markdown."""
    head = f"| method | {' | '.join(f'{budget:,}' for budget in budgets)} |"
    rule = f"|---|{'---|' * len(budgets)}"
    regrets, behind = [head, rule], [head, rule]
    for method in methods:
        cells = [table.get((method, budget)) for budget in budgets]
        if not any(cells):
            continue
        label = f"{method} ({SLOWER} times fewer)" if method in SLOW else method
        regrets.append(f"| {label} | {' | '.join(c.in_words() if c else '' for c in cells)} |")
        if method != JOINT and any((JOINT, budget) in table for budget in budgets):
            told = [_behind(table, method, budget) for budget in budgets]
            behind.append(f"| {method} | {' | '.join(told)} |")
    title = "Behind `joint`, by pairs (** by two standard errors, !! ahead of it by as many):"
    return "\n".join([*regrets, "", title, "", *behind])


def _behind(table: Table, method: str, budget: int) -> str:
    mine, theirs = table.get((JOINT, budget)), table.get((method, budget))
    if mine is None or theirs is None:
        return ""
    n = min(len(theirs.regret), len(mine.regret))
    difference = theirs.regret[:n] - mine.regret[:n]
    error = difference.std(ddof=1) / math.sqrt(len(difference))
    mark = (
        " **" if difference.mean() > 2 * error else " !!" if difference.mean() < -2 * error else ""
    )
    return _with_error(difference, "+") + mark


def conclusions(table: Table, budgets: Sequence[int]) -> list[str]:
    """Return what is to be said of the goals and of the budget."""
    told = []
    if (JOINT, 300_000) in table and (BEFORE, 300_000) in table:
        share = table[JOINT, 300_000].regret.mean() / table[BEFORE, 300_000].regret.mean()
        met = "met" if share <= GOAL_OF_BEFORE else "MISSED"
        told.append(
            f"Regret of joint at 300,000: {share:.2f} of that of before "
            f"({met}: at most {GOAL_OF_BEFORE})"
        )
    for budget in budgets:
        if (JOINT, budget) in table:
            spent = table[JOINT, budget].spent / budget
            told.append(
                f"joint spends {spent.mean():.1%} of {budget:,} updates on average, "
                f"{spent.min():.1%} at least"
            )
    return told


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="200 repetitions at all budgets")
    parser.add_argument("--quick", action="store_true", help="24 at two budgets, as without --full")
    parser.add_argument("--repetitions", type=int)
    parser.add_argument("--budgets", help="in updates, with commas between them")
    parser.add_argument("--methods", help="some of the rows, with semicolons between them")
    parser.add_argument("--keep", type=Path, help="where repetitions are kept, to go on from")
    asked = parser.parse_args()
    budgets = BUDGETS if asked.full else BUDGETS[:2]
    if asked.budgets:
        budgets = tuple(map(int, asked.budgets.split(",")))
    methods = [method for known in (OURS | THEIRS).values() for method in known]
    if asked.methods:
        methods = asked.methods.split(";")
    elif not asked.full:
        methods = [method for method in methods if method not in SLOW]
    if asked.keep:
        asked.keep.mkdir(parents=True, exist_ok=True)
    n = asked.repetitions or (200 if asked.full else 24)
    table, failed = measured(methods, budgets, n, asked.keep)
    print(f"Regret in points of true accuracy, mean and standard error of {n} repetitions:\n")
    print(shown(table, methods, budgets), "\n")
    print("\n".join(conclusions(table, budgets)))
    for method, why in failed.items():
        print(f"{method} is left out: {why}")


if __name__ == "__main__":
    main()
