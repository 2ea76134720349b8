"""What a training costs: a guess that starts nothing, and an estimate from a product that is timed."""

import time
from dataclasses import dataclass

import numpy as np

from hpo.experiment.experiment import Experiment
from hpo.machine.cores import usable_cores
from hpo.training.trainer import WIDTH
from model.data import Dataset

FLOPS = 60e9  #: operations a second in the products of a stack, about
UPDATE_OVERHEAD = 0.3e-3  #: seconds of an update that are not products, about
WORTH_A_PROCESS = 5.0  #: seconds of training from which a second process pays for its start
EFFICIENCY = 0.85  #: share of the measured speed of products that a whole training reaches, about


@dataclass(frozen=True)
class Cost:
    """What one core needs."""

    seconds: float
    memory: float  #: bytes


def worth(experiment: Experiment, n_updates: int) -> int:
    """Return how many workers pay for their start: one for few updates, else every core."""
    definition, data = experiment.definition, experiment.data
    products = 4 * definition.batch_size * data.d * definition.hidden
    in_stacks = n_updates / (1 if definition.protocol == "notebook" else WIDTH)
    overhead = max(in_stacks, min(n_updates, experiment.n_updates)) * UPDATE_OVERHEAD
    seconds = n_updates * products / FLOPS + overhead
    return usable_cores() if seconds > WORTH_A_PROCESS else 1


def cost(
    experiment: Experiment, dataset: Dataset, n_slots: int, n_updates: int | None = None
) -> Cost:
    """Estimate from the speed of one product of the training's shape, measured now.

    Args:
        n_updates: Of each slot, if it is not what a cell of a grid has.
    """
    n_updates = experiment.n_updates if n_updates is None else n_updates
    definition, data = experiment.definition, experiment.data
    width = min(1 if definition.protocol == "notebook" else WIDTH, max(n_slots, 1))
    columns = width * definition.hidden
    rng = np.random.default_rng(0)
    dtype = np.dtype(definition.dtype)
    images = rng.standard_normal((definition.batch_size, data.d)).astype(dtype)
    weights = rng.standard_normal((data.d, columns)).astype(dtype)
    times = []
    for _ in range(8):
        began = time.perf_counter()
        images @ weights
        times.append(time.perf_counter() - began)
    product = min(times) / EFFICIENCY  # seconds for one batch of one stack
    per_stack = n_updates * (2 * product + UPDATE_OVERHEAD)
    log_points = 10 * n_updates / experiment.n_s
    evaluated = data.n_validation
    if definition.train_metrics == "full":
        evaluated += data.n_training
    per_stack += log_points * evaluated / definition.batch_size * product
    stacks = n_slots / width
    memory = 120e6 + dataset.images.nbytes + 3 * weights.nbytes  # Python with its libraries first
    memory += data.n_validation * data.d * dtype.itemsize
    return Cost(stacks * per_stack, memory)
