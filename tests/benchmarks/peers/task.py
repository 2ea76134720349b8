"""The task that every peer solves: the grid, the recipe and the images of studies/coarse.py.

Eight networks 3072-50-10 (ReLU, softmax) that differ in lambda are trained on 45,000 images of
CIFAR-10 for two triangular cycles of the learning rate; validation cost, loss and accuracy are
wanted at 40 log points. What a peer does with its own tool is in its own script.
"""

import argparse
import json
import multiprocessing
import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

LAMBDAS = (
    9.999999999999999e-06,
    3.727593720314938e-05,
    0.00013894954943731373,
    0.0005179474679231212,
    0.0019306977288832496,
    0.007196856730011514,
    0.026826957952797246,
    0.09999999999999999,
)
N_VALIDATION, N_TRAINING = 5000, 45_000
D, M, K = 3072, 50, 10  #: values of an image, hidden units, classes
BATCH = 100
ETA_MIN, ETA_MAX, N_S = 1e-5, 1e-1, 900
PERIOD = N_S // 10  #: updates from one log point to the next
LOG_POINTS = 40
CHUNK = 100  #: images normalised at a time, so that they stay in the cache

Pixels = NDArray[np.uint8]  #: (n, D)
Labels = NDArray[np.int64]  #: (n,)


def arguments(
    description: str | None,
    *,
    budget: float = 1.0,
    processes: int | None = None,
    flags: Sequence[str] = (),
) -> argparse.Namespace:
    """Return the options; a script that can be spread over ``processes`` has an option for it.

    Args:
        flags: Names of what a script can do, or not.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, help="folder of the batches; random images without")
    parser.add_argument("--cells", type=_numbers, default=list(range(len(LAMBDAS))))
    parser.add_argument("--budget", type=float, default=budget, help="fraction of the updates")
    parser.add_argument("--train-metrics", choices=("running", "full"), default="running")
    if processes is not None:
        parser.add_argument("--processes", type=int, default=processes)
    for flag in flags:
        parser.add_argument(f"--{flag}", action="store_true")
    options = parser.parse_args()
    options.lambdas = [LAMBDAS[cell] for cell in options.cells]
    options.log_points = max(1, round(LOG_POINTS * options.budget))
    return options


def _numbers(written: str) -> list[int]:
    return [int(number) for number in written.split(",")]


def images(folder: Path | None) -> tuple[Pixels, Labels]:
    """Return the 50,000 images, of which the first 5,000 are for validation."""
    if folder is None:
        rng = np.random.default_rng(0)
        n = N_VALIDATION + N_TRAINING
        return rng.integers(0, 256, (n, D), dtype=np.uint8), rng.integers(0, K, n)
    batches = [
        pickle.loads((folder / f"data_batch_{n}").read_bytes(), encoding="bytes")
        for n in range(1, 6)
    ]
    pixels = np.concatenate([batch[b"data"] for batch in batches])
    return pixels, np.concatenate([batch[b"labels"] for batch in batches]).astype(np.int64)


def normalised(pixels: Pixels, dtype: DTypeLike) -> NDArray[np.floating]:
    """Return images with mean 0 and deviation 1, each over its own values; two threads work."""
    out = np.empty(pixels.shape, dtype)

    def fill(start: int) -> None:
        rows = out[start : start + CHUNK]
        rows[:] = pixels[start : start + CHUNK]
        rows -= rows.mean(axis=1, keepdims=True)
        rows *= 1 / np.sqrt(np.einsum("nd,nd->n", rows, rows)[:, None] / D)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(fill, range(0, len(out), CHUNK)))
    return out


def rate(update: int) -> float:
    """Return the learning rate of ``update``, counted from 0."""
    height = 1 - abs(update % (2 * N_S) / N_S - 1)
    return ETA_MIN + height * (ETA_MAX - ETA_MIN)


def in_processes(work: Callable[[int], Any], n: int) -> list[Any]:
    """Return work(0) ... work(n - 1), each in a forked process that shares what was loaded."""
    if n == 1:
        return [work(0)]
    context = multiprocessing.get_context("fork")
    pipes = []
    for i in range(n):
        ours, theirs = context.Pipe(duplex=False)
        context.Process(target=lambda i=i, end=theirs: end.send(work(i)), daemon=True).start()
        theirs.close()  # so that a process that dies is noticed
        pipes.append(ours)
    return [pipe.recv() for pipe in pipes]


def tell(
    options: argparse.Namespace, accuracies: Sequence[float], versions: dict[str, str]
) -> None:
    """Print what came out, one line of JSON."""
    answer = {
        "accuracies": [round(float(accuracy), 4) for accuracy in accuracies],
        "n_log_points": options.log_points,
        "versions": versions,
        "budget": options.budget,
    }
    print(json.dumps(answer))
