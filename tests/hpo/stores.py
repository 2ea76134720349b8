"""Databases that tests write to."""

from collections.abc import Iterator

import pytest

from hpo.database.storage import Storage


@pytest.fixture
def of_each_kind(url: str) -> Iterator[Storage]:
    """A new, empty database at the test's ``url``; a module takes it as ``storage``."""
    with Storage(url) as opened:
        yield opened
