"""What proposing costs: the time of one generation, as a share of the time of its training.

    .venv/bin/python tests/benchmarks/proposals.py [--trials 1000] [--repetitions 5]

For every sampler that is installed: 8 proposals in the space of studies/joint.py (of its numbers
alone for cmaes) when so many trials are finished, against the updates that these 8 cells need at
the speed of a stack of 8 networks, 3072-50-10 on random images, measured in the same run on one
core. Evaluations are left out, so the training of a real search takes longer. Takes 10 seconds,
and a minute more with gp.
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read when NumPy is imported, so it comes first

import argparse
import math
import time
from dataclasses import replace
from statistics import median

import numpy as np
from stack_width import milliseconds

from hpo.definition.spaces import SAMPLERS, Space
from hpo.errors import MissingPackage
from hpo.experiment.experiment import DataFacts, Experiment
from hpo.experiment.resolution import resolve
from hpo.search.proposals import check_installed, propose
from model.data import Dataset
from model.normalisation import Inputs, Normalisation
from model.order import StandardRandomness
from model.training import Batches
from studies.joint import STUDY

WIDTH = 8  #: proposals in a generation, and networks in the stack
UPDATES = 200  #: in a measure of the speed of training
GOAL = 0.05  #: share of the time of the training that tpe may take
CIFAR10 = DataFacts(
    name="cifar10",
    fingerprint="0" * 64,
    n_training=45_000,
    n_validation=5_000,
    d=3072,
    n_classes=10,
    image_shape=(32, 32, 3),
)


def space_for(sampler: str, n_trials: int) -> Space:
    """Return the space of studies/joint.py with a grid that is large enough."""
    space = STUDY.space
    if space is None:
        raise ValueError("studies/joint.py searches no space")
    if sampler == "cmaes":
        space = replace(space, normalisation=(), flip_probability=())
    n = math.isqrt(n_trials)  # by as many for eta_max, and the other parameters come on top
    eta_max = space.eta_max and replace(space.eta_max, n=n)
    lambda_ = replace(space.lambda_, n=n)
    return replace(space, lambda_=lambda_, eta_max=eta_max, sampler=sampler, width=WIDTH)


def experiment(sampler: str, n_trials: int) -> tuple[Experiment, list[float]]:
    """Return a search with so many trials anywhere in its space, and what they are worth."""
    space = space_for(sampler, n_trials)
    resolved = resolve(replace(STUDY, space=space), CIFAR10)
    rng = np.random.default_rng(0)
    dimensions = space.dimensions(resolved.per_epoch)
    cells = tuple({k: d.at(rng.random()) for k, d in dimensions.items()} for _ in range(n_trials))
    places = [dimensions["lambda"].place(cell["lambda"]) for cell in cells]
    values = 0.5 - 0.1 * (np.array(places) - 0.6) ** 2 + 0.003 * rng.standard_normal(n_trials)
    return replace(resolved, cells=cells), values.tolist()


def seconds_to_propose(sampler: str, n_trials: int) -> tuple[float, int]:
    """Return the time of one generation, and the updates that its cells need together."""
    before, values = experiment(sampler, n_trials)
    began = time.perf_counter()
    proposals = propose(before, values)
    seconds = time.perf_counter() - began
    after = replace(before, cells=tuple(proposals))
    return seconds, sum(after.recipe(cell).n_updates for cell in range(len(proposals)))


def trained_on() -> tuple[Batches, StandardRandomness]:
    """Return mini-batches of 100 random images of the shape of CIFAR-10."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (CIFAR10.n_training, CIFAR10.d), dtype=np.uint8)
    labels = rng.integers(0, CIFAR10.n_classes, CIFAR10.n_training)
    dataset = Dataset("random", images, labels, CIFAR10.n_classes, CIFAR10.image_shape)
    randomness = StandardRandomness(0, (CIFAR10.d, STUDY.hidden, CIFAR10.n_classes))
    inputs = Inputs(dataset, Normalisation.IMAGE, STUDY.dtype)
    return Batches(inputs, randomness, STUDY.batch_size), randomness


def installed() -> list[str]:
    """Return the samplers whose libraries are here."""
    found = []
    for sampler in SAMPLERS:
        try:
            check_installed(space_for(sampler, 1))
        except MissingPackage as error:
            print(error)
        else:
            found.append(sampler)
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000, help="that are finished")
    parser.add_argument("--repetitions", type=int, default=5, help="of every measure")
    options = parser.parse_args()

    samplers = installed()
    batches, randomness = trained_on()
    speeds: list[float] = []
    found: dict[str, list[tuple[float, int]]] = {sampler: [] for sampler in samplers}
    for sampler in samplers:
        seconds_to_propose(sampler, 2 * WIDTH)  # imports
    for _ in range(options.repetitions):  # taking turns, so that a busy machine meets all of them
        speeds.append(milliseconds(batches, randomness, WIDTH, UPDATES))
        for sampler in samplers:
            found[sampler].append(seconds_to_propose(sampler, options.trials))

    per_update = median(speeds) / 1e3
    print(f"An update of {WIDTH} networks takes {WIDTH * per_update * 1e3:.2f} ms.\n")
    print(
        f"| sampler | {WIDTH} proposals after {options.trials:,} trials | their training | share |"
    )
    print("|---|---|---|---|")
    for sampler, measured in found.items():
        seconds = median(taken for taken, _ in measured)
        training = measured[0][1] * per_update
        share = f"{seconds / training:.3%}"
        if sampler == "tpe":
            share += f" ({'met' if seconds < GOAL * training else 'MISSED'}: below {GOAL:.0%})"
        print(f"| {sampler} | {seconds:.4f} s | {training:.1f} s | {share} |")


if __name__ == "__main__":
    main()
