"""The PostgreSQL server goes away and comes back while a study is running."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

from hpo.database import outcomes, rows
from hpo.database.reader import read_once
from hpo.mirror.study import stored
from hpo.testing import until
from hpo.views.export import to_json
from tests.hpo import stores

pytestmark = pytest.mark.long

SCRIPT = Path(sys.executable).with_name("hpo")
N_WORKERS = 4
STUDY = """
from hpo.definition.study import StudyDefinition
from hpo.definition.grids import Logarithmic

STUDY = StudyDefinition(name="long", grid=Logarithmic(-5, -1, 16), n_s=100, n_cycles=16)
"""
RUN = ("run", "long.py", "--data", "digits")


server = stores.own_server


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The export of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("quiet")
    (folder / "long.py").write_text(STUDY)
    url = f"sqlite:///{folder / 'quiet.db'}"
    run = [SCRIPT, *RUN, "--workers", "1", "--storage", url]
    assert subprocess.run(run, cwd=folder, capture_output=True, timeout=120).returncode == 0
    return export(url)


def export(url: str) -> str:
    return read_once(url, lambda connection: to_json(connection, stored(connection, "long-digits")))


def control(server: Any, *words: str) -> None:
    """Run pg_ctl for the server's folder, as the user that it belongs to."""
    command = [server.bin_path / "pg_ctl", "-w", "-D", server.pgdata, *words]
    user = {"user": server.system_user} if server.system_user and os.geteuid() == 0 else {}
    subprocess.run(
        [*map(str, command)], check=True, stdout=subprocess.DEVNULL, timeout=60, cwd="/", **user
    )


def fast(server: Any) -> None:
    server.stop()
    server.start()


def immediate(server: Any) -> None:
    """As if the power had failed: nobody is told, and the server recovers from its log."""
    control(server, "stop", "-m", "immediate")
    server.start()


def away_for_some_seconds(server: Any) -> None:
    server.stop()
    time.sleep(5)
    server.start()


def workers_of(process: "subprocess.Popen[str]") -> list[int]:
    found = []
    for child in psutil.Process(process.pid).children():
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if any("hpo.workers.member" in word for word in child.cmdline()):
                found.append(child.pid)
    return sorted(found)


@pytest.mark.parametrize(
    "restart",
    [
        fast,
        pytest.param(immediate, marks=pytest.mark.long),
        pytest.param(away_for_some_seconds, marks=pytest.mark.long),
    ],
)
def test_four_workers_go_on_when_the_server_was_restarted(
    server: Any, restart: Callable[[Any], None], quiet: str, tmp_path: Path
) -> None:
    (tmp_path / "long.py").write_text(STUDY)
    address = server.get_uri()
    url = address.replace("postgresql://", "postgresql+psycopg://")
    run = [SCRIPT, *RUN, "--workers", str(N_WORKERS), "--storage", url]
    with (tmp_path / "told").open("w") as told:
        process = subprocess.Popen(
            run, cwd=tmp_path, stdout=subprocess.PIPE, stderr=told, text=True
        )
        try:
            wait_for(process, lambda: (tmp_path / "told").read_text().count("in one stack") == 4)
            crew = workers_of(process)
            assert len(crew) == N_WORKERS
            before = server.get_pid()
            restart(server)
            assert server.get_pid() != before
            assert process.poll() is None  # the study was not done meanwhile
            assert server.get_uri() == address
            assert workers_of(process) == crew
            out, _ = process.communicate(timeout=120)
        finally:
            process.kill()
            process.communicate()

    story = (tmp_path / "told").read_text()
    assert process.returncode == 0, story
    assert "Traceback" not in story
    assert "died" not in story
    assert out.startswith("long-digits: 16 of 16 done")

    def look(connection: sa.Connection) -> tuple[list[int], list[tuple[str, int]], set[int]]:
        study = stored(connection, "long-digits").uuid
        cells = [result.slot.cell for result in outcomes.results_of(connection, study)]
        shown = connection.execute(sa.text("select state, count(*) from trials group by state"))
        attempts = {attempt.number for attempt in rows.attempts_of(connection, study)}
        return cells, [(row[0], row[1]) for row in shown], attempts

    assert read_once(url, look) == (list(range(16)), [("COMPLETE", 16)], {0})
    assert export(url) == quiet


def wait_for(process: "subprocess.Popen[str]", happens: Callable[[], bool]) -> None:
    until(lambda: process.poll() is not None or happens(), seconds=60)
    assert process.poll() is None
