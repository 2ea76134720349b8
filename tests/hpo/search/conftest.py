"""Every sampler, and every one that learns."""

import pytest

from hpo.definition.spaces import SAMPLERS
from tests.hpo.search.proposing import LEARNERS, installed


@pytest.fixture(params=SAMPLERS)
def sampler(request: pytest.FixtureRequest) -> str:
    """Each sampler that is installed."""
    return installed(request.param)


@pytest.fixture(params=LEARNERS)
def learner(request: pytest.FixtureRequest) -> str:
    """Each sampler that looks at results, as far as it is installed."""
    return installed(request.param)
