"""The centred-difference check of the analytic gradients, over every parameter.

Moving one weight of the first layer changes the input of one hidden unit only, so the costs of
all moves that concern a unit are computed at once; that makes the check of 154,000 parameters a
matter of seconds. The other layers are small and are moved one parameter at a time.
"""

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from model.losses import Labels, Loss, losses
from model.network import Network, cost, gradients, penalty

Array = NDArray[np.floating]


@dataclass(frozen=True)
class GradientErrors:
    """Relative error of the analytic gradient of each parameter array."""

    w1: float
    b1: float
    w2: float
    b2: float


def relative_error(analytic: Array, numeric: Array, smallest: float = 1e-6) -> float:
    """Return ||a - n|| / max(smallest, ||a|| + ||n||), the notebook's measure.

    >>> relative_error(np.array([1.0]), np.array([1.0]))
    0.0
    """
    difference = np.linalg.norm(analytic - numeric)
    total = np.linalg.norm(analytic) + np.linalg.norm(numeric)
    return float(difference / max(smallest, float(total)))


def check_gradients(
    network: Network,
    images: Array,
    labels: Labels,
    lambda_: float,
    loss: Loss = Loss.CROSS_ENTROPY,
    h: float = 1e-5,
) -> GradientErrors:
    """Compare `gradients` with centred differences of width ``h``; everything in float64."""
    analytic = gradients(network, images, labels, lambda_, loss)
    numeric = centred_differences(network, images, labels, lambda_, loss, h)
    return GradientErrors(
        *(
            relative_error(getattr(analytic, f.name), getattr(numeric, f.name))
            for f in fields(Network)
        )
    )


def centred_differences(
    network: Network,
    images: Array,
    labels: Labels,
    lambda_: float,
    loss: Loss = Loss.CROSS_ENTROPY,
    h: float = 1e-5,
) -> Network:
    """Return (cost(p + h) - cost(p - h)) / 2h for every parameter p, in the shape of a network."""
    one_by_one = {
        name: _moved_one_by_one(network, name, images, labels, lambda_, loss, h)
        for name in ("b1", "w2", "b2")
    }
    first = _moved_first_layer(network, images, labels, lambda_, loss, h)
    return Network(w1=first, **one_by_one)


def _moved_one_by_one(
    network: Network, name: str, images: Array, labels: Labels, lambda_: float, loss: Loss, h: float
) -> Array:
    parameters = getattr(network, name)
    result = np.empty(parameters.shape)
    for place in np.ndindex(parameters.shape):
        costs = []
        for move in (h, -h):
            moved = parameters.copy()
            moved[place] += move
            costs.append(cost(replace(network, **{name: moved}), images, labels, lambda_, loss))
        result[place] = (costs[0] - costs[1]) / (2 * h)
    return result


def _moved_first_layer(
    network: Network, images: Array, labels: Labels, lambda_: float, loss: Loss, h: float
) -> Array:
    inputs = images @ network.w1 + network.b1  # (n, m) of the hidden units
    hidden = np.maximum(inputs, 0)
    scores = hidden @ network.w2 + network.b2  # (n, k)
    unmoved_penalty = penalty(network, lambda_)
    result = np.empty(network.w1.shape)
    for unit in range(network.w1.shape[1]):
        others = scores - hidden[:, unit, None] * network.w2[unit]  # (n, k)
        weights = network.w1[:, unit]  # (d,)
        costs = []
        for move in (h, -h):
            outputs = np.maximum(inputs[:, unit] + move * images.T, 0)  # (d, n)
            moved_scores = others + outputs[..., None] * network.w2[unit]  # (d, n, k)
            moved_penalty = unmoved_penalty + lambda_ * ((weights + move) ** 2 - weights**2)
            costs.append(losses(loss, moved_scores, labels).mean(axis=-1) + moved_penalty)
        result[:, unit] = (costs[0] - costs[1]) / (2 * h)
    return result
