"""What a search of the table sees, pays and loses. Every environment uses it; it knows NumPy alone."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tests.benchmarks.table.surface import (
    N_CYCLES,
    N_IMAGES,
    N_PARTS,
    Array,
    Noise,
    Recipe,
    Surface,
    Table,
    measured_noise,
    n_updates,
)


@dataclass(frozen=True)
class Answer:
    """What came of a search."""

    regret: float  #: of the recipe that it chose, in points of true accuracy
    spent: int  #: updates of the real search


@dataclass(frozen=True)
class World:
    """The surface, and the noise of trainings."""

    surface: Surface
    noise: Noise
    n_images: int = N_IMAGES  #: that validate a training
    #: By how much lambda is too large for what is trained in the end, where the search trains on
    #: fewer images than others do: the best one is taken to go as 1 / images.
    excess: float = 1.0

    def of_all_images(self) -> "World":
        """Return the same, with trainings judged by all images of the table."""
        return replace(self, noise=self.noise.of_all_images(), n_images=N_PARTS * N_IMAGES)

    @classmethod
    def read(cls) -> "World":
        """Read both."""
        table = Table.read()
        return cls(Surface.read(table), measured_noise(table))

    def regret(self, recipe: Recipe | None) -> float:
        """Return how far a recipe is behind the best one, in points; of none, as from guessing."""
        value = 0.1
        if recipe is not None:
            meant = {**recipe, "lambda": float(recipe["lambda"]) * self.excess}
            value = self.surface.truth(meant)[-1]
        return float(100 * (self.surface.best - value))


@dataclass
class Trainings:
    """The trainings of one repetition: the luck of a recipe is the same for every method."""

    world: World
    repetition: int
    _known: dict[tuple[object, ...], Array] = field(default_factory=dict)

    def curve(self, recipe: Recipe, replicate: int = 0) -> Array:
        """Return the validation accuracies of a recipe at the ends of its cycles, (cycles,)."""
        key = tuple(recipe[name] for name in sorted(recipe))
        if (key, replicate) not in self._known:
            noise = self.world.noise
            luck = self._drawn(key, "images", noise.images) + self._drawn(
                key, replicate, noise.seed
            )
            n_images = self.world.n_images
            right = np.round((self.world.surface.truth(recipe) + luck) * n_images)
            self._known[key, replicate] = right / n_images
        return self._known[key, replicate]

    def _drawn(self, key: object, of: object, covariance: Array) -> Array:
        text = repr((self.repetition, key, of))
        seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
        return np.random.default_rng(seed).multivariate_normal(np.zeros(N_CYCLES), covariance)


PATIENCE = 8  #: proposals one after the other that cost too much, before a search ends


@dataclass
class Purse:
    """The updates of a search, and what they bought: it chooses among what came to its end."""

    trainings: Trainings
    budget: int
    spent: int = 0
    seen: list[tuple[float, Recipe]] = field(default_factory=list)
    patience: int = PATIENCE

    def pays(self, recipe: Recipe, cycles: int = N_CYCLES, done: int = 0) -> bool:
        """Tell whether a training can be paid for from one cycle to another."""
        return self.spent + n_updates(recipe, cycles) - n_updates(recipe, done) <= self.budget

    def train(self, recipe: Recipe, cycles: int, done: int = 0) -> float:
        """Pay for a training up to a cycle, and return its validation accuracy there."""
        self.spent += n_updates(recipe, cycles) - n_updates(recipe, done)
        value = float(self.trainings.curve(recipe)[cycles - 1])
        if cycles == N_CYCLES:
            self.seen.append((value, recipe))
        return value

    def answer(self) -> Answer:
        """Return what came of the recipe that it saw as the best."""
        best = max(self.seen, key=lambda seen: seen[0], default=(0.0, None))
        return Answer(self.trainings.world.regret(best[1]), self.spent)


Search = Callable[[Trainings, int], Answer]  #: of a repetition, within a budget


def repeated(search: Search, world: World, budget: int, repetitions: Sequence[int]) -> list[Answer]:
    """Return what came of each repetition."""
    return [search(Trainings(world, repetition), budget) for repetition in repetitions]
