"""One two-layer network as plain functions: the readable reference for `model.stack`.

Images are rows. Scores are ``relu(x @ w1 + b1) @ w2 + b2``; the cost is the mean loss plus
``lambda (||w1||^2 + ||w2||^2)``, and biases are not penalised.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import DTypeLike, NDArray

from model.losses import Labels, Loss, losses, losses_and_gradient

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Network:
    """The parameters of a network, or their gradients."""

    w1: Array  #: (d, m)
    b1: Array  #: (m,)
    w2: Array  #: (m, k)
    b2: Array  #: (k,)

    def astype(self, dtype: DTypeLike) -> "Network":
        """Return a copy in another precision."""
        return Network(**{f.name: getattr(self, f.name).astype(dtype) for f in fields(self)})


def initialise(rng: np.random.Generator, d: int, m: int, k: int) -> Network:
    """Draw weights from N(0, 1/sqrt(inputs)) and zero biases, in float64 (Xavier's rule)."""
    return Network(
        w1=rng.normal(0, 1 / np.sqrt(d), size=(d, m)),
        b1=np.zeros(m),
        w2=rng.normal(0, 1 / np.sqrt(m), size=(m, k)),
        b2=np.zeros(k),
    )


def hidden(network: Network, images: Array) -> Array:
    """Return the outputs of the hidden layer, shape (n, m)."""
    return np.maximum(images @ network.w1 + network.b1, 0)


def forward(network: Network, images: Array) -> Array:
    """Return the class scores of ``images`` (n, d), shape (n, k)."""
    scores: Array = hidden(network, images) @ network.w2 + network.b2
    return scores


def penalty(network: Network, lambda_: float) -> float:
    """Return lambda times the sum of squared weights."""
    return lambda_ * float(np.sum(network.w1**2) + np.sum(network.w2**2))


def cost(
    network: Network,
    images: Array,
    labels: Labels,
    lambda_: float,
    loss: Loss = Loss.CROSS_ENTROPY,
) -> float:
    """Return the mean loss of the images plus the penalty."""
    mean_loss = float(np.mean(losses(loss, forward(network, images), labels)))
    return mean_loss + penalty(network, lambda_)


def accuracy(network: Network, images: Array, labels: Labels) -> float:
    """Return the share of images whose highest score is that of their label."""
    return float(np.mean(forward(network, images).argmax(axis=1) == labels))


def gradients(
    network: Network,
    images: Array,
    labels: Labels,
    lambda_: float,
    loss: Loss = Loss.CROSS_ENTROPY,
) -> Network:
    """Return the gradient of `cost` in every parameter, in the shape of a network."""
    h = hidden(network, images)  # (n, m)
    _, slope = losses_and_gradient(loss, h @ network.w2 + network.b2, labels)
    slope /= len(images)  # (n, k)
    back = (slope @ network.w2.T) * (h > 0)  # (n, m)
    return Network(
        w1=images.T @ back + 2 * lambda_ * network.w1,
        b1=back.sum(axis=0),
        w2=h.T @ slope + 2 * lambda_ * network.w2,
        b2=slope.sum(axis=0),
    )


def step(network: Network, gradient: Network, eta: float) -> Network:
    """Return the network one gradient step of rate ``eta`` further."""
    return Network(
        w1=network.w1 - eta * gradient.w1,
        b1=network.b1 - eta * gradient.b1,
        w2=network.w2 - eta * gradient.w2,
        b2=network.b2 - eta * gradient.b2,
    )
