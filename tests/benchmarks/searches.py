"""Samplers of ``hpo run joint`` side by side: equal budgets, the same seeds, one look at the test images.

    python tests/benchmarks/searches.py FOLDER [--seeds 3] [--samplers curves,tpe] [--budget 300000]

Runs every search and its final training with the `hpo` beside this Python, on the CIFAR-10 that
`$HPO_DATA` names (about 5 minutes a search on two cores). The databases stay in FOLDER, so an
interrupted comparison goes on from there.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev

SCRIPT = Path(sys.executable).with_name("hpo")
COLUMNS = ("sampler", "seed", "cells", "best recipe", "validation", "test", "95 % interval")


def hpo(folder: Path, *arguments: str) -> str:
    """Run a command and return what it printed."""
    done = subprocess.run([SCRIPT, *arguments], cwd=folder, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


def search(folder: Path, sampler: str, seed: int, budget: int) -> tuple[list[str], float, float]:
    """Return a row of the table, the validation accuracy and the test accuracy."""
    storage = ("--storage", f"sqlite:///{sampler}-{seed}.db")
    of_joint = ("--sampler", sampler, "--seed", str(seed), "--budget", str(budget))
    found = hpo(folder, "run", "joint", *of_joint, *storage)
    cells = re.findall(r"(\d+) of \1 done", found)[0]
    recipe = re.findall(r"^Best: (.*)$", found, re.MULTILINE)[0]
    best = hpo(folder, "best", "joint", *storage)
    validation = float(re.findall(r"validation accuracy (0\.\d+)", best)[0])
    of_final = ("--from", "joint", "--seed", str(seed), "--out", f"{sampler}-{seed}-model")
    told = hpo(folder, "run", "final", *of_final, *storage)
    test = float(re.findall(r"^Test accuracy: (.*)$", told, re.MULTILINE)[0])
    interval = re.findall(r"^95 % interval: (0\.\d+ to 0\.\d+)", told, re.MULTILINE)[0]
    row = [sampler, str(seed), cells, recipe, f"{validation:.4f}", f"{test:.4f}", interval]
    return row, validation, test


def main() -> None:
    """Run all of them and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samplers", default="curves,tpe")
    parser.add_argument("--budget", type=int, default=300_000)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    rows, summary = [], []
    accuracies: dict[str, list[tuple[float, float]]] = {}
    for seed in range(asked.seeds):
        for sampler in asked.samplers.split(","):
            row, *measured = search(asked.folder, sampler, seed, asked.budget)
            rows.append(row)
            accuracies.setdefault(sampler, []).append((measured[0], measured[1]))
    for sampler, several in accuracies.items():
        validation, test = zip(*several, strict=True)
        spread = f" (standard deviation {stdev(test):.4f})" if len(test) > 1 else ""
        summary.append(
            f"{sampler}: mean validation {mean(validation):.4f}, mean test {mean(test):.4f}{spread}, "
            f"{len(test)} seeds"
        )
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for row in sorted(rows):
        print(f"| {' | '.join(row)} |")
    print("\n" + "\n".join(summary))


if __name__ == "__main__":
    main()
