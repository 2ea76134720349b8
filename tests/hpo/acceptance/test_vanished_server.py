"""The PostgreSQL server vanishes, as a machine without power does: no connection is told so."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from hpo.database import postgresql, tables
from hpo.database.reader import read_once
from hpo.testing import until
from tests.hpo import stores
from tests.hpo.ways import Way, can_forget

linux = pytest.mark.skipif(sys.platform != "linux", reason="what a system calls them differs")
SCRIPT = Path(sys.executable).with_name("hpo")
STUDY = """
import hpo

STUDY = hpo.StudyDefinition(name="long", grid=hpo.Logarithmic(-5, -1, 8), n_s=500, n_cycles=16)
"""


server = stores.own_server


@pytest.fixture
def way(server: Any) -> Iterator[Way]:
    opened = Way(server)
    yield opened
    opened.close()


@linux
@pytest.mark.parametrize(("asked", "idle"), [("", 10), ("?keepalives_idle=77", 77)])
def test_a_connection_asks_now_and_then_whether_the_server_is_there(
    way: Way, asked: str, idle: int
) -> None:
    url = way.url + asked
    engine = sa.create_engine(url, **postgresql.options(url))
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        with socket.socket(fileno=socket.dup(driver.fileno())) as end:
            names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
            options = [end.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names]
    engine.dispose()
    assert options == [idle, 5, 4, 30_000]


@pytest.mark.skipif(not can_forget(), reason="this system drops no packets for who asks")
@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_worker_goes_on_by_other_connections_within_two_minutes(
    way: Way, server: Any, tmp_path: Path
) -> None:
    (tmp_path / "long.py").write_text(STUDY)
    url = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    submit = [SCRIPT, "submit", "long.py", "--data", "digits", "--storage", url]
    subprocess.run(submit, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    worker = [SCRIPT, "worker", "--data", "digits", "--storage", way.url]
    with (tmp_path / "told").open("w") as told:
        process = subprocess.Popen(worker, cwd=tmp_path, stdout=told, stderr=told)
        try:
            until(lambda: "in one stack" in (tmp_path / "told").read_text(), seconds=60)
            way.forget()
            process.wait(120)
        finally:
            process.kill()
            process.wait()

    story = (tmp_path / "told").read_text()
    assert process.returncode == 0, story
    assert "Traceback" not in story
    attempts = tables.attempts.select()
    ended = [row.state for row in read_once(url, lambda c: c.execute(attempts).all())]
    assert ended == ["ended"] * 8, story
