"""What the tests of this folder leave behind."""

from collections.abc import Iterator

import pytest

from tests.hpo.mirror.others import opened_by_others


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Close what others opened, whose connections PostgreSQL's driver would complain of."""
    yield
    while opened_by_others:
        opened_by_others[-1].remove_session()
        opened_by_others.pop().engine.dispose()
