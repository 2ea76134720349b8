"""The files that the dashboard offers are made of the rows when they are asked for, and never stored."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

import hpo
from hpo.commands import dashboard
from hpo.commands.artifacts import Artifacts, names
from hpo.database import shown_storage
from hpo.database.reader import Reader, read_once
from hpo.errors import StorageError
from hpo.mirror.dashboard_storage import DashboardStorage, Remarks
from hpo.mirror.study import stored

optuna_dashboard = pytest.importorskip("optuna_dashboard")

MINE = hpo.StudyDefinition(name="mine", grid=hpo.Values((1e-3, 1e-2)), n_s=10, n_cycles=1)
LAST = hpo.StudyDefinition(
    name="last", grid=hpo.Values((1e-3,)), n_s=10, n_cycles=1, evaluates_test=True
)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'hpo.db'}"


@pytest.fixture
def opened(url: str) -> Iterator[Callable[[], tuple[DashboardStorage, Artifacts]]]:
    """Open what the dashboard reads, and where it finds files."""
    readers = []

    def opening() -> tuple[DashboardStorage, Artifacts]:
        reader = Reader(url)
        readers.append(reader)
        storage = DashboardStorage(
            shown_storage.opened(reader), reader, lambda c, s: Remarks(files=names(c, s, {}))
        )
        return storage, Artifacts(storage, reader, {})

    yield opening
    for reader in readers:
        reader.close()


def listed(storage: DashboardStorage, name: str) -> dict[str, str]:
    """Return artifacts by file name, as Optuna's own tools find them."""
    study = optuna.load_study(study_name=name, storage=storage)
    found = optuna.artifacts.get_all_artifact_meta(study)
    return {meta.filename: meta.artifact_id for meta in found}


@pytest.mark.long
def test_a_search_offers_its_report_and_its_pictures(url: str, opened: Any) -> None:
    study = hpo.run(MINE, storage=url)
    storage, store = opened()

    files = listed(storage, study.name)

    assert {"report.html", "lambda.png", "curves.png"} <= set(files)
    assert not {"weights.npz", "parameters.png", "confusion.png"} & set(files)
    assert b"Report on mine-digits" in store.open_reader(files["report.html"]).read()
    for name, artifact in files.items():
        if name.endswith(".png"):
            assert store.open_reader(artifact).read().startswith(b"\x89PNG"), name


def test_a_final_offers_its_weights_with_their_card(url: str, opened: Any, tmp_path: Path) -> None:
    study = hpo.run(LAST, storage=url, out=tmp_path / "model")
    written = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    storage, store = opened()

    files = listed(storage, study.name)

    assert written
    for name, content in written.items():
        assert store.open_reader(files[name]).read() == content
    assert "curves.png" not in files  # of several cells


def test_before_there_is_a_result_nothing_is_offered(url: str, opened: Any) -> None:
    hpo.submit(MINE, storage=url)
    storage, _ = opened()

    assert listed(storage, "mine-digits") == {}


def test_a_study_that_has_gone_on_has_other_files(url: str, opened: Any) -> None:
    hpo.run(MINE, storage=url)
    storage, store = opened()
    before = listed(storage, "mine-digits")
    made = store.open_reader(before["lambda.png"]).read()
    assert store.open_reader(before["lambda.png"]).read() == made

    hpo.run(MINE, storage=url, replicates=2)
    after = listed(storage, "mine-digits")

    assert not set(before.values()) & set(after.values())
    assert store.open_reader(after["lambda.png"]).read() != made


def test_what_is_not_ours_is_told_and_nothing_is_taken_in(url: str, opened: Any) -> None:
    from bottle import HTTPResponse

    hpo.run(MINE, storage=url)
    _, store = opened()

    with pytest.raises(HTTPResponse) as answer:
        store.open_reader("5d0f6f3e-0000-0000-0000-000000000000")
    assert answer.value.status_code == 404
    assert "kept by whoever put it here" in answer.value.body
    for refused in (store.write, store.remove):
        with pytest.raises(StorageError, match="nothing was changed"):
            refused("x")


def test_a_picture_that_cannot_be_drawn_says_why(url: str, opened: Any) -> None:
    space = hpo.Space(lambda_=hpo.Real(1e-4, 1e-2), sampler="random", budget=60, width=2)
    hpo.run(hpo.StudyDefinition(name="few", space=space, n_s=10, n_cycles=1), storage=url)
    storage, store = opened()

    files = listed(storage, "few-digits")

    assert store.open_reader(files["contour.png"]).read().startswith(b"\x89PNG")


def test_the_dashboard_serves_them_as_files_that_nobody_runs(url: str) -> None:
    hpo.run(MINE, storage=url)
    with dashboard.serving(url, 0, lambda _: None, environ={}) as server:
        app = server.get_app()
        assert app is not None
        headers: dict[str, str] = {}

        def ask(path: str) -> bytes:
            environ = {
                "REQUEST_METHOD": "GET",
                "PATH_INFO": path,
                "HTTP_HOST": f"127.0.0.1:{server.server_port}",
                "QUERY_STRING": "after=0",
                "wsgi.input": io.BytesIO(),
            }
            answer = app(environ, lambda status, given, *_: headers.update(given))
            return b"".join(answer)

        page = json.loads(ask("/api/studies/1"))
        [report] = [a for a in page["artifacts"] if a["filename"] == "report.html"]
        told = ask(f"/artifacts/1/{report['artifact_id']}")

    assert told.lower().startswith(b"<!doctype html>")
    assert headers["Content-Type"].startswith("text/html")
    assert headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")


def test_what_is_listed_is_read_without_writing(url: str) -> None:
    study = hpo.run(MINE, storage=url)

    found = read_once(url, lambda c: names(c, stored(c, study.name), {}))

    assert found[0] == "report.html"
