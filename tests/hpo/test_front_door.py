"""``import hpo``: every name is there, light, documented, and does what the command line does."""

import inspect
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import hpo
from hpo.training.progress import Silent
from hpo.weights.file import Weights, npz_bytes
from model.data import digits_test
from model.losses import Loss
from model.network import initialise
from model.normalisation import Normalisation

QUICK = hpo.StudyDefinition(
    name="quick", grid=hpo.Values((1e-4, 1e-3, 1e-2)), n_s=10, n_cycles=1, batch_size=100
)
PUBLIC = [name for name in hpo.__all__ if name != "__version__"]

pytestmark = pytest.mark.sqlite_first


@pytest.fixture
def storage(url: str) -> str:
    return url


@pytest.fixture
def study(storage: str) -> hpo.Study:
    return hpo.run(QUICK, data="digits", storage=storage)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_says_what_it_is(name: str) -> None:
    assert inspect.getdoc(getattr(hpo, name))
    assert name in dir(hpo)


def test_every_public_name_has_an_example_of_its_own() -> None:
    assert [name for name in PUBLIC if ">>> " not in getattr(hpo, name).__doc__] == []


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'hpo' has no attribute 'optimise'"):
        hpo.optimise  # noqa: B018


def test_the_import_brings_no_heavy_package() -> None:
    code = "import hpo, sys; print(sorted({'numpy', 'optuna', 'sqlalchemy', 'typer'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


@pytest.mark.parametrize("name", ["errors", "testing"])
def test_errors_and_what_tests_need_are_there_after_the_one_import(name: str) -> None:
    code = f"import hpo; print('{name}' in dir(hpo), hpo.{name}.__name__)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == f"True hpo.{name}\n"


def test_a_study_is_run_once_and_loaded(study: hpo.Study, storage: str) -> None:
    assert study.name == "quick-digits"
    assert study.is_complete
    assert hpo.load("quick-digits", storage=storage) == study
    assert hpo.studies(storage=storage) == [study]
    again = hpo.run(QUICK, data="digits", storage=storage)
    assert again.to_json() == study.to_json()
    with pytest.raises(hpo.HpoError, match="No study named 'other'"):
        hpo.load("other", storage=storage)


def test_a_study_tells_its_cells_results_and_curves(study: hpo.Study) -> None:
    assert [result.slot.cell for result in study.results] == [0, 1, 2]
    best = study.best
    assert best is not None
    assert best.accuracy == pytest.approx(max(result.value or 0 for result in study.results))
    assert best.parameters == study.experiment.cells[best.index]
    judgement = study.judgement()
    assert judgement is not None
    assert judgement.best == best.index
    points = study.curves(best.index)
    assert [point.n_updates for point in points] == sorted(point.n_updates for point in points)
    assert points[-1].values[-1] == pytest.approx(best.accuracy)
    assert study.to_csv().count("\n") > 3


def test_what_python_runs_is_what_the_command_line_runs(
    study: hpo.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "quick.py"
    file.write_text(
        "from hpo import StudyDefinition, Values\n"
        "STUDY = StudyDefinition(\n"
        "    name='quick', grid=Values((1e-4, 1e-3, 1e-2)), n_s=10, n_cycles=1, batch_size=100\n"
        ")\n"
    )
    command = [sys.executable, "-m", "hpo", "run", str(file), "--data", "digits"]
    other = f"sqlite:///{tmp_path / 'other.db'}"
    subprocess.run([*command, "--storage", other], check=True, capture_output=True)
    assert hpo.load("quick-digits", storage=other).to_json() == study.to_json()


def test_data_frames_have_a_row_each(study: hpo.Study) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    trials = study.trials()
    assert list(trials["cell"]) == [0, 1, 2]
    assert list(trials["lambda"]) == [1e-4, 1e-3, 1e-2]
    frame = study.curves_frame()
    assert set(frame["cell"]) == {0, 1, 2}
    assert {"updates", "validation_accuracy"} <= set(frame.columns)


def test_without_pandas_a_data_frame_is_a_sentence(
    study: hpo.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(hpo.HpoError, match="A data frame needs pandas, which is not installed"):
        study.trials()


def test_it_works_in_a_thread_that_is_not_the_main_one(storage: str) -> None:
    found, before = [], set(threading.enumerate())
    thread = threading.Thread(
        target=lambda: found.append(hpo.run(QUICK, data="digits", storage=storage))
    )
    thread.start()
    thread.join()
    assert found[0].is_complete
    assert not set(threading.enumerate()) - before


def test_nothing_is_printed(
    storage: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    study = hpo.run(QUICK, data="digits", storage=storage)
    study.plot(tmp_path / "pictures")
    hpo.examine(storage)
    assert capfd.readouterr() == ("", "")


def test_a_stop_keeps_what_is_done_and_the_next_run_goes_on(
    study: hpo.Study, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'stopped.db'}"
    asked = iter(range(10_000))
    stopped = hpo.run(QUICK, data="digits", storage=url, stop=lambda: next(asked) > 12)
    assert not stopped.is_complete
    assert hpo.run(QUICK, data="digits", storage=url).to_json() == study.to_json()


def test_a_request_says_all_at_once(storage: str) -> None:
    request = hpo.Request(study=QUICK, data="digits", name="mine", replicates=2, seed=3)
    study = hpo.run(request, storage=storage)
    assert (study.name, len(study.results)) == ("mine", 6)
    assert study.experiment.definition.seed == 3


def test_what_is_submitted_is_trained_by_a_worker(storage: str) -> None:
    study = hpo.submit(QUICK, data="digits", storage=storage)
    assert not study.is_complete
    assert hpo.work(data="digits", storage=storage) == 3
    assert study.is_complete
    assert hpo.retry(study.name, storage=storage) == 0
    hpo.delete(study.name, storage=storage)
    assert hpo.studies(storage=storage) == []


def test_several_processes_train_and_none_is_left(storage: str, study: hpo.Study) -> None:
    import psutil

    many = hpo.run(QUICK, data="digits", storage=storage, name="many", workers=2)
    assert len(many.results) == 3
    assert not psutil.Process().children(recursive=True)


def test_a_network_classifies_arrays_and_refuses_others(tmp_path: Path) -> None:
    images = digits_test().images
    network = Weights(
        network=initialise(np.random.default_rng(0), 64, 5, 10).astype(np.float32),
        normalisation=Normalisation.NONE,
        statistics=None,
        loss=Loss.CROSS_ENTROPY,
        image_shape=(8, 8),
        white=16.0,
        class_names=(),
        about={},
    )
    path = tmp_path / "weights.npz"
    path.write_bytes(npz_bytes(network))

    found = hpo.predict(path, images.reshape(-1, 8, 8))

    assert found.classes.shape == (len(images), 10)
    with pytest.raises(hpo.HpoError, match="was trained on images of 64 values, got 63 in each"):
        hpo.predict(path, images[:, :63])
    with pytest.raises(hpo.HpoError, match="weights.npz"):
        hpo.predict(tmp_path / "other" / "weights.npz", images)


def test_final_writes_its_model_and_only_a_study_that_looks_takes_the_options(
    storage: str, study: hpo.Study, tmp_path: Path
) -> None:
    final = hpo.StudyDefinition(
        name="last", grid=hpo.Best(), parent="quick", n_s=10, n_cycles=1, evaluates_test=True
    )
    hpo.run(final, data="digits", storage=storage, out=tmp_path / "model")
    found = hpo.predict(tmp_path / "model" / "weights.npz", digits_test().images[:3])
    assert len(found.classes) == 3
    with pytest.raises(hpo.HpoError, match="`again` and `out` are for a study that ends with"):
        hpo.run(QUICK, data="digits", storage=storage, out=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_two_runs_at_once_share_the_cells(storage: str, tmp_path: Path) -> None:
    slow = hpo.StudyDefinition(
        name="slow", grid=hpo.Values((1e-4, 1e-3, 1e-2, 1e-1)), n_s=150, n_cycles=2
    )
    threads = [
        threading.Thread(target=lambda: hpo.run(slow, data="digits", storage=storage))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone = hpo.run(slow, data="digits", storage=f"sqlite:///{tmp_path / 'alone.db'}")
    assert hpo.load("slow-digits", storage=storage).to_json() == alone.to_json()
    assert [finding.text for finding in hpo.examine(storage) if finding.is_wrong] == []


def test_a_study_that_is_deleted_meanwhile_is_said_to_be_gone(
    storage: str, study: hpo.Study
) -> None:
    hpo.delete(study.name, storage=storage)
    with pytest.raises(hpo.HpoError, match="No study named 'quick-digits'"):
        study.best  # noqa: B018
    with pytest.raises(hpo.HpoError, match="No study named 'quick-digits'"):
        hpo.delete(study.name, storage=storage)


def test_a_database_that_is_exchanged_during_a_run_ends_it_with_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "hpo.db"

    class Exchanges(Silent):
        def claimed(self, slots: object, n_updates: int) -> None:
            file.rename(tmp_path / "elsewhere.db")
            file.write_bytes(b"")

    with pytest.raises(hpo.HpoError, match=r"hpo\.db was (removed|replaced|moved)"):
        hpo.run(QUICK, data="digits", storage=f"sqlite:///{file}", progress=Exchanges())


@pytest.mark.long
def test_coarse_on_cifar10_is_what_the_command_line_makes_of_it(
    cifar10_folder: Path, tmp_path: Path
) -> None:
    here, there = (f"sqlite:///{tmp_path / name}.db" for name in ("here", "there"))
    request = hpo.Request(study="coarse", data=cifar10_folder, pruner="none")
    study = hpo.run(request, storage=here, workers=2)
    command = [sys.executable, "-m", "hpo", "run", "coarse", "--data", str(cifar10_folder)]
    subprocess.run(
        [*command, "--pruner", "none", "--storage", there], check=True, capture_output=True
    )
    assert study.to_json() == hpo.load("coarse", storage=there).to_json()
