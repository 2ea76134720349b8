"""``import hpo`` with what users get wrong: one sentence each, and nothing lost or left behind."""

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import threadpoolctl

import hpo
from hpo.database import tables
from hpo.database.leases import held
from hpo.database.storage import Storage
from hpo.machine.blas import one_thread
from hpo.testing import Recorder

QUICK = hpo.StudyDefinition(
    name="quick", grid=hpo.Values((1e-4, 1e-3, 1e-2)), n_s=10, n_cycles=2, batch_size=100
)
DERIVED = hpo.StudyDefinition(name="late", grid=hpo.Best(), parent="quick", n_s=10, n_cycles=1)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'hpo.db'}"


@pytest.fixture
def study(url: str) -> hpo.Study:
    return hpo.run(QUICK, data="digits", storage=url)


@pytest.mark.parametrize("name", ["claimed", "advanced", "ended", "began"])
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.long)])
def test_what_a_callback_raises_is_raised_and_fails_no_cell(
    url: str, tmp_path: Path, name: str, workers: int
) -> None:
    watcher = Recorder()

    def mistaken(*_: Any) -> None:
        raise ValueError("a mistake of the user's")

    setattr(watcher, name, mistaken)
    with pytest.raises(ValueError, match="a mistake of the user's"):
        hpo.run(QUICK, data="digits", storage=url, progress=watcher, workers=workers)

    done = hpo.run(QUICK, data="digits", storage=url)
    alone = hpo.run(QUICK, data="digits", storage=f"sqlite:///{tmp_path / 'alone.db'}")
    assert done.to_json() == alone.to_json()


def test_a_stop_that_raises_gives_back_what_was_held(url: str) -> None:
    asked = iter(range(12))
    with pytest.raises(StopIteration):
        hpo.run(QUICK, data="digits", storage=url, stop=lambda: next(asked) < 0)
    assert hpo.run(QUICK, data="digits", storage=url).is_complete


def test_blas_has_one_thread_until_the_last_of_several_runs_ends() -> None:
    def n_threads() -> set[int]:
        pools = threadpoolctl.threadpool_info()
        return {pool["num_threads"] for pool in pools if pool["user_api"] == "blas"}

    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        before = n_threads()
        over, inside = threading.Event(), threading.Event()

        def other() -> None:
            with one_thread():
                inside.set()
                over.wait(20)

        thread = threading.Thread(target=other)
        thread.start()
        assert inside.wait(20)
        with one_thread():
            assert n_threads() == {1}
        assert n_threads() == {1}
        over.set()
        thread.join()
        assert n_threads() == before


@pytest.mark.parametrize("name", ["model", "optuna", "sqlalchemy"])
@pytest.mark.parametrize("where", ["beside the script", "current folder"])
def test_a_file_with_the_name_of_a_package_is_named(tmp_path: Path, name: str, where: str) -> None:
    (tmp_path / f"{name}.py").write_text("print('executed')\n")
    code = "import hpo\ntry:\n    hpo.Study\nexcept hpo.HpoError as e:\n    print(e)\n"
    (tmp_path / "script.py").write_text(code.replace("hpo.HpoError", "Exception"))
    given = (
        ["script.py"]
        if where == "beside the script"
        else ["-c", (tmp_path / "script.py").read_text()]
    )

    done = subprocess.run(
        [sys.executable, *given], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert "executed" not in done.stdout
    if name == "model":  # ours is bound, and the user's is not imported
        assert done.stdout == ""
    else:
        assert f"{name}.py has the name of a library that hpo needs" in done.stdout


def test_a_module_of_the_users_that_was_imported_as_ours_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("x = 1\n")
    code = "import model, hpo\ntry:\n    hpo.Study\nexcept Exception as e:\n    print(e)\n"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "model.py is imported as 'model', which is the name of a package of hpo's" in done.stdout


@pytest.mark.parametrize("cell", [-1, 3, True, "1", 1.5])
def test_a_cell_that_there_is_none_of_is_refused(study: hpo.Study, url: str, cell: Any) -> None:
    with pytest.raises(hpo.HpoError, match="The cells of 'quick-digits' are 0 to 2"):
        hpo.run(DERIVED, data="digits", storage=url, cell=cell)


def test_what_stands_beside_a_request_changes_it(url: str) -> None:
    request = hpo.Request(study=QUICK, data="digits", seed=3)
    study = hpo.run(request, storage=url, name="other", replicates=2)
    assert (study.name, len(study.results), study.experiment.definition.seed) == ("other", 6, 3)
    for asked in (request, QUICK):
        with pytest.raises(
            TypeError, match="There is no argument 'nonsense'; a study is asked for"
        ):
            hpo.run(asked, storage=url, nonsense=1)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", [None, 3, b"quick-digits"])
@pytest.mark.parametrize(
    "action",
    [
        hpo.load,
        hpo.retry,
        hpo.delete,
        hpo.GridSampler.of,
        lambda n, storage: hpo.work([n], storage=storage),
    ],
)
def test_what_is_no_name_is_no_study(study: hpo.Study, url: str, action: Any, name: Any) -> None:
    with pytest.raises(hpo.HpoError, match="A study is named by a text, for example 'coarse'; got"):
        action(name, storage=url)
    assert study.is_complete


@pytest.mark.parametrize("storage", [Path("hpo.db"), None, 3])
def test_a_storage_that_is_no_url_is_refused(storage: Any) -> None:
    for action in (
        lambda: hpo.run(QUICK, data="digits", storage=storage),
        lambda: hpo.load("quick", storage=storage),
        lambda: hpo.studies(storage=storage),
        lambda: hpo.examine(storage),
        lambda: hpo.GridSampler.of("quick", storage=storage),
    ):
        with pytest.raises(
            hpo.HpoError, match="A database is named by a URL, for example sqlite:///hpo.db"
        ):
            action()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"workers": 0}, "workers must be at least 1, got 0"),
        ({"workers": -3}, "workers must be at least 1, got -3"),
        ({"workers": 1.5}, "workers must be a whole number, got 1.5"),
        ({"workers": 10**6}, "workers must be at most"),
        ({"grace": 0}, "grace must be at least 1, got 0"),
        ({"grace": float("inf")}, "grace must be a number of seconds, got inf"),
        ({"grace": "a"}, "grace must be a number of seconds, got 'a' of type str"),
    ],
)
def test_numbers_are_checked_before_anything_is_made(
    url: str, tmp_path: Path, given: dict[str, Any], told: str
) -> None:
    with pytest.raises(hpo.HpoError, match=told):
        hpo.run(QUICK, data="digits", storage=url, **given)
    assert list(tmp_path.iterdir()) == []


def test_callbacks_that_are_none_are_refused(url: str) -> None:
    with pytest.raises(TypeError, match="stop must be called to say whether to stop, got None"):
        hpo.run(QUICK, data="digits", storage=url, stop=None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="str has no began, grew, claimed"):
        hpo.run(QUICK, data="digits", storage=url, progress="loud")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"GridSampler\.of\(NAME\) finds a study; got 'x'"):
        hpo.GridSampler("x")  # type: ignore[arg-type]


def test_a_wait_is_told_to_the_progress_and_not_printed(
    url: str, study: hpo.Study, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpo.database.leases.PATIENCE", 0.2)
    watcher, free = Recorder(), threading.Event()

    def holds() -> None:
        with Storage(url) as storage, held(storage, "open studies"):
            ready.set()
            free.wait(20)

    ready = threading.Event()
    thread = threading.Thread(target=holds)
    thread.start()
    assert ready.wait(20)
    threading.Timer(1.5, free.set).start()
    hpo.run(QUICK, data="digits", storage=url, name="second", progress=watcher)
    thread.join()
    assert any("Waiting for process" in text for text in watcher.warnings)
    assert capfd.readouterr() == ("", "")


def test_work_counts_what_it_trained_before_it_was_told_to_stop(url: str) -> None:
    hpo.submit(QUICK, data="digits", storage=url)
    watcher = Recorder(stop_after=55)
    began = time.monotonic()
    n = hpo.work(data="digits", storage=url, watch=True, progress=watcher, stop=watcher.stop)
    assert time.monotonic() - began < 30
    assert n == sum(value is not None for value in watcher.results.values())
    with Storage(url) as storage:
        assert storage.read(lambda c: c.execute(tables.leases.select()).all()) == []
