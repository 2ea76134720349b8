"""SciPy's BLAS is loaded without the rest of its linear algebra, which may follow."""

import subprocess
import sys

PROGRAM = """
import sys
import numpy as np
from model.blas import blas

a, b = np.eye(3, dtype=np.float32), np.arange(9, dtype=np.float32).reshape(3, 3)
assert (blas().sgemm(1, a, b) == b).all()
assert "scipy.linalg" not in sys.modules
first = blas().sgemm
import scipy.linalg
from scipy.linalg import blas as whole
assert whole.sgemm is first
assert (scipy.linalg.solve_triangular(np.eye(2), [1, 2]) == [1, 2]).all()
"""


def test_it_is_loaded_alone_and_is_that_of_scipy_when_the_rest_follows() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
