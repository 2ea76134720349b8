"""The notebook's algorithm: float64, one network after another, images as columns.

The training set is really shuffled before every epoch, and stays shuffled from one run to the
next. At a log point the whole training set (with ``--train-metrics full``, its own way) and the
whole validation set go through the network at once. BLAS has as many threads as it likes. With
all eight cells in order the accuracies are those that the notebook printed.
"""

from dataclasses import dataclass

import numpy as np
import task
from numpy.typing import NDArray

SEED = 65465168  # the notebook's; its stream starts anew with every run

Array = NDArray[np.floating]


@dataclass
class Part:
    """Images (D, n) as columns, labels one-hot (K, n)."""

    images: Array
    hot: Array

    def shuffle(self, random: np.random.RandomState) -> None:
        order = random.permutation(self.images.shape[1])
        self.images, self.hot = self.images[:, order], self.hot[:, order]

    def batch(self, number: int) -> "Part":
        columns = slice(number * task.BATCH, (number + 1) * task.BATCH)
        return Part(self.images[:, columns], self.hot[:, columns])


class Network:
    """Two layers, with weights (outputs, inputs)."""

    def __init__(self, random: np.random.RandomState, lambda_: float) -> None:
        self.lambda_ = lambda_
        self.w1 = random.normal(0, 1 / np.sqrt(task.D), (task.M, task.D))
        self.b1 = np.zeros((task.M, 1))
        self.w2 = random.normal(0, 1 / np.sqrt(task.M), (task.K, task.M))
        self.b2 = np.zeros((task.K, 1))

    def forward(self, images: Array) -> tuple[Array, Array]:
        """Return hidden layer and probabilities."""
        h = np.maximum(0, self.w1 @ images + self.b1)
        scores = np.exp(self.w2 @ h + self.b2)
        return h, scores / scores.sum(axis=0)

    def update(self, batch: Part, eta: float) -> None:
        n = batch.images.shape[1]
        h, p = self.forward(batch.images)
        g = p - batch.hot
        grad_w2 = g @ h.T / n + 2 * self.lambda_ * self.w2
        grad_b2 = g.sum(axis=1, keepdims=True) / n
        g = (self.w2.T @ g) * (h > 0)
        self.w1 -= eta * (g @ batch.images.T / n + 2 * self.lambda_ * self.w1)
        self.b1 -= eta * g.sum(axis=1, keepdims=True) / n
        self.w2 -= eta * grad_w2
        self.b2 -= eta * grad_b2

    def evaluate(self, part: Part) -> tuple[float, float, float]:
        """Return cost, loss and accuracy."""
        _, p = self.forward(part.images)
        loss = np.sum(-part.hot * np.log(p)) / p.shape[1]
        penalty = self.lambda_ * (np.sum(self.w1**2) + np.sum(self.w2**2))
        accuracy = np.mean(p.argmax(axis=0) == part.hot.argmax(axis=0))
        return loss + penalty, loss, float(accuracy)


def train(
    training: Part, validation: Part, lambda_: float, log_points: int, full: bool
) -> list[tuple[float, float, float]]:
    """Return the validation curve of one network; the training set is left shuffled."""
    random = np.random.RandomState(SEED)
    network = Network(random, lambda_)
    per_epoch = task.N_TRAINING // task.BATCH
    curve, training_curve = [], []
    for update in range(log_points * task.PERIOD):
        epoch_update = update % per_epoch
        if epoch_update == 0:
            training.shuffle(random)
        network.update(training.batch(epoch_update), task.rate(update))
        if (update + 1) % task.PERIOD == 0:
            if full:
                training_curve.append(network.evaluate(training))
            curve.append(network.evaluate(validation))
    return curve


def main() -> None:
    options = task.arguments(__doc__)
    pixels, labels = task.images(options.data)
    images = task.normalised(pixels, np.float64).T
    hot = np.eye(task.K)[labels].T
    n = task.N_VALIDATION
    training, validation = Part(images[:, n:], hot[:, n:]), Part(images[:, :n], hot[:, :n])
    full = options.train_metrics == "full"
    accuracies = [
        train(training, validation, lambda_, options.log_points, full)[-1][2]
        for lambda_ in options.lambdas
    ]
    task.tell(options, accuracies, {"numpy": np.__version__})


if __name__ == "__main__":
    main()
