"""Train the recipes of the table: real networks on CIFAR-10 with fewer images, at every cycle end.

    nice .venv/bin/python -m tests.benchmarks.table.make [--out FILE]

320 recipes of the space of studies/joint.py (a scrambled Sobol sequence), each with the seed of its
stack, and some of them with several seeds, are trained for three cycles on 20,000 images of the CIFAR-10
that `$HPO_DATA` names, with the product's own stacks. What is kept is how many of twice 5,000 validation
images each network had right at the ends of its cycles; no image, no label.

n_s stays in epochs, so an update here stands for 2.25 of the real search, which has 45,000 training images.
1.1 million updates; at 520 a second they took half an hour on two cores that others used as well.
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read when NumPy is imported, so it comes first

import argparse
import time
from dataclasses import dataclass
from functools import cache
from multiprocessing import Pool
from pathlib import Path

import numpy as np

from hpo.data.sources import resolve
from hpo.search.candidates import Parameters, at
from model.data import Dataset
from model.normalisation import Inputs, Normalisation, feature_statistics
from model.order import StandardRandomness
from model.schedule import Cyclic
from model.training import Batches, Examination, TrainingConfig, build_stack, train
from studies.joint import STUDY
from tests.benchmarks.table.surface import REPEATED_FROM

FILE = Path(__file__).with_name("results.npz")
N_RECIPES = 320
N_REPEATED, N_SEEDS = 8, 4  #: recipes of each kind of inputs that have so many seeds more
N_TRAINING, N_PARTS, PART = 20_000, 2, 5_000  #: images: the first 10,000 validate
PER_EPOCH = N_TRAINING // STUDY.batch_size
WIDTH = 16
SEED = 11  #: of the Sobol sequence
Row = tuple[int, int, np.ndarray]  #: recipe, replicate, and (cycles, parts) images that were right


@dataclass(frozen=True)
class Task:
    """A stack: recipes that see the same mini-batches, by their numbers, and their replicate."""

    recipes: tuple[int, ...]
    replicate: int


@dataclass(frozen=True, kw_only=True)
class AtCycleEnds(Cyclic):
    """The product's schedule, with a value at the end of a cycle only."""

    def is_log_point(self, n_done: int) -> bool:
        """Tell whether a cycle ends after so many updates."""
        return self.cycle_end(n_done) is not None


def recipes() -> list[Parameters]:
    """Return all recipes, with n_s in updates of the table."""
    from scipy.stats.qmc import Sobol

    if STUDY.space is None:
        raise ValueError("studies/joint.py searches no space")
    dimensions = STUDY.space.dimensions(PER_EPOCH)
    points = Sobol(len(dimensions), rng=np.random.default_rng(SEED)).random(512)[:N_RECIPES]
    return [at(dimensions, point.tolist()) for point in points]


def tasks(known: list[Parameters]) -> list[Task]:
    """Return the stacks in a mixed order; every one of the table has a replicate of its own."""
    kinds: dict[tuple[object, object], list[int]] = {}
    for number, recipe in enumerate(known):
        kinds.setdefault((recipe["normalisation"], recipe["flip_probability"]), []).append(number)
    found: list[Task] = []
    for numbers in kinds.values():
        ordered = sorted(numbers, key=lambda number: (known[number]["n_s"], number))
        parts = [tuple(ordered[n : n + WIDTH]) for n in range(0, len(ordered), WIDTH)]
        found += [Task(part, len(found) + n) for n, part in enumerate(parts)]
    for replicate in range(REPEATED_FROM, REPEATED_FROM + N_SEEDS):
        found += [Task(tuple(numbers[:N_REPEATED]), replicate) for numbers in kinds.values()]
    return [found[n] for n in np.random.default_rng(SEED).permutation(len(found))]


@cache
def images() -> tuple[Dataset, Dataset]:
    """Return the images that are trained on and those that validate."""
    dataset = resolve("cifar10", environ=os.environ, notify=_ignore, stop=_never).training()
    n = N_PARTS * PART
    return dataset.take(n, n + N_TRAINING), dataset.take(0, n)


@cache
def inputs(normalisation: str) -> tuple[Inputs, Examination]:
    """Return what is trained on and what examines, prepared once in a process."""
    training, validation = images()
    kind, of_features = Normalisation(normalisation), feature_statistics(training)
    made = [Inputs(some, kind, STUDY.dtype, of_features) for some in (training, validation)]
    return made[0], Examination(made[1])


def trained(task: Task) -> tuple[Task, np.ndarray, int]:
    """Return the images that were right, (recipes, cycles, parts), and the updates that it took."""
    known = recipes()
    first = known[task.recipes[0]]
    training, validation = inputs(str(first["normalisation"]))
    configs = {}
    for number in task.recipes:
        recipe, n_s = known[number], int(known[number]["n_s"])
        schedule = AtCycleEnds(eta_min=STUDY.eta_min, eta_max=float(recipe["eta_max"]), n_s=n_s)
        n_updates = 2 * n_s * STUDY.n_cycles
        configs[number] = TrainingConfig(
            lambda_=float(recipe["lambda"]), schedule=schedule, n_updates=n_updates
        )
    shape = (images()[0].d, STUDY.hidden, images()[0].n_classes)
    randomness = StandardRandomness(STUDY.seed, shape, task.replicate)
    fresh = randomness.network().astype(STUDY.dtype)
    stack = build_stack(configs, dict.fromkeys(configs, fresh), STUDY.batch_size)
    batches = Batches(training, randomness, STUDY.batch_size, float(first["flip_probability"]))
    right = np.zeros((len(task.recipes), STUDY.n_cycles, N_PARTS), np.uint16)
    for evaluation in train(stack, configs, batches, validation):
        for key, hits in zip(evaluation.keys, evaluation.hits, strict=True):
            cycle = evaluation.update // (2 * configs[key].schedule.n_s)
            right[task.recipes.index(key), cycle - 1] = hits.reshape(N_PARTS, PART).sum(axis=1)
    return task, right, sum(config.n_updates for config in configs.values())


def columns(rows: list[Row]) -> dict[str, np.ndarray]:
    """Return the columns of the table, in the order of recipes and replicates."""
    known, rows = recipes(), sorted(rows, key=lambda row: row[:2])
    found = {
        name: np.array([known[number][name] for number, _, _ in rows])
        for name in ("lambda", "eta_max", "normalisation", "flip_probability")
    }
    epochs = [int(known[number]["n_s"]) // PER_EPOCH for number, _, _ in rows]
    return found | {
        "epochs": np.array(epochs, np.uint8),
        "recipe": np.array([number for number, _, _ in rows], np.uint16),
        "replicate": np.array([replicate for _, replicate, _ in rows], np.uint16),
        "right": np.array([right for _, _, right in rows]),
    }


def _ignore(text: str) -> None:
    del text


def _never() -> bool:
    return False


def main() -> None:
    """Make the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=FILE)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    rows: list[Row] = []
    began, n_done, all_tasks = time.monotonic(), 0, tasks(recipes())
    with Pool(options.processes) as pool:
        for n, (task, right, n_updates) in enumerate(pool.imap_unordered(trained, all_tasks), 1):
            rows += [(number, task.replicate, right[p]) for p, number in enumerate(task.recipes)]
            n_done += n_updates
            speed = n_done / (time.monotonic() - began)
            print(f"{n} of {len(all_tasks)} stacks, {n_done:,} updates, {speed:,.0f} a second")
            np.savez_compressed(options.out, **columns(rows))


if __name__ == "__main__":
    main()
