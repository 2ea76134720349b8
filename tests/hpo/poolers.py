"""PgBouncer in front of the session's PostgreSQL, where the machine has it."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@pytest.fixture
def pooled(postgresql_url: str) -> Iterator[str]:
    """The database behind a pooler that gives each transaction any of three connections."""
    with behind(postgresql_url, 3) as url:
        yield url


@pytest.fixture
def strangled(postgresql_url: str) -> Iterator[str]:
    """The database behind a pooler with one connection: who holds one and asks for another waits."""
    with behind(postgresql_url, 1) as url:
        yield url


@contextmanager
def behind(postgresql_url: str, n_connections: int) -> Iterator[str]:
    """Put a pooler before a database for the time of a block."""
    if PGBOUNCER is None:
        pytest.skip("needs pgbouncer, which Debian has as a package")
    address = sa.make_url(postgresql_url)
    folder = Path(tempfile.mkdtemp(prefix="hpo-pb-"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    host = address.query.get("host") or address.host
    (folder / "users").write_text(f'"{address.username}" ""\n')
    (folder / "ini").write_text(
        f"[databases]\n{address.database} = host={host} port={address.port or 5432} "
        f"user={address.username}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
        f"unix_socket_dir =\nauth_type = any\nauth_file = {folder / 'users'}\n"
        f"pool_mode = transaction\ndefault_pool_size = {n_connections}\nquery_wait_timeout = 30\n"
    )
    user = pwd.getpwuid(Path(str(host)).stat().st_uid).pw_name  # the socket is for its owner alone
    folder.chmod(0o755)
    process = subprocess.Popen(
        [PGBOUNCER, "-q", *(["-u", user] if os.getuid() == 0 else []), str(folder / "ini")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        end = time.monotonic() + 20
        while not _answers(port):
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            assert time.monotonic() < end
            time.sleep(0.05)
        yield f"postgres://{address.username}@127.0.0.1:{port}/{address.database}"
    finally:
        process.kill()
        process.communicate()
        shutil.rmtree(folder, ignore_errors=True)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
