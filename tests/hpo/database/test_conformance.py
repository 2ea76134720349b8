"""Optuna's own suite for storages, on ours: tuning must not break what Optuna promises."""

import gc
from collections.abc import Iterator
from typing import Any

import optuna
import pytest
from optuna.testing.pytest_storages import StorageTestCase

from hpo.database.storage import Storage


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[optuna.storages.RDBStorage]:
    """One database of each kind for the whole suite: making tables takes longer than a test."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('conformance') / 'hpo.db'}"
    else:
        server: Any = request.getfixturevalue("postgresql_server")
        server.psql("create database conformance;")
        address = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        url = address.replace("/postgres?", "/conformance?")
    storage = Storage(url)
    yield storage.optuna
    storage.close()
    if request.param == "postgresql":
        server.psql("drop database conformance with (force);")


@pytest.fixture
def storage(opened: optuna.storages.RDBStorage) -> Iterator[optuna.storages.RDBStorage]:
    """Our storage, with no study in it."""
    yield opened
    for study in opened.get_all_studies():
        opened.delete_study(study._study_id)
    gc.collect()  # the suite leaves a storage that it unpickled to the collector, not closed


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::ResourceWarning")
class TestOurStorageIsAnOptunaStorage(StorageTestCase):
    """All of Optuna's tests run here."""
