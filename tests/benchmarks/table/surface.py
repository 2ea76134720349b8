"""The table as a function: what a recipe is truly worth after each cycle, and what a training shows.

A Gaussian process a cycle end (squared exponential and Matern kernels have the same error here; this
is Matern 5/2 with a length a dimension) is fitted to the recipes of `results.npz`. What the repeated
recipes show around their means is split into luck with the images, which all seeds of a recipe share,
and luck of the seed, each with its covariance over the cycles. Knows NumPy and SciPy, and nothing of ours,
so that every environment can use it.

Reference: C. E. Rasmussen, C. K. I. Williams, "Gaussian Processes for Machine Learning" (2006), 2.2, 5.4.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Recipe = Mapping[str, float | str]

FOLDER = Path(__file__).parent
N_CYCLES = 3
N_IMAGES = 5_000  #: that validate a training
N_PARTS = 2  #: of so many images, that the table has
#: The space of studies/joint.py; a test holds them together.
LAMBDA, ETA_MAX, EPOCHS = (3e-4, 1e-2), (0.03, 0.2), (2, 8)
NORMALISATIONS, FLIPS = ("image", "feature"), (0.0, 0.5)
REPEATED_FROM = 1000  #: replicates with which recipes were trained again
PER_EPOCH = 450  #: updates of the real search


def n_updates(recipe: Recipe, cycles: int = N_CYCLES) -> int:
    """Return the updates of the real search that so many cycles of a recipe cost."""
    return 2 * cycles * PER_EPOCH * int(recipe["epochs"])


def places(recipe: Recipe) -> list[float]:
    """Return where a recipe is, from 0 to 1 in each of five dimensions."""
    logs = [(float(recipe["lambda"]), LAMBDA), (float(recipe["eta_max"]), ETA_MAX)]
    epochs = (float(recipe["epochs"]) - EPOCHS[0]) / (EPOCHS[1] - EPOCHS[0])
    return [
        *(float(np.log(value / low) / np.log(high / low)) for value, (low, high) in logs),
        epochs,
        float(recipe["normalisation"] == "feature"),
        float(recipe["flip_probability"]) * 2,
    ]


@dataclass(frozen=True)
class Table:
    """The trainings: a row each."""

    recipe: NDArray[np.int64]  #: number of the recipe, (n,)
    replicate: NDArray[np.int64]  #: (n,)
    places: Array  #: (n, 5)
    accuracy: Array  #: (n, cycles, parts of `N_IMAGES` images)

    @classmethod
    def read(cls, file: Path = FOLDER / "results.npz") -> "Table":
        """Read the results."""
        with np.load(file, allow_pickle=False) as stored:
            rows = {name: stored[name] for name in stored.files}
        names = ("lambda", "eta_max", "epochs", "normalisation", "flip_probability")
        columns = zip(*(rows[name] for name in names), strict=True)
        recipes = [dict(zip(names, row, strict=True)) for row in columns]
        return cls(
            recipe=rows["recipe"].astype(int),
            replicate=rows["replicate"].astype(int),
            places=np.array([places(recipe) for recipe in recipes]),
            accuracy=rows["right"] / N_IMAGES,
        )

    @cached_property
    def means(self) -> tuple[Array, Array, NDArray[np.int64]]:
        """Places (m, 5), mean accuracies (m, cycles) and trainings (m,) of every recipe."""
        _, first, of = np.unique(self.recipe, return_index=True, return_inverse=True)
        n = np.bincount(of)
        sums = np.zeros((len(n), N_CYCLES))
        np.add.at(sums, of, self.accuracy.mean(axis=2))
        return self.places[first], sums / n[:, None], n


@dataclass(frozen=True)
class Noise:
    """Luck of a recipe beyond what all share, as covariances over the cycles, (cycles, cycles)."""

    images: Array  #: with its `N_IMAGES` images, the same for all seeds
    seed: Array  #: of one training
    row: Array  #: of one training with all images of the table

    def of_all_images(self) -> "Noise":
        """Return the luck of trainings that are judged by all images of the table."""
        images = self.images / N_PARTS
        return Noise(images=images, seed=_proper(self.row - images), row=self.row)

    @property
    def deviation(self) -> Array:
        """Standard deviation of what a training shows at each cycle end."""
        return np.asarray(np.sqrt(np.diag(self.images) + np.diag(self.seed)))

    @property
    def correlation(self) -> Array:
        """Between cycles, of what a training shows."""
        both = self.images + self.seed
        scale = np.sqrt(np.diag(both))
        return np.asarray(both / np.outer(scale, scale))


def measured_noise(table: Table) -> Noise:
    """Return the noise of the recipes that were trained with the same several seeds.

    Analysis of variance of each kind of inputs: recipes x seeds x parts of the images, in which the
    main effects of seeds and parts, and seeds x parts, are common to all recipes and choose nothing.
    """
    within, luck, between = (np.zeros((N_CYCLES, N_CYCLES)) for _ in range(3))
    freedom = np.zeros(3)  # of the three
    n_parts, all_seeds = table.accuracy.shape[2], []
    for cube in _repeated(table):
        n, n_seeds = cube.shape[:2]
        alike = cube - cube.mean(axis=0, keepdims=True)  # what all recipes share is gone
        of_part = alike.mean(axis=1)  # (recipes, cycles, parts)
        rest = alike - of_part[:, None]
        within += np.einsum("rscp,rsdp->cd", rest, rest)
        # What two parts share of a seed's luck does not show between them; the rest of it does.
        unshared = rest - rest.mean(axis=3, keepdims=True)
        luck += np.einsum("rscp,rsdp->cd", unshared, unshared)
        apart = of_part - of_part.mean(axis=2, keepdims=True)
        between += np.einsum("rcp,rdp->cd", apart, apart)
        seeds, parts = n_seeds - 1, n_parts - 1
        freedom += (n - 1) * np.array([seeds * n_parts, seeds * parts, parts])
        all_seeds.append(n_seeds)
    within, luck, between = within / freedom[0], luck / freedom[1], between / freedom[2]
    images = between - luck / np.mean(all_seeds)
    row = within - luck * (1 - 1 / n_parts) + images / n_parts
    return Noise(_proper(images), _proper(within), _proper(row))


def _repeated(table: Table) -> list[Array]:
    """Return the accuracies of each kind of inputs, (recipes, seeds, cycles, parts)."""
    found = []
    again = table.replicate >= REPEATED_FROM
    kinds = table.places[:, 3:]
    for kind in np.unique(kinds[again], axis=0):
        mine = again & (kinds == kind).all(axis=1)
        recipes, seeds = np.unique(table.recipe[mine]), np.unique(table.replicate[mine])
        order = np.lexsort((table.replicate[mine], table.recipe[mine]))
        shape = (len(recipes), len(seeds), *table.accuracy.shape[1:])
        if len(seeds) > 1:
            found.append(table.accuracy[mine][order].reshape(shape))
    return found


def _proper(covariance: Array) -> Array:
    """Return the nearest covariance whose variances are not below 0."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    return np.asarray((vectors * np.maximum(values, 0)) @ vectors.T)


def kernel(a: Array, b: Array, lengths: Array) -> Array:
    """Return the Matern 5/2 correlations of two sets of places, (len(a), len(b))."""
    a, b = a / lengths, b / lengths
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    r = np.sqrt(5 * np.maximum(squares, 0))
    return np.asarray((1 + r + r**2 / 3) * np.exp(-r))


@dataclass(frozen=True)
class Process:
    """A Gaussian process with its data: 5 lengths, a scale and the noise of a single training."""

    x: Array
    y: Array
    n: NDArray[np.int64]
    theta: Array  #: logarithms of lengths (5), of the signal's and of the noise's deviation

    @cached_property
    def _inverse(self) -> Array:
        lengths, signal, noise = np.split(np.exp(self.theta), (5, 6))
        covariance = signal**2 * kernel(self.x, self.x, lengths)
        covariance[np.diag_indices(len(self.x))] += noise**2 / self.n
        return np.linalg.inv(covariance)

    @cached_property
    def mean(self) -> float:
        """The mean of the process, as the data have it (generalised least squares)."""
        return float(self._inverse.sum(axis=0) @ self.y / self._inverse.sum())

    @cached_property
    def _weights(self) -> Array:
        return self._inverse @ (self.y - self.mean)

    def __call__(self, x: Array) -> Array:
        """Return what is expected at places (m, 5)."""
        lengths, signal = np.exp(self.theta[:5]), np.exp(self.theta[5])
        return self.mean + signal**2 * kernel(x, self.x, lengths) @ self._weights

    def minus_log_likelihood(self) -> float:
        """Return what a fit makes small."""
        residual = self.y - self.mean
        _, of_inverse = np.linalg.slogdet(self._inverse)
        return float(residual @ self._inverse @ residual - of_inverse) / 2

    def left_out(self) -> Array:
        """Return by how much each recipe is missed if it is left out, (m,)."""
        return np.asarray(self._weights / np.diag(self._inverse))


class Surface:
    """True accuracy after each cycle, for any recipe of the space."""

    def __init__(self, table: Table, thetas: Array) -> None:
        x, y, n = table.means
        self._x, self._n = x, n
        self.processes = [Process(x, y[:, c], n, thetas[c]) for c in range(N_CYCLES)]

    @classmethod
    def read(cls, table: Table | None = None) -> "Surface":
        """Read the fitted surface."""
        fitted = json.loads((FOLDER / "surface.json").read_text())
        return cls(table or Table.read(), np.array(fitted["theta"]))

    def truth(self, recipe: Recipe) -> Array:
        """Return the true accuracies of a recipe, (cycles,)."""
        return self.at(np.array([places(recipe)]))[0]

    def at(self, x: Array) -> Array:
        """Return the true accuracies at places, (m, cycles)."""
        return np.stack([process(x) for process in self.processes], axis=1)

    @cached_property
    def best(self) -> float:
        """The highest true accuracy of the space after the last cycle."""
        side = np.linspace(0, 1, 41)
        epochs = np.linspace(0, 1, EPOCHS[1] - EPOCHS[0] + 1)
        grid = np.meshgrid(side, side, epochs, (0.0, 1.0), (0.0, 1.0), indexing="ij")
        return float(self.processes[-1](np.stack(grid, axis=-1).reshape(-1, 5)).max())

    def errors(self, noise: Noise) -> Array:
        """Return the surface's own error in each cycle: of recipes left out, without their noise."""
        once = self._n == 1
        found = []
        for c, process in enumerate(self.processes):
            missed = np.mean(process.left_out()[once] ** 2)
            found.append(np.sqrt(max(0.0, missed - noise.row[c, c])))
        return np.array(found)


def fitted(table: Table) -> Array:
    """Return the parameters of the processes, (cycles, 7), of the greatest likelihood."""
    from scipy.optimize import minimize

    x, y, n = table.means
    found = []
    start = np.log([0.5, 0.5, 0.7, 2.0, 2.0, 0.02, 0.004])
    bounds = [(np.log(0.05), np.log(20.0))] * 5 + [(np.log(1e-3), 0.0), (np.log(1e-4), np.log(0.1))]
    for c in range(N_CYCLES):
        made = minimize(
            lambda theta, c=c: Process(x, y[:, c], n, theta).minus_log_likelihood(),
            start,
            method="L-BFGS-B",
            bounds=bounds,
        )
        found.append(made.x)
        start = made.x
    return np.array(found)


def main() -> None:
    """Fit the surface to the table and write it down."""
    table = Table.read()
    theta = fitted(table).round(4)
    surface, noise = Surface(table, theta), measured_noise(table)
    told = {
        "theta": theta.tolist(),
        "error": surface.errors(noise).round(5).tolist(),
        "noise": noise.deviation.round(5).tolist(),
        "best": round(surface.best, 5),
    }
    (FOLDER / "surface.json").write_text(json.dumps(told, indent=1) + "\n")
    print(json.dumps(told), noise.correlation.round(2).tolist())


if __name__ == "__main__":
    main()
