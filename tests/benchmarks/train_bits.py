"""Train the coarse grid with many seeds on few images, and keep which of many each network got right.

    HPO_DATA=FOLDER OPENBLAS_NUM_THREADS=1 python tests/benchmarks/train_bits.py FOLDER [SEEDS]

Writes a file a seed: which of 42,000 CIFAR-10 images each of the 8 lambdas got right at the ends of
both cycles. Started again it goes on with the next seed. `real_bits.py` makes the test asset of
the files.
"""

import os
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpo import Values
from hpo.data.sources import resolve
from model.data import Dataset
from model.normalisation import Inputs, Normalisation
from model.order import StandardRandomness
from model.schedule import Cyclic
from model.training import Batches, Examination, TrainingConfig, build_stack, train
from studies.coarse import STUDY

N_TRAINING = 8_000
N_S, N_CYCLES = 320, 2  #: eta rises over four epochs of the 8,000 images, and falls over four
CYCLE = 2 * N_S
GRID = STUDY.grid
assert isinstance(GRID, Values)
SCHEDULE = Cyclic(eta_min=STUDY.eta_min, eta_max=STUDY.eta_max, n_s=N_S)
CONFIGS = {
    cell: TrainingConfig(lambda_=value, schedule=SCHEDULE, n_updates=CYCLE * N_CYCLES)
    for cell, value in enumerate(GRID.values)
}


class Bits:
    """Trains the grid with one seed after the other."""

    def __init__(self, dataset: Dataset) -> None:
        self._training = self._inputs(dataset.take(0, N_TRAINING))
        rest = dataset.take(N_TRAINING, len(dataset))
        self._few = Examination(self._inputs(rest.take(0, 100)))  # at log points nobody looks
        self._all = Examination(self._inputs(rest))

    @staticmethod
    def _inputs(dataset: Dataset) -> Inputs:
        return Inputs(dataset, Normalisation.IMAGE, np.float32)

    def of(self, seed: int) -> NDArray[np.bool_]:
        """Return which images are right after each cycle, shape (cycles, cells, images)."""
        data = self._training.dataset
        randomness = StandardRandomness(STUDY.seed, (data.d, STUDY.hidden, data.n_classes), seed)
        fresh = randomness.network().astype(np.float32)
        stack = build_stack(CONFIGS, dict.fromkeys(CONFIGS, fresh), STUDY.batch_size)
        batches = Batches(self._training, randomness, STUDY.batch_size)
        found = []
        for evaluation in train(stack, CONFIGS, batches, self._few):
            if evaluation.update % CYCLE == 0:
                examined = self._all(stack, range(len(CONFIGS)))
                assert examined is not None
                found.append(examined[1])
        return np.array(found)


def main(folder: Path, n_seeds: int) -> None:
    """Write a file for each seed that has none."""
    source = resolve("cifar10", environ=os.environ, notify=print)
    bits = Bits(source.training())
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(n_seeds):
        file = folder / f"{seed}.npy"
        if not file.exists():
            found = bits.of(seed)
            np.save(file, np.packbits(found, axis=2))
            print(seed, found.mean(axis=2).round(4).tolist(), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 40)
