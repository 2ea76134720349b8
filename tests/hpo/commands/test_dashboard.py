"""The dashboard shows studies to this machine, and lets nobody change them unless it is asked to."""

import http.client
import importlib
import json
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest

from hpo.commands import dashboard
from hpo.database import shown_storage
from hpo.database.reader import Reader
from hpo.database.sqlite_file import LOCK_WAIT
from hpo.database.storage import Storage
from hpo.errors import MissingExtra, PortTaken, StorageError
from tests.hpo import small_grid

pytest.importorskip("optuna_dashboard")
RunGrid = Callable[..., Any]
Asked = tuple[int, Any, dict[str, str]]


def ask(port: int, method: str, path: str, body: Any = None, **headers: str) -> Asked:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    text = None if body is None else json.dumps(body)
    connection.request(method, path, text, {"Content-Type": "application/json", **told})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    is_json = "json" in answer.headers.get("Content-Type", "")
    found = json.loads(content) if is_json and content else content
    return answer.status, found, dict(answer.headers)


@contextmanager
def served(url: str, told: list[str], **options: bool) -> Iterator[int]:
    with dashboard.serving(url, 0, told.append, **options) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def filled(storage: Storage, run_grid: RunGrid) -> Storage:
    run_grid()
    return storage


@pytest.fixture
def port(filled: Storage, told: list[str]) -> Iterator[int]:
    with served(filled.url, told) as found:
        yield found


def test_what_a_page_asks_for_is_answered(port: int, told: list[str]) -> None:
    paths = ("/dashboard", "/dashboard/studies/1", "/api/meta", "/csv/1", "/favicon.ico")
    statuses = {path: ask(port, "GET", path)[0] for path in paths}

    assert statuses == dict.fromkeys(paths, 200)
    [summary] = ask(port, "GET", "/api/studies")[1]["study_summaries"]
    assert summary["study_name"] == "small-digits"
    _, study, headers = ask(port, "GET", f"/api/studies/{summary['study_id']}")
    assert len(study["trials"]) == len(small_grid.LAMBDAS)
    assert headers["X-Frame-Options"] == "DENY"
    assert not told


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/studies"),
        ("POST", "/api/studies/1/rename"),
        ("DELETE", "/api/studies/1"),
        ("PUT", "/api/studies/1/note"),
        ("PUT", "/api/studies/1/1/note"),
        ("POST", "/api/studies/1/preference"),
        ("POST", "/api/trials/1/tell"),
        ("POST", "/api/trials/1/user-attrs"),
        ("POST", "/api/studies/1/1/skip"),
        ("POST", "/api/artifacts/1/1"),
        ("DELETE", "/api/artifacts/1/00"),
        ("POST", "/incompatible-rdb-schema"),  # would upgrade Optuna's tables
        ("POST", "/api/llm/trial_filter_query"),
        ("OPTIONS", "/api/studies"),
        ("BREW", "/"),
    ],
)
def test_whatever_is_not_looking_is_refused_in_a_sentence(
    port: int, method: str, path: str
) -> None:
    status, answer, headers = ask(port, method, path, {"study_name": "x", "direction": "maximize"})

    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    assert "only shows studies" in answer["reason"]
    assert "--allow-edit" in answer["reason"]


def test_every_writing_route_of_the_dashboard_that_is_installed_is_refused(
    filled: Storage, told: list[str]
) -> None:
    import optuna_dashboard

    with served(filled.url, told) as port:
        app: Any = optuna_dashboard.wsgi(filled.optuna)
        rules = [(rule.method, rule.rule) for rule in app.routes]
        writing = [rule for rule in rules if rule[0] not in ("GET", "HEAD")]
        assert len(writing) >= 12
        for method, path in writing:
            assert ask(port, method, path.replace("<", "").replace(">", ""), {})[0] == 405


@pytest.mark.parametrize("path", ["/incompatible-rdb-schema", "/api/new", "/api/studies/x", "/a"])
def test_a_page_that_is_not_known_to_only_look_is_not_there(port: int, path: str) -> None:
    status, answer, _ = ask(port, "GET", path)

    assert status == 404
    assert "no such page" in answer["reason"]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "", "127.0.0.1", "localhost:1"]
)
def test_a_name_that_is_not_ours_is_refused(port: int, host: str) -> None:
    status, answer, _ = ask(port, "GET", "/api/studies", Host=host)

    assert status == 421
    assert f"http://127.0.0.1:{port}/" in answer["reason"]


def test_this_machine_may_be_called_localhost(port: int) -> None:
    assert ask(port, "GET", "/api/studies", Host=f"LocalHost:{port}")[0] == 200


def test_a_path_that_climbs_out_finds_nothing(port: int, told: list[str]) -> None:
    for path in ("/static/../index.html", "/static/..%2f..%2f__init__.py", "/static//etc/passwd"):
        assert ask(port, "GET", path)[0] in (403, 404)
    assert not told


def test_a_storage_that_is_shown_refuses_to_write_in_every_method(filled: Storage) -> None:
    reader = Reader(filled.url)
    try:
        shown = shown_storage.ShownStorage(shown_storage.opened(reader))
        study = optuna.load_study(study_name="small-digits", storage=shown)
        assert len(study.trials) == len(small_grid.LAMBDAS)
        writing = [name for name in dir(shown) if name.startswith(("create_", "delete_", "set_"))]
        assert len(writing) == 10
        for name in writing:
            with pytest.raises(StorageError, match="only shows"):
                getattr(shown, name)(1, "a", "b")
        with pytest.raises(StorageError, match="only shows"):
            study.add_trial(optuna.trial.create_trial(value=1.0))
    finally:
        reader.close()


def test_its_connections_cannot_write_either(filled: Storage) -> None:
    reader = Reader(filled.url)
    try:
        within = shown_storage.opened(reader)
        with pytest.raises(optuna.exceptions.StorageInternalError) as refusal:
            within.set_study_user_attr(1, "a", 1)
        assert isinstance(refusal.value.__cause__.__cause__, sqlite3.OperationalError)  # type: ignore[union-attr]
        assert "readonly" in str(refusal.value.__cause__)
        within.remove_session()
    finally:
        reader.close()


def test_editing_works_where_it_is_asked_for(filled: Storage, told: list[str]) -> None:
    with served(filled.url, told, allow_edit=True) as port:
        body = {"body": "mine", "version": 1}
        [summary] = ask(port, "GET", "/api/studies")[1]["study_summaries"]
        path = f"/api/studies/{summary['study_id']}/{1}/note"
        foreign = ask(port, "PUT", path, body, Origin="http://evil.example")
        from_elsewhere = ask(port, "PUT", path, body, Sec_Fetch_Site="cross-site")
        own = ask(port, "PUT", path, body, Origin=f"http://127.0.0.1:{port}")

    assert (foreign[0], from_elsewhere[0], own[0]) == (403, 403, 204)
    assert "Another page" in foreign[1]["reason"]


def test_editing_waits_for_who_holds_the_database(filled: Storage, told: list[str]) -> None:
    holder = sqlite3.connect(filled.url.removeprefix("sqlite:///"), check_same_thread=False)
    with served(filled.url, told, allow_edit=True) as port:
        [summary] = ask(port, "GET", "/api/studies")[1]["study_summaries"]
        holder.execute("BEGIN IMMEDIATE")
        threading.Timer(5 * LOCK_WAIT, holder.close).start()
        path = f"/api/studies/{summary['study_id']}/{1}/note"
        assert ask(port, "PUT", path, {"body": "mine", "version": 1})[0] == 204


def test_a_study_is_seen_while_it_grows(
    storage: Storage, told: list[str], run_grid: RunGrid
) -> None:
    with served(storage.url, told) as port:
        assert ask(port, "GET", "/api/studies")[1]["study_summaries"] == []
        run_grid()
        assert len(ask(port, "GET", "/api/studies")[1]["study_summaries"]) == 1


def test_a_port_in_use_is_one_sentence(filled: Storage, told: list[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"Port {taken} .* in use\). Name another one"):
            dashboard.serve(filled.url, taken, told.append)


def test_without_the_extra_it_says_what_adds_it(
    filled: Storage, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Any:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingExtra) as sentence:
        dashboard.serve(filled.url, 0, told.append)
    assert "make install EXTRAS=dashboard" in str(sentence.value)
    assert "pip install 'hpo-stacks[dashboard]'" in str(sentence.value)


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path, told: list[str]) -> None:
    for edits in (False, True):
        with pytest.raises(StorageError, match="No database at"):
            dashboard.serve(f"sqlite:///{tmp_path / 'none.db'}", 0, told.append, allow_edit=edits)
    assert not (tmp_path / "none.db").exists()
