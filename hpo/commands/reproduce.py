"""Everything that the notebook printed, computed again by the code that runs the studies."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpo.commands import running
from hpo.commands.request import Order
from hpo.data import prepared
from hpo.data.source import Source
from hpo.database import outcomes
from hpo.database.storage import Interrupted, Storage
from hpo.definition import lookup
from hpo.definition.study import NOTEBOOK_SEED
from hpo.errors import DataUnavailable, OutputError
from hpo.experiment.records import Slot
from hpo.held_out import final, looking
from hpo.held_out.looking import Look
from hpo.judging.ranking import best_result
from hpo.mirror.study import OpenStudy
from hpo.training.progress import Progress
from hpo.training.single import Settings, Trained, train_once
from model.data import Dataset
from model.gradient_check import check_gradients
from model.normalisation import Inputs, Normalisation
from model.order import NotebookRandomness

PUBLISHED = Path(__file__).with_name("published.json")
GRADIENT_LIMIT = 1e-7  #: the notebook's own errors came from unseeded weights
LAMBDA_TOLERANCE = 1e-12  #: relative
THREE_CYCLES = "reproduce: three cycles"  #: key of its look at the test images

NOTEBOOK = Settings(
    dtype="float64", protocol="notebook", seed=NOTEBOOK_SEED, epochs=1, lambda_=0.01
)
THREE = replace(NOTEBOOK, n_s=800, epochs=48, earlier_runs=(10,))
OVERFIT = replace(
    NOTEBOOK,
    lambda_=0.0,
    schedule="static",
    eta=0.001,
    epochs=200,
    batch_size=10,
    train_metrics="full",
)


@dataclass(frozen=True)
class Figure:
    """One figure, as published and as computed here."""

    name: str
    published: str
    reproduced: str
    matches: bool


def reproduce(
    source: Source,
    workdir: Path,
    stop: Callable[[], bool],
    progress: Progress,
    environ: Mapping[str, str],
) -> list[Figure]:
    """Compute every figure; what ``workdir`` holds of an earlier run is used.

    Args:
        environ: The environment, for HPO_CACHE.

    Raises:
        DataUnavailable: The source is not CIFAR-10.
        Interrupted: ``stop`` said so.
    """
    if source.name != "cifar10":
        raise DataUnavailable(
            f"The notebook's figures are about CIFAR-10; {source.name} cannot reproduce them. "
            "Use --data cifar10."
        )
    published = json.loads(PUBLISHED.read_text())
    with Storage(f"sqlite:///{_made(workdir) / 'hpo.db'}", stop, notify=progress.warn) as storage:
        first = source.batches([1])
        progress.warn("Checking the gradients of 154,160 parameters")
        figures = _gradients(first, published["gradient_errors"])
        figures.append(_overfit(first, stop))
        look = _three_cycles(source, storage, stop, progress)
        expected = published["three_cycles"]["test_accuracy"]
        figures.append(_accuracy("three cycles, test accuracy", expected, look.accuracy))
        dataset = prepared.training(source, environ, progress.warn)
        for name in ("coarse", "fine"):
            study = _study(name, source, dataset, storage, progress, stop)
            figures += _search(name, study, storage, published[name])
        study = _study("final", source, dataset, storage, progress, stop)
        figures += _final(study, source, dataset, storage, published["final"])
        return figures


def table(figures: list[Figure]) -> str:
    """Return published beside reproduced, with a tick or a cross."""
    tick, cross = ("✓", "✗") if "utf" in (sys.stdout.encoding or "").lower() else ("ok", "NO")
    width = max(len(figure.name) for figure in figures)
    lines = [f"{'figure':<{width}}  {'published':<24}{'reproduced':<24}"]
    lines += [
        f"{f.name:<{width}}  {f.published:<24}{f.reproduced:<24}{tick if f.matches else cross}"
        for f in figures
    ]
    n_matching = sum(figure.matches for figure in figures)
    return "\n".join([*lines, f"{n_matching} of {len(figures)} figures match."])


def _made(workdir: Path) -> Path:
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(workdir, error) from error
    return workdir


def _accuracy(name: str, published: float, reproduced: float | None) -> Figure:
    shown = "diverged" if reproduced is None else f"{reproduced:.4f}"
    return Figure(name, f"{published:.4f}", shown, shown == f"{published:.4f}")


def _lambda(name: str, published: float, reproduced: float) -> Figure:
    matches = abs(reproduced - published) <= LAMBDA_TOLERANCE * published
    return Figure(name, repr(published), repr(reproduced), matches)


def _gradients(first: Dataset, published: dict[str, float]) -> list[Figure]:
    few = first.take(0, 20)
    images = Inputs(few, Normalisation.IMAGE, np.float64).all()
    network = NotebookRandomness(NOTEBOOK_SEED, (few.d, 50, few.n_classes)).network()
    errors = check_gradients(network, images, few.labels, lambda_=0.3)
    return [
        Figure(
            f"gradient error {name} (below {GRADIENT_LIMIT:g})",
            f"{published[name]:.2e}",
            f"{error:.2e}",
            error < GRADIENT_LIMIT,
        )
        for name, error in vars(errors).items()
    ]


def _overfit(first: Dataset, stop: Callable[[], bool]) -> Figure:
    trained = _trained(OVERFIT, first.take(0, 20), first.take(100, 150), stop)
    last = trained.evaluations[-1].training
    return Figure(
        "overfitting check, training accuracy",
        "(a plot)",
        f"{last.accuracy[0]:.4f}, loss {last.loss[0]:.4f}",
        last.accuracy[0] == 1,
    )


def _three_cycles(
    source: Source, storage: Storage, stop: Callable[[], bool], progress: Progress
) -> Look:
    slot = Slot(0, 0)
    look = looking.taken_before(storage, THREE_CYCLES, slot)
    if look is None:
        progress.warn("Training one network for three cycles on data_batch_1")
        trained = _trained(THREE, source.batches([1]), source.batches([2]), stop)

        def examine(test: Dataset) -> NDArray[np.bool_]:
            return trained.hits(test)

        what = "three cycles on data_batch_1"
        look = looking.look(storage, THREE_CYCLES, slot, what, examine, source)
    return look


def _trained(
    settings: Settings, training: Dataset, validation: Dataset, stop: Callable[[], bool]
) -> Trained:
    trained = train_once(settings, training, validation, stop=stop)
    if trained.network is None:
        raise Interrupted
    return trained


def _study(
    name: str,
    source: Source,
    dataset: Dataset,
    storage: Storage,
    progress: Progress,
    stop: Callable[[], bool],
) -> OpenStudy:
    # The figures need validation values only; the notebook's training curves cost three times as much.
    notebook = lookup.definition(name).in_protocol("notebook")
    definition = replace(notebook, train_metrics="running")
    order = Order(definition, dataset, source)
    outcome = running.run(order, storage, progress, stop, n_workers=None)
    if outcome.n_missing:
        raise Interrupted
    return outcome.study


def _search(
    name: str, study: OpenStudy, storage: Storage, published: dict[str, list[float]]
) -> list[Figure]:
    lambdas = study.experiment.lambdas
    results = storage.read(lambda connection: outcomes.results_of(connection, study.uuid))
    figures = []
    for cell, (expected, accuracy) in enumerate(
        zip(published["lambdas"], published["validation_accuracies"], strict=True)
    ):
        figures.append(_lambda(f"{name} {cell}, lambda", expected, lambdas[cell]))
        figures.append(
            _accuracy(f"{name} {cell}, validation accuracy", accuracy, results[cell].value)
        )
    best = best_result(results)
    chosen = lambdas[best.slot.cell] if best else float("nan")
    figures.append(_lambda(f"{name}, best lambda", float(str(published["best_lambda"])), chosen))
    return figures


def _final(
    study: OpenStudy,
    source: Source,
    dataset: Dataset,
    storage: Storage,
    published: dict[str, float],
) -> list[Figure]:
    results = storage.read(lambda connection: outcomes.results_of(connection, study.uuid))
    taken = final.show_test_images(study, dataset, source)
    return [
        _accuracy("final, validation accuracy", published["validation_accuracy"], results[0].value),
        _accuracy(
            "final, test accuracy", published["test_accuracy"], taken[0].accuracy if taken else None
        ),
    ]
