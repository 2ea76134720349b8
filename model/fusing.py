"""Whether the products of several networks may be one: whether BLAS sums a column alike wherever it stands.

That is so of OpenBLAS's kernels for AVX-512 (SkylakeX) in float32, above the size of its kernels
for small products. Those for AVX2 (Haswell, Zen) add the first and the last columns of a block in
another order than the rest, and where blocks end depends on the width. So it is tried out, on the
processor and the library at hand: a product of equal columns must have equal columns, the same
ones in every width.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Gemm = Callable[..., Any]

#: Multiplications in one network's product from which products of several may be fused. OpenBLAS
#: changes kernels at 100^3 (seen with NumPy 2.4 and SciPy 1.17, AVX-512); twice that is kept.
FUSED_FROM = 2_000_000
FEWEST = 8  #: images, and hidden units, of a product that may be fused
WIDTHS = (1, 2, 3, 16, 32)  #: networks side by side in what is tried out
MOST = 8_000_000  #: numbers in a product that is tried out, unless three networks have more


@cache
def columns_are_alike(n: int, m: int, gemm: Gemm) -> bool:
    """Try out whether a network's products have the same bits in every company; takes some ms.

    Args:
        n: Images in a mini-batch.
        m: Hidden units of a network.
        gemm: SciPy's ``sgemm``, whose library need not be NumPy's.
    """
    d = -(-FUSED_FROM // (n * m))
    rng = np.random.default_rng(0)
    images, weights, slope = (
        rng.standard_normal(shape, dtype=np.float32) for shape in ((n, d), (d, 1), (n, 1))
    )
    for width in WIDTHS:
        if width > 3 and max(n, d) * width * m > MOST:
            break
        v = np.repeat(weights, width * m, axis=1)
        hidden = np.matmul(images, v)
        accumulate(gemm, images, np.repeat(slope, width * m, axis=1), v)
        if width == 1:
            first = hidden[:, :1].copy(), v[:, :1].copy()
        if (hidden != first[0]).any() or (v != first[1]).any():
            return False
    return True


def accumulate(gemm: Gemm, images: Array, back: Array, v: Array) -> None:
    """Add ``images^T back`` to ``v``, in place; all are C-contiguous.

    BLAS counts columns first, so what it is given are the transposes, without a copy:
    ``v^T += back^T images``.
    """
    gemm(1, a=back.T, b=images.T, beta=1, c=v.T, trans_b=1, overwrite_c=1)
