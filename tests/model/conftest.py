"""Small data sets of random images, for tests that need no picture."""

from collections.abc import Callable

import numpy as np
import pytest

from model.data import Dataset

MakeDataset = Callable[..., Dataset]


@pytest.fixture(scope="session")
def make_dataset() -> MakeDataset:
    """Return a maker of data sets: ``make_dataset(n, d)`` has n images of d random bytes."""

    def make(
        n: int, d: int, *, k: int = 10, seed: int = 0, image_shape: tuple[int, ...] = ()
    ) -> Dataset:
        rng = np.random.default_rng(seed)
        images = rng.integers(0, 256, (n, d), dtype=np.uint8)
        return Dataset("random", images, rng.integers(0, k, n), k, image_shape)

    return make
