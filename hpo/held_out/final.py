"""How a study like final ends: its networks see the test images, and the best is written down.

The looks are rows (`hpo.held_out.looking`), so a study that has them is not looked at again; the files are
made from what is stored, as often as they are asked for.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpo.data import prepared
from hpo.data.source import Source
from hpo.database import damage, outcomes
from hpo.database.connections import Connection
from hpo.experiment.records import Result, StoredStudy
from hpo.held_out import looking, model_card
from hpo.held_out.verdict import Verdict, verdict
from hpo.judging import ranking
from hpo.machine import files
from hpo.machine.version import version
from hpo.mirror.study import OpenStudy
from hpo.training.trainer import Trainer
from hpo.weights import brightness
from hpo.weights.file import NPZ, SAFETENSORS, Weights, npz_bytes, safetensors_bytes
from model.cifar import CLASS_NAMES
from model.data import Dataset, split
from model.losses import Loss
from model.normalisation import Normalisation, feature_statistics


def show_test_images(
    study: OpenStudy, dataset: Dataset, source: Source, *, again: bool = False
) -> list[looking.Look]:
    """Show the test images to every replicate of the best cell, if there is one.

    Args:
        again: Look also where a look was taken before.
    """
    trainer = Trainer(study.experiment, dataset)
    source = prepared.pinned(
        source, dataset
    )  # test images from beside these, not from another file

    def shown(result: Result) -> looking.Look:
        slot = result.slot
        what = f"the final weights of {study.stored.name}, cell {slot.cell}"
        if study.experiment.definition.replicates > 1:
            what += f", replicate {slot.replicate}"

        earlier = looking.taken_before(study.storage, study.uuid, slot)
        if earlier is not None and not again:
            return earlier
        network = study.storage.read(lambda c: looking.final_network(c, study.stored, slot))

        def examine(test: Dataset) -> NDArray[np.bool_]:
            right: NDArray[np.bool_] = trainer.examine(network, test, slot.cell)[1][0]
            return right

        return looking.look(study.storage, study.uuid, slot, what, examine, source, again=again)

    best = study.storage.read(lambda connection: _of_best_cell(connection, study.stored))
    return [shown(result) for result in best]


def write_model(
    study: OpenStudy,
    dataset: Dataset,
    folder: Path,
    notify: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Write the weights of the best replicate and their model card; nothing before there was a look.

    Raises:
        OutputError: The files cannot be written. Nothing is lost by it: they can be made again.
        NoResult: The weights are not stored any more.
    """
    contents = study.storage.read(lambda c: model_files(c, study.stored, dataset))
    if contents and SAFETENSORS not in contents:
        notify(
            f"safetensors is not installed, so there is no {SAFETENSORS}, only {NPZ}, which holds the "
            "same; pip install safetensors and the same command add it."
        )
    return files.write(folder, contents) if contents else []


def model_files(connection: Connection, study: StoredStudy, dataset: Dataset) -> dict[str, bytes]:
    """Return the weights of the best replicate and their model card, by file name.

    There are none before there was a look.

    Raises:
        NoResult: The weights are not stored any more.
    """
    told = verdict(connection, study)
    candidates = _of_best_cell(connection, study)
    best = max(candidates, key=lambda r: (r.value or 0.0, -r.slot.replicate), default=None)
    if told is None or best is None or best.slot.cell != told.cell:
        return {}
    weights = _weights(connection, study, best, told, dataset)
    contents = {NPZ: npz_bytes(weights)}
    safe = safetensors_bytes(weights)
    if safe is not None:
        contents[SAFETENSORS] = safe
    subject = model_card.Subject(
        study=study,
        best=best,
        values={r.slot.replicate: r.value for r in candidates if r.value is not None},
        verdict=told,
        weights=weights,
        environment=_environment(connection, study.uuid, best),
    )
    card = model_card.text(subject, contents)
    return contents | {model_card.NAME: card.encode()}


def _of_best_cell(connection: Connection, study: StoredStudy) -> list[Result]:
    """Return the replicates of the best cell; none if every cell diverged in some replicate."""
    results = outcomes.results_of(connection, study.uuid)
    best = ranking.best_cell(results, study.experiment)
    return [r for r in results if r.slot.cell == best]


def _weights(
    connection: Connection, study: StoredStudy, best: Result, told: Verdict, dataset: Dataset
) -> Weights:
    """Return the network of ``best`` with what a prediction needs."""
    experiment = study.experiment
    definition = experiment.definition
    normalisation = Normalisation(experiment.recipe(best.slot.cell).normalisation)
    is_feature = normalisation is Normalisation.FEATURE
    training = split(dataset, definition.n_validation).training
    origin = {
        Normalisation.IMAGE: "mean and population deviation of each image over its own values",
        Normalisation.FEATURE: "mean and population deviation of each value over the "
        f"{len(training)} training images of {dataset.name}",
        Normalisation.NONE: "none",
    }
    about = {
        "study": study.name,
        "cell": str(best.slot.cell),
        "replicate": str(best.slot.replicate),
        "lambda": repr(experiment.lambdas[best.slot.cell]),
        "normalisation_statistics": origin[normalisation],
        "dataset": dataset.name,
        "dataset_values": brightness.values(dataset),
        "dataset_fingerprint": experiment.data.fingerprint,
        "hpo_version": version(),
        "validation_accuracy": repr(best.value),
        "test_accuracy": repr(told.by_replicate.get(best.slot.replicate)),
        "mean_test_accuracy": repr(told.accuracy),
        "mean_test_accuracy_of": f"{len(told.by_replicate)} replicates; {told.spread()}",
        "test_looks": str(told.n_looks),
    }
    return Weights(
        network=looking.final_network(connection, study, best.slot),
        normalisation=normalisation,
        statistics=feature_statistics(training) if is_feature else None,
        loss=Loss(definition.loss),
        image_shape=experiment.data.image_shape,
        white=brightness.white(dataset),
        class_names=CLASS_NAMES if dataset.name == "cifar10" else (),
        about=about,
    )


def _environment(connection: Connection, study: str, result: Result) -> dict[str, str]:
    """Return the versions that the result was computed with."""
    row = outcomes.result_at(connection, study, result.slot)
    return damage.parsed(row.environment, "The environment of a result") if row else {}
