"""Time of an update, by the width of the stack: one process, one BLAS thread, real mini-batches.

Widths take turns, so that whatever else the machine does meets all of them.

    python stack_width.py DATA REPETITIONS UPDATES

Prints JSON: for each width the milliseconds an update and network of every repetition.
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read when NumPy is imported, so it comes first

import json
import sys
import time

import numpy as np

from hpo.data.sources import resolve
from model.data import split
from model.normalisation import Inputs, Normalisation
from model.order import StandardRandomness
from model.schedule import Cyclic
from model.training import Batches, TrainingConfig, build_stack

WIDTHS = (1, 2, 4, 8, 16, 32)
WARM_UP = 5  #: updates before the clock runs


def main() -> None:
    spec, repetitions, updates = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    dataset = resolve(spec, environ=os.environ, notify=print).training()
    training = split(dataset, 5000).training
    randomness = StandardRandomness(0, (training.d, 50, training.n_classes))
    batches = Batches(Inputs(training, Normalisation.IMAGE, "float32"), randomness, 100)
    found: dict[int, list[float]] = {width: [] for width in WIDTHS}
    for repetition in range(repetitions):
        for width in WIDTHS if repetition % 2 == 0 else reversed(WIDTHS):
            found[width].append(milliseconds(batches, randomness, width, updates))
    print(json.dumps(found))


def milliseconds(
    batches: Batches, randomness: StandardRandomness, width: int, updates: int
) -> float:
    """Return the time of an update divided by the number of networks."""
    schedule = Cyclic(n_s=900)
    lambdas = np.logspace(-5, -1, width).tolist()
    configs = {
        key: TrainingConfig(lambda_=lambda_, schedule=schedule, n_updates=3600)
        for key, lambda_ in enumerate(lambdas)
    }
    network = randomness.network().astype("float32")
    stack = build_stack(configs, dict.fromkeys(configs, network), batches.batch_size)
    began = 0.0
    for update in range(WARM_UP + updates):
        if update == WARM_UP:
            began = time.perf_counter()
        images, labels = batches.get(update)
        stack.step(images, labels, np.full(width, schedule.rate(update)))
    return 1e3 * (time.perf_counter() - began) / updates / width


if __name__ == "__main__":
    main()
