"""How fast one process with one BLAS thread multiplies large square matrices, in GFLOP/s.

    OPENBLAS_NUM_THREADS=1 python sgemm.py BEGIN SECONDS

Measures from BEGIN (seconds of the epoch) on, so that several processes measure at once.
"""

import sys
import time

import numpy as np

N = 4096


def main() -> None:
    begin, length = map(float, sys.argv[1:])
    a = np.random.default_rng(0).standard_normal((N, N), dtype=np.float32)
    out = a @ a  # the library is ready, and its memory
    time.sleep(max(0.0, begin - time.time()))
    n, began = 0, time.perf_counter()
    while time.perf_counter() - began < length:
        np.matmul(a, a, out=out)
        n += 1
    print(2 * N**3 * n / (time.perf_counter() - began) / 1e9)


if __name__ == "__main__":
    main()
