"""Which image comes when: the order of every epoch as a pure function of seed and epoch.

Two protocols. In the standard one each epoch is a fresh permutation, drawn from its own stream,
so that a run continued at epoch 7 needs nothing of epochs 0 to 6. The notebook draws weights and
permutations from one legacy stream that starts anew with every run, and applies each permutation
to the order that the run before left behind; that *carried* order is replayed from its recipe.

Streams of the standard protocol are PCG64 with ``SeedSequence(seed, spawn_key=...)``: weights
``(replicate, 0)``, order ``(replicate, 1, epoch)``, flips ``(replicate, 2, epoch)``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model.network import Network, initialise

WEIGHTS, ORDER, FLIPS = 0, 1, 2


def stream(seed: int, *spawn_key: int) -> np.random.Generator:
    """Return the generator of one purpose, for example ``stream(seed, replicate, ORDER, epoch)``."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=spawn_key)))


class Randomness(Protocol):
    """All that is random in one training run."""

    def network(self) -> Network:
        """Return the initial network in float64."""

    def order(self, epoch: int, n: int) -> NDArray[np.intp]:
        """Return which training image stands at each place of ``epoch``, shape (n,)."""

    def flips(self, epoch: int, n: int, probability: float) -> NDArray[np.bool_]:
        """Return which places of ``epoch`` hold a mirrored image, shape (n,)."""


@dataclass(frozen=True)
class StandardRandomness:
    """Independent streams for weights, orders and flips; equal for every cell of a replicate."""

    seed: int
    shape: tuple[int, int, int]  #: (d, m, k) of the network
    replicate: int = 0

    def network(self) -> Network:
        """Return the initial network in float64, the same for every cell of the replicate."""
        return initialise(stream(self.seed, self.replicate, WEIGHTS), *self.shape)

    def order(self, epoch: int, n: int) -> NDArray[np.intp]:
        """Return a fresh permutation of the ``n`` training images."""
        return stream(self.seed, self.replicate, ORDER, epoch).permutation(n)

    def flips(self, epoch: int, n: int, probability: float) -> NDArray[np.bool_]:
        """Return True at the places whose image is mirrored in ``epoch``."""
        return stream(self.seed, self.replicate, FLIPS, epoch).random(n) < probability


@dataclass
class NotebookRandomness:
    """The notebook's legacy stream, and the order carried over from the runs before.

    ``earlier_runs`` lists the epochs of each run that used the same training set before this
    one; every one of them drew its permutations from the start of the same stream.
    """

    seed: int
    shape: tuple[int, int, int]  #: (d, m, k) of the network, whose weights come first in the stream
    earlier_runs: Sequence[int] = ()
    #: Orders of the epochs seen so far; a cache of what (seed, earlier_runs) determine.
    _orders: list[NDArray[np.intp]] = field(default_factory=list, repr=False)

    def network(self) -> Network:
        """Return the notebook's initial network, in its layout transposed to input-major."""
        return _legacy_network(np.random.RandomState(self.seed), *self.shape)

    def order(self, epoch: int, n: int) -> NDArray[np.intp]:
        """Return the carried order of ``epoch``."""
        if len(self._orders) <= epoch or len(self._orders[0]) != n:
            self._orders = self._replay(max(epoch + 1, 2 * len(self._orders)), n)
        return self._orders[epoch]

    def flips(self, epoch: int, n: int, probability: float) -> NDArray[np.bool_]:
        """Return no flips: the notebook's runs had none."""
        del epoch, probability
        return np.zeros(n, dtype=bool)

    def _replay(self, n_epochs: int, n: int) -> list[NDArray[np.intp]]:
        random = np.random.RandomState(self.seed)
        _legacy_network(random, *self.shape)
        longest = max([n_epochs, *self.earlier_runs])
        permutations = [random.permutation(n) for _ in range(longest)]
        order = np.arange(n)
        for run in self.earlier_runs:
            for permutation in permutations[:run]:
                order = order[permutation]
        orders = []
        for permutation in permutations[:n_epochs]:
            order = order[permutation]
            orders.append(order)
        return orders


def _legacy_network(random: np.random.RandomState, d: int, m: int, k: int) -> Network:
    w1 = random.normal(0, 1 / np.sqrt(d), size=(m, d))
    w2 = random.normal(0, 1 / np.sqrt(m), size=(k, m))
    return Network(
        w1=np.ascontiguousarray(w1.T),
        b1=np.zeros(m),
        w2=np.ascontiguousarray(w2.T),
        b2=np.zeros(k),
    )
