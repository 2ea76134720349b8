"""A network's bits know nothing of its company on any processor: what BLAS does there is tried out.

OpenBLAS chooses kernels by the processor. It can be told to take those of older ones, so what
happens there is seen here.
"""

import os
import signal
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from scipy.linalg import blas

from model import fusing

#: Kernels of OpenBLAS for x86-64: without AVX, with AVX, AVX2 and AVX-512.
KERNELS = ("Prescott", "Nehalem", "Sandybridge", "Haswell", "Zen", "SkylakeX")
#: Prints what every network of stacks of several widths has come to, and whether they were fused.
RACE = """
import hashlib
import numpy as np
from model.network import Network
from model.order import StandardRandomness
from model.stack import Member, Stack
from model.losses import Loss

rng = np.random.default_rng(0)
images = rng.standard_normal((5, 100, 3072), dtype=np.float32)
labels = rng.integers(0, 10, (5, 100))

def digests(keys):
    networks = [StandardRandomness(k, (3072, 50, 10)).network().astype(np.float32) for k in keys]
    members = [Member(k, 1e-4 * k) for k in keys]
    stack = Stack(members, networks, 100, Loss.CROSS_ENTROPY)
    for x, y in zip(images, labels):
        stack.step(x, y, np.full(len(keys), 0.05))
    everything = stack.evaluate(images.reshape(500, 3072), labels.reshape(500), slice(0, len(keys)))
    found = {}
    for t, key in enumerate(keys):
        parts = [a.tobytes() for a in vars(stack.network(key)).values()]
        parts += [a[t].tobytes() for a in everything]
        found[key] = hashlib.md5(b"".join(parts)).hexdigest()
    return found, stack._fused

alone = {k: digests([k])[0][k] for k in range(7)}
for keys in ([0, 1], [3, 1, 2], [6, 5, 4, 3, 2, 1, 0]):
    found, fused = digests(keys)
    assert found == {k: alone[k] for k in keys}, keys
print(fused)
"""


@pytest.mark.parametrize(
    "kernels",
    [
        k if k in ("Haswell", "SkylakeX") else pytest.param(k, marks=pytest.mark.long)
        for k in KERNELS
    ],
)
def test_on_every_processor_a_network_has_the_same_bits_in_every_stack(kernels: str) -> None:
    environment = os.environ | {"OPENBLAS_CORETYPE": kernels, "OPENBLAS_NUM_THREADS": "1"}

    done = subprocess.run(
        [sys.executable, "-c", RACE], env=environment, capture_output=True, text=True
    )

    if done.returncode == -signal.SIGILL:
        pytest.skip(f"this processor has no instructions of {kernels}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("True", "False")


def test_a_product_that_sums_its_last_columns_in_another_order_is_found() -> None:
    def other(alpha: float, *, a: Any, b: Any, beta: float, c: Any, **rest: Any) -> None:
        blas.sgemm(alpha, a=a, b=b, beta=beta, c=c, **rest)
        if a.shape[0] >= 100:  # as where a block ends
            c[-1] += np.spacing(c[-1])

    assert not fusing.columns_are_alike(100, 50, other)


def test_it_is_tried_above_the_size_at_which_kernels_change() -> None:
    sizes = []

    def seen(alpha: float, *, a: Any, b: Any, **_: Any) -> None:
        sizes.append(a.shape[0] * b.shape[0] * a.shape[1])

    fusing.columns_are_alike(20, 10, seen)

    assert min(sizes) >= fusing.FUSED_FROM
