"""Small trainings on the digits, with everything at its plainest."""

from collections.abc import Generator
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from model.data import Dataset, digits, split
from model.losses import Loss
from model.network import Network
from model.normalisation import Inputs, Normalisation
from model.order import StandardRandomness
from model.schedule import Cyclic
from model.stack import Stack
from model.training import Batches, Evaluation, Examination, TrainingConfig, build_stack, train

RANDOMNESS = StandardRandomness(5, (64, 50, 10))
PARTS = split(digits(), 300)


def inputs(dataset: Dataset = PARTS.training, dtype: type = np.float32) -> Inputs:
    return Inputs(dataset, Normalisation.IMAGE, dtype)


def cyclic(
    lambda_: float = 1e-3, *, n_s: int = 10, n_updates: int = 40, eta_max: float = 0.1
) -> TrainingConfig:
    schedule = Cyclic(n_s=n_s, eta_max=eta_max)
    return TrainingConfig(lambda_=lambda_, schedule=schedule, n_updates=n_updates)


def fresh_stack(
    configs: dict[int, TrainingConfig], dtype: type = np.float32, loss: Loss = Loss.CROSS_ENTROPY
) -> Stack:
    start = RANDOMNESS.network().astype(dtype)
    return build_stack(configs, dict.fromkeys(configs, start), 100, loss)


def run(
    configs: dict[int, TrainingConfig], *, dtype: type = np.float32, flips: float = 0.0
) -> Generator[Evaluation]:
    """Train on digits from the start with everything at its plainest."""
    batches = Batches(inputs(dtype=dtype), RANDOMNESS, 100, flips)
    examination = Examination(inputs(PARTS.validation, dtype))
    return train(fresh_stack(configs, dtype), configs, batches, examination)


def bits(evaluation: Evaluation, key: int) -> tuple[bytes, ...]:
    """All values that an evaluation has of one network."""
    row = evaluation.keys.index(key)
    metrics = (evaluation.training, evaluation.validation)
    values = [m.cost[row] for m in metrics] + [m.loss[row] for m in metrics]
    values += [m.accuracy[row] for m in metrics]
    return (*(value.tobytes() for value in values), evaluation.hits[row].tobytes())


def weights(network: Network) -> tuple[bytes, ...]:
    return tuple(getattr(network, f.name).tobytes() for f in fields(Network))


def batch_of(update: int, batch_size: int = 100) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Inputs and labels of an update, put together by hand; 12 batches in an epoch."""
    rows = PARTS.training.images.astype(np.float64)
    rows = (rows - rows.mean(axis=1, keepdims=True)) / rows.std(axis=1, keepdims=True)
    epoch, place = divmod(update, 1200 // batch_size)
    chosen = RANDOMNESS.order(epoch, 1200)[place * batch_size : (place + 1) * batch_size]
    return rows[chosen], PARTS.training.labels[chosen]


class CountingBatches(Batches):
    """Counts the updates for which a mini-batch was fetched."""

    n_fetched = 0

    def get(self, update: int) -> tuple[NDArray[np.floating], NDArray[np.intp]]:
        self.n_fetched += 1
        return super().get(update)
