"""What every test runs under: one BLAS thread, reproducible examples, real data if offered."""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read when NumPy is imported, so it comes first

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("hpo", deadline=None, derandomize=True, database=None)
settings.load_profile("hpo")


@pytest.fixture(scope="session")
def cifar10_folder() -> Path:
    """Where the official CIFAR-10 batches are; a test that needs them is skipped without."""
    folder = os.environ.get("HPO_DATA")
    if not folder:
        pytest.skip("set HPO_DATA to the folder cifar-10-batches-py or cifar-10-batches-bin")
    return Path(folder)
