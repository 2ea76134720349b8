"""Many networks trained in lockstep on the same mini-batches: the fast path.

The first layers of T networks are one matrix product: hidden units of all networks stand side by
side. Two ideas make an update cost two large products and little else.

*Lazy scale.* The penalty multiplies a whole network by ``1 - 2 eta lambda`` at every update.
Instead of touching every weight, a network keeps one float64 scale ``s`` with ``w1 = s v``; the
update is then ``v += x^T g`` with ``g`` multiplied by ``-eta / s``, one accumulating product.
The scale is folded into ``v`` at the network's own log points, and before it falls below
`SMALLEST_SCALE`, where float32 would lose range.

*One result whatever the company.* A network's float32 result must not depend on who shares its
stack. With AVX-512, OpenBLAS sums large products in an order that does not depend on their width,
but takes other kernels for small ones, and in float64 for some widths (measured, see `FUSED_FROM`);
there, and on processors where `model.fusing` finds that the order does depend on it, every network
gets products of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.blas import blas
from model.fusing import FEWEST, FUSED_FROM, accumulate, columns_are_alike
from model.losses import Labels, Loss, losses, losses_and_gradient
from model.network import Network

Array = NDArray[np.floating]

#: A scale below this is folded into the weights at once.
SMALLEST_SCALE = 2.0**-10


@dataclass
class Member:
    """What the stack must know of one network beside its parameters."""

    key: int  #: the caller's name for the network
    lambda_: float  #: factor of the sum of squared weights


class Stack:
    """T networks of equal shape, one after the other along the hidden units."""

    def __init__(
        self, members: Sequence[Member], networks: Sequence[Network], batch_size: int, loss: Loss
    ) -> None:
        """Take the networks in; all have one shape and one dtype, float32 or float64."""
        first = networks[0]
        self.d, self.m = first.w1.shape
        self.k = first.w2.shape[1]
        self.dtype = first.w1.dtype
        self.loss = loss
        self.batch_size = batch_size
        self.members = list(members)
        self._gemm = blas().sgemm if self.dtype == np.float32 else blas().dgemm
        self._fused = (
            self.dtype == np.float32
            and batch_size * self.d * self.m >= FUSED_FROM
            and min(batch_size, self.m) >= FEWEST
            and columns_are_alike(batch_size, self.m, self._gemm)
        )
        # (d, T, m) when fused, so that (d, T m) is one matrix; else (T, d, m)
        self._v1 = np.stack([n.w1 for n in networks], axis=1 if self._fused else 0)
        self._scale = np.ones(len(networks))  # float64, see the module's text
        self._lambdas = np.array([member.lambda_ for member in members])
        self._b1 = np.stack([n.b1 for n in networks])  # (T, m)
        self._w2 = np.stack([n.w2 for n in networks])  # (T, m, k)
        self._b2 = np.stack([n.b2 for n in networks])[:, None, :]  # (T, 1, k)
        self._workspace: dict[tuple[str, int, int], Array] = {}

    def __len__(self) -> int:
        return len(self.members)

    @property
    def keys(self) -> list[int]:
        """The names of the networks that are in the stack, in order."""
        return [member.key for member in self.members]

    def drop(self, keys: Sequence[int]) -> None:
        """Take networks out; the others go on as if those had never been there."""
        staying = [t for t, member in enumerate(self.members) if member.key not in set(keys)]
        self.members = [self.members[t] for t in staying]
        self._v1 = np.ascontiguousarray(np.take(self._v1, staying, axis=1 if self._fused else 0))
        self._scale, self._lambdas = self._scale[staying], self._lambdas[staying]
        self._b1, self._w2, self._b2 = self._b1[staying], self._w2[staying], self._b2[staying]
        self._workspace.clear()

    def network(self, key: int) -> Network:
        """Return a copy of one network, at a log point of its: its scale is folded first."""
        t = self.keys.index(key)
        self.fold([t])
        return Network(
            w1=self._first_layers[t].copy(),
            b1=self._b1[t].copy(),
            w2=self._w2[t].copy(),
            b2=self._b2[t, 0].copy(),
        )

    def fold(self, places: Sequence[int]) -> None:
        """Multiply the scale of the networks at ``places`` into their weights."""
        for t in places:
            if self._scale[t] != 1:
                self._first_layers[t] *= self.dtype.type(self._scale[t])
                self._scale[t] = 1

    def penalties(self, places: Sequence[int]) -> NDArray[np.float64]:
        """Return lambda times the sum of squared weights of each network, which are folded."""
        self.fold(places)
        return np.array([self._lambdas[t] * self._squares(t) for t in places])

    def step(
        self,
        images: Array,
        labels: Labels,
        etas: NDArray[np.float64],
        lap: Callable[[str], None] = lambda _: None,
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Make one update of every network and return its loss and hits before the update.

        Args:
            images: Normalised inputs, shape (n, d), C-contiguous, in the dtype of the stack.
            labels: Shape (n,).
            etas: Learning rate of each network, shape (T,).
            lap: Is told when a phase ends: forward, backward.

        Returns:
            The mean loss of each network, (T,), and how many images it got right, (T,).
        """
        n = len(images)
        hidden = self._hidden(images, slice(0, len(self)), "step")
        h = self._by_network(hidden)  # (T, n, m)
        scores = np.matmul(h, self._w2)  # (T, n, k)
        scores += self._b2
        hits = np.add.reduce(scores.argmax(axis=-1) == labels, axis=-1, dtype=np.int64)
        values, slope = losses_and_gradient(self.loss, scores, labels)
        lap("forward")
        slope /= n
        back = self._buffer("back", n, len(self))
        np.matmul(slope, self._w2.transpose(0, 2, 1), out=self._by_network(back))
        back *= hidden > 0
        rates = etas.astype(self.dtype)[:, None, None]
        decay = 1 - 2 * etas * self._lambdas
        self._w2 *= decay.astype(self.dtype)[:, None, None]
        self._w2 -= rates * np.matmul(h.transpose(0, 2, 1), slope)
        self._b2 -= rates * np.add.reduce(slope, axis=1, keepdims=True)
        self._b1 -= rates[:, 0] * np.add.reduce(self._by_network(back), axis=1)
        self._scale *= decay
        back *= self._per_unit(-etas / self._scale)
        self._accumulate(images, back)
        if self._scale.min() < SMALLEST_SCALE:
            self.fold(np.flatnonzero(self._scale < SMALLEST_SCALE).tolist())
        lap("backward")
        return np.add.reduce(values, axis=-1, dtype=np.float64) / n, hits

    def evaluate(
        self, images: Array, labels: Labels, places: slice
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return the summed loss of the networks at ``places``, and which images each got right.

        Args:
            images: Normalised inputs, shape (n, d).
            labels: Shape (n,).
            places: Which networks of the stack, a run of neighbours.

        Returns:
            Sum of the losses, (networks,), and hits, (networks, n).
        """
        hidden = self._hidden(images, places, "evaluate")
        scores = np.matmul(self._by_network(hidden), self._w2[places])
        scores += self._b2[places]
        values = losses(self.loss, scores, labels)
        # A cast that sum() makes itself goes through a buffer whose ends depend on the width.
        return values.astype(np.float64).sum(axis=-1), scores.argmax(axis=-1) == labels

    @property
    def _first_layers(self) -> Array:
        """View of the unscaled first layers, (T, d, m)."""
        return self._v1.transpose(1, 0, 2) if self._fused else self._v1

    def _squares(self, t: int) -> float:
        # The copy makes the order of the sum independent of the stack's width.
        w1, w2 = np.ascontiguousarray(self._first_layers[t]), self._w2[t]
        return float(np.einsum("dm,dm->", w1, w1, dtype=np.float64)) + float(
            np.einsum("mk,mk->", w2, w2, dtype=np.float64)
        )

    def _hidden(self, images: Array, places: slice, purpose: str) -> Array:
        """Return the hidden layers in a buffer that the next call reuses, see `_buffer`."""
        n, n_networks = len(images), places.stop - places.start
        h = self._buffer(purpose, n, n_networks)
        if self._fused and n * self.d * self.m >= FUSED_FROM and n >= FEWEST:
            columns = slice(places.start * self.m, places.stop * self.m)
            np.matmul(images, self._v1.reshape(self.d, -1)[:, columns], out=h)
        else:
            np.matmul(images, self._first_layers[places], out=self._by_network(h))
        h *= self._per_unit(self._scale[places])
        biases = self._b1[places]
        h += biases.reshape(-1) if self._fused else biases[:, None, :]
        np.maximum(h, 0, out=h)
        return h

    def _accumulate(self, images: Array, back: Array) -> None:
        """Add ``images^T back`` to the unscaled first layers, in place."""
        if self._fused:
            accumulate(self._gemm, images, back, self._v1.reshape(self.d, -1))
            return
        for v, g in zip(self._v1, back, strict=True):
            accumulate(self._gemm, images, g, v)

    def _buffer(self, purpose: str, n: int, n_networks: int) -> Array:
        """Return a reused array of the hidden units: (n, networks m) when fused, else (networks, n, m)."""
        key = (purpose, n, n_networks)
        if key not in self._workspace:
            shape = (n, n_networks * self.m) if self._fused else (n_networks, n, self.m)
            self._workspace[key] = np.empty(shape, self.dtype)
        return self._workspace[key]

    def _by_network(self, hidden: Array) -> Array:
        """Return a buffer as (networks, n, m), without a copy."""
        if not self._fused:
            return hidden
        return hidden.reshape(len(hidden), -1, self.m).transpose(1, 0, 2)

    def _per_unit(self, values: NDArray[np.float64]) -> Array:
        """Return one value a network in a shape that multiplies a buffer."""
        cast = values.astype(self.dtype)
        return np.repeat(cast, self.m) if self._fused else cast[:, None, None]
