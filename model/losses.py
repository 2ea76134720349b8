"""The two losses on class scores, each with the gradient that belongs to it.

Scores have shape (..., n, k) for n images and k classes; labels have shape (n,). All functions
are stable for scores of any finite size.
"""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Labels = NDArray[np.integer]


class Loss(StrEnum):
    """Which loss a network is trained with."""

    CROSS_ENTROPY = "cross-entropy"  #: softmax outputs, one distribution over the classes
    BINARY_CROSS_ENTROPY = "binary-cross-entropy"  #: sigmoid outputs, mean over the classes


def softmax(scores: Array) -> Array:
    """Return the probabilities of the classes, shape (..., k).

    >>> softmax(np.array([1000.0, 1000.0]))
    array([0.5, 0.5])
    """
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    probabilities: Array = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return probabilities


def sigmoid(scores: Array) -> Array:
    """Return the probability of each class on its own, same shape.

    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    small = np.exp(-np.abs(scores))  # in (0, 1]; cannot overflow
    probabilities: Array = np.where(scores >= 0, 1, small) / (1 + small)
    return probabilities


def probabilities(loss: Loss, scores: Array) -> Array:
    """Return what a network trained with ``loss`` holds its scores for, shape (..., k).

    They sum to 1 over the classes, or with the binary loss each class has one of its own.

    >>> probabilities(Loss.CROSS_ENTROPY, np.zeros((1, 4)))
    array([[0.25, 0.25, 0.25, 0.25]])
    """
    return softmax(scores) if loss is Loss.CROSS_ENTROPY else sigmoid(scores)


def losses(loss: Loss, scores: Array, labels: Labels) -> Array:
    """Return the loss of every image in nats, shape (..., n).

    An untrained network, whose scores are all equal, has a cross-entropy of ln k.

    >>> losses(Loss.CROSS_ENTROPY, np.zeros((1, 10)), np.array([3])).round(3)
    array([2.303])
    """
    return _losses_and_gradient(loss, scores, labels, gradient=False)[0]


def losses_and_gradient(loss: Loss, scores: Array, labels: Labels) -> tuple[Array, Array]:
    """Return the loss of every image, (..., n), and its gradient in the scores, (..., n, k)."""
    values, gradient = _losses_and_gradient(loss, scores, labels, gradient=True)
    return values, gradient


def _highest(scores: Array) -> Array:
    """Return the maxima over the classes, (..., n, 1), by argmax, which is faster than max."""
    best = scores.argmax(axis=-1)
    flat = scores.reshape(-1, scores.shape[-1])
    highest: Array = flat[np.arange(len(flat)), best.reshape(-1)].reshape(*best.shape, 1)
    return highest


def _losses_and_gradient(
    loss: Loss, scores: Array, labels: Labels, *, gradient: bool
) -> tuple[Array, Array]:
    places = np.arange(len(labels))
    if loss is Loss.CROSS_ENTROPY:
        shifted = scores - _highest(scores)
        true_score = shifted[..., places, labels]  # (..., n)
        exponentials = np.exp(shifted, out=shifted)
        total = np.add.reduce(exponentials, axis=-1, keepdims=True)
        values = np.log(total[..., 0]) - true_score
        if gradient:
            exponentials /= total
            exponentials[..., places, labels] -= 1
        return values, exponentials
    # -y log p - (1 - y) log(1 - p) = max(s, 0) - y s + log(1 + exp(-|s|)) with p = sigmoid(s)
    n_classes = scores.shape[-1]
    softplus = np.maximum(scores, 0) + np.log1p(np.exp(-np.abs(scores)))
    values = (softplus.sum(axis=-1) - scores[..., places, labels]) / n_classes
    if not gradient:
        return values, scores
    slope = sigmoid(scores)
    slope[..., places, labels] -= 1
    slope /= n_classes
    return values, slope
