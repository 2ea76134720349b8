"""A server to download from, and a cache of prepared images."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpo.machine import cache
from tests.hpo.data.birds import Environment
from tests.hpo.data.server import Server


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "archive.tar.gz"


@pytest.fixture
def environ(tmp_path: Path) -> Environment:
    try:
        cache.opened(tmp_path / "probe")
    except cache.Untrusted as error:
        pytest.skip(f"no cache is trusted here: {error}")
    return {"HPO_CACHE": str(tmp_path / "cache")}
