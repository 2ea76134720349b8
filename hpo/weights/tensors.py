"""A safetensors file read with care: eight bytes of length, a header in JSON, then the numbers.

Reference: https://huggingface.co/docs/safetensors, "Format".
"""

import json
import math
import os
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from model.archive import Damaged

MOST_HEADER = 1 << 20  #: bytes; ours has about a thousand
#: Types of numbers that NumPy has too.
TYPES: dict[str, np.dtype[Any]] = {
    **{f"F{8 * n}": np.dtype(f"<f{n}") for n in (2, 4, 8)},
    **{f"I{8 * n}": np.dtype(f"<i{n}") for n in (1, 2, 4, 8)},
    **{f"U{8 * n}": np.dtype(f"<u{n}") for n in (1, 2, 4, 8)},
}


def read(file: BinaryIO) -> tuple[Any, dict[str, NDArray[Any]]]:
    """Return the metadata and the arrays of a file.

    Raises:
        Damaged: It is another kind of file, or its header does not fit its content.
    """
    n_bytes = os.fstat(file.fileno()).st_size
    n_header = int.from_bytes(file.read(8), "little")
    if n_bytes < 8 or not 2 <= n_header <= min(MOST_HEADER, n_bytes - 8):
        raise Damaged("it does not begin with the length of a header")
    try:
        header = json.loads(file.read(n_header))
    except (ValueError, RecursionError) as error:
        raise Damaged(f"its header is no JSON: {str(error)[:200]}") from error
    if not isinstance(header, dict):
        raise Damaged("its header names no arrays")
    metadata = header.pop("__metadata__", None)
    start, n_content = 8 + n_header, n_bytes - 8 - n_header
    return metadata, {str(n): _array(file, start, n_content, told) for n, told in header.items()}


def _array(file: BinaryIO, start: int, n_content: int, told: Any) -> NDArray[Any]:
    try:
        dtype, shape = TYPES[told["dtype"]], list(told["shape"])
        first, last = told["data_offsets"]
        is_whole = all(type(n) is int and n >= 0 for n in (*shape, first, last))
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged(f"its header says of an array: {str(told)[:100]}") from error
    if (
        not is_whole
        or not first <= last <= n_content
        or last - first != math.prod(shape) * dtype.itemsize
    ):
        raise Damaged(f"an array is not where its header says: {str(told)[:100]}")
    file.seek(start + first)
    content = file.read(last - first)
    if len(content) != last - first:
        raise Damaged("it ends too early")
    found: NDArray[Any] = np.frombuffer(content, dtype).reshape(shape)
    return found
