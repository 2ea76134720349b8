"""Right answers of really trained networks, and a generator fitted to many more of them.

    python tests/benchmarks/real_bits.py FOLDER

makes `real_bits.npz` from what `train_bits.py` wrote: bits of 8 lambdas after each of two cycles,
16 of the seeds and 4,000 of the images (packed), and the correlations behind all of them.
"""

import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from latent import Floats, Population, fit
from numpy.typing import NDArray

from hpo.judging.statistics import Layout, layout_of

FILE = Path(__file__).with_name("real_bits.npz")
N_CELLS, N_CYCLES = 8, 2
N_SEEDS, N_IMAGES, EVERY = 16, 4_000, 10  #: kept; every tenth image


@dataclass(frozen=True)
class Kept:
    """What the file holds; networks after the first cycle come before those after the second."""

    bits: NDArray[np.bool_]  #: shape (cycles * cells, seeds, images)
    population: Population  #: of cycles * cells networks
    n_seeds: int  #: that the population was fitted to
    n_images: int

    @property
    def at_the_end(self) -> Population:
        """The cells after their last cycle."""
        return part(self.population, np.arange(N_CELLS, N_CYCLES * N_CELLS))


def part(population: Population, cells: NDArray[np.intp]) -> Population:
    """Return some of the cells."""
    chosen = np.ix_(cells, cells)
    return Population(
        population.accuracies[cells], population.same_seed[chosen], population.other_seed[chosen]
    )


@cache
def kept() -> Kept:
    """Return what the file holds."""
    with np.load(FILE) as file:
        packed = file["bits"]
        bits = np.unpackbits(packed, axis=2, count=N_IMAGES).astype(np.bool_)
        names = ("accuracies", "same_seed", "other_seed")
        population = Population(*(file[name].astype(np.float64) for name in names))
        n_seeds, n_images = file["fitted_to"].tolist()
    return Kept(bits, population, n_seeds, n_images)


class Subsamples:
    """Searches with some of the kept seeds and images, whose truth is the mean over all of them."""

    def __init__(self, n_replicates: int, n_images: int, cells: slice) -> None:
        self._bits = kept().bits[N_CELLS:][cells]
        self.accuracies: Floats = self._bits.mean(axis=(1, 2))
        self._size = n_replicates, n_images
        everything = layout_of(self._bits)
        self._stretch = _stretch(everything, *self._size)

    def hits(self, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Return right answers, shape (cells, replicates, images)."""
        _, n_seeds, n_images = self._bits.shape
        seeds = rng.choice(n_seeds, self._size[0], replace=False)
        images = rng.choice(n_images, self._size[1], replace=False)
        return self._bits[:, seeds[:, np.newaxis], images]

    def stretched(self, means: Floats) -> Floats:
        """Return means as far from the truth as if seeds and images had no end.

        A tenth of all images is nearer to their mean than to that of all that there might be.
        """
        away = means - self.accuracies
        common = away.mean()
        return self.accuracies + self._stretch[0] * common + self._stretch[1] * (away - common)


def _stretch(layout: Layout, n_replicates: int, n_images: int) -> tuple[float, float]:
    """Return how much further off means are without an end: their average, their differences."""
    k = len(layout.means)
    n = layout.n_replicates * layout.n_images
    of_seeds, of_images, left = layout.freedoms
    found = []
    for is_common in (True, False):
        sums = []
        for matrix, freedom in (
            (layout.seeds, of_seeds),
            (layout.images, of_images),
            (layout.residual, left),
        ):
            average = float(matrix.mean())
            own = average if is_common else float(np.trace(matrix)) / k - average
            sums.append(own / freedom / n)  # a mean square
        seeds, images, rest = sums
        parts = (
            (max(seeds - rest, 0) / layout.n_images, n_replicates, layout.n_replicates),
            (max(images - rest, 0) / layout.n_replicates, n_images, layout.n_images),
            (rest, n_replicates * n_images, n),
        )
        endless = sum(variance / size for variance, size, _ in parts)
        ends = sum(variance / size * (1 - size / all_) for variance, size, all_ in parts)
        found.append(float(np.sqrt(endless / ends)))
    return found[0], found[1]


def make(folder: Path) -> None:
    """Write the file."""
    files = sorted(folder.glob("*.npy"), key=lambda file: int(file.stem))
    packed = np.array([np.load(file) for file in files])  # (seeds, cycles, cells, bytes)
    bits = np.unpackbits(packed, axis=3).astype(np.bool_)
    bits = bits.reshape(len(files), N_CYCLES * N_CELLS, -1).swapaxes(0, 1)
    population = fit(bits)
    few = bits[:, :N_SEEDS, : N_IMAGES * EVERY : EVERY]
    np.savez_compressed(
        FILE,
        bits=np.packbits(few, axis=2),
        fitted_to=np.array(bits.shape[1:]),
        **{name: value.astype(np.float32) for name, value in vars(population).items()},
    )


if __name__ == "__main__":
    make(Path(sys.argv[1]))
