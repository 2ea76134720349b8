"""scikit-learn's MLPClassifier with partial_fit, one network at a time, two processes.

What differs from the task: the first weights are the class's own (uniform, Glorot), and so are
its biases. alpha = 200 lambda makes the penalties equal, as the class divides alpha / 2 by the
number of images in the batch. Its constant learning rate cannot be changed once training has
begun, so that of its optimizer is set, which is private. The slowest of the libraries, so the
default is a quarter of the updates.
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read when NumPy is imported, so it comes first

from importlib.metadata import version

import numpy as np
import task
from numpy.typing import NDArray
from sklearn.neural_network import MLPClassifier

Part = tuple[NDArray[np.floating], NDArray[np.integer]]


def evaluate(model: MLPClassifier, part: Part, lambda_: float) -> tuple[float, float, float]:
    """Return cost, loss and accuracy."""
    images, labels = part
    p = model.predict_proba(images)
    loss = -np.log(np.maximum(p[np.arange(len(labels)), labels], 1e-12)).mean()
    penalty = lambda_ * sum(np.sum(w**2) for w in model.coefs_)
    return loss + penalty, loss, float(np.mean(p.argmax(axis=1) == labels))


def train(training: Part, validation: Part, lambda_: float, log_points: int, full: bool) -> float:
    """Return the last validation accuracy."""
    images, labels = training
    model = MLPClassifier(
        hidden_layer_sizes=(task.M,),
        solver="sgd",
        momentum=0,
        alpha=2 * task.BATCH * lambda_,
        batch_size=task.BATCH,
        shuffle=False,
        learning_rate_init=task.rate(0),
        random_state=0,
    )
    rng = np.random.default_rng(1)
    per_epoch = len(labels) // task.BATCH
    curve = []
    for update in range(log_points * task.PERIOD):
        if update % per_epoch == 0:
            batches = rng.permutation(len(labels)).reshape(per_epoch, task.BATCH)
        chosen = batches[update % per_epoch]
        if update:
            model._optimizer.learning_rate = task.rate(update)
        model.partial_fit(images[chosen], labels[chosen], classes=np.arange(task.K))
        if (update + 1) % task.PERIOD == 0:
            if full:
                evaluate(model, training, lambda_)
            curve.append(evaluate(model, validation, lambda_))
    return curve[-1][2]


def main() -> None:
    options = task.arguments(__doc__, budget=0.25, processes=2)
    pixels, labels = task.images(options.data)
    images = task.normalised(pixels, np.float32)
    n = task.N_VALIDATION
    n_processes = min(options.processes, len(options.lambdas))
    full = options.train_metrics == "full"

    def work(place: int) -> list[float]:
        training, validation = (images[n:], labels[n:]), (images[:n], labels[:n])
        return [
            train(training, validation, lambda_, options.log_points, full)
            for lambda_ in options.lambdas[place::n_processes]
        ]

    accuracies = [0.0] * len(options.lambdas)
    for place, share in enumerate(task.in_processes(work, n_processes)):
        accuracies[place::n_processes] = share
    task.tell(options, accuracies, {"scikit-learn": version("scikit-learn")})


if __name__ == "__main__":
    main()
