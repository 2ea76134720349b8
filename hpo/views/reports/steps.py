"""The commands that train studies again in a new database, and tell whether the results are the same."""

import hashlib
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from typing import Any

from hpo.database import chronicle, outcomes, rows
from hpo.database.connections import Connection
from hpo.definition import lookup
from hpo.definition.spaces import Space
from hpo.definition.study import Epochs, StudyDefinition, study_name, suffixed
from hpo.errors import DamagedRow, HpoError, StudyUnreadable
from hpo.experiment import budgets
from hpo.experiment.experiment import DataFacts, Experiment
from hpo.experiment.records import StoredStudy
from hpo.judging import ranking
from hpo.machine.printable import printable
from hpo.views import export
from model.data import n_held_out

NEW = "sqlite:///again.db"


def of_studies(connection: Connection, studies: Sequence[StoredStudy]) -> tuple[str, list[str]]:
    """Return the commands, a line each, and what to know of them."""
    wanted = _with_earlier(connection, studies)
    lines, remarks = [f"export HPO_STORAGE={NEW}"], _remarks(connection, wanted, studies)
    for study in wanted:
        lines += _runs(connection, study)
    for study in studies:
        if is_over(connection, study):
            told = hashlib.sha256((export.to_json(connection, study) + "\n").encode()).hexdigest()
            lines.append(f"hpo export {_quoted(study.name)} | sha256sum  # {told}")
    return "\n".join(lines), remarks


def _with_earlier(connection: Connection, studies: Sequence[StoredStudy]) -> list[StoredStudy]:
    """Return the studies and those that they rest on, in the order in which they were stored."""
    known = {study.uuid: study for study in rows.all_studies(connection)}
    wanted = {study.uuid: study for study in studies}
    queue = list(studies)
    while queue:
        for other in _needed(queue.pop(), known):
            if other.uuid not in wanted:
                wanted[other.uuid] = other
                queue.append(other)
    return [wanted[uuid] for uuid in known if uuid in wanted]


def _needed(study: StoredStudy, known: dict[str, StoredStudy]) -> Iterator[StoredStudy]:
    """Yield the parent of a study, and those that a search was told of when it began."""
    experiment, earlier = study.experiment, list(known)
    if experiment.parent is not None and experiment.parent.uuid in known:
        yield known[experiment.parent.uuid]
    space, search = experiment.definition.space, experiment.search
    if space is None or search is None or not search.warm or study.uuid not in known:
        return
    for uuid in earlier[: earlier.index(study.uuid)]:
        other = known[uuid].experiment
        is_named = other.definition.name in space.warm_start
        if is_named and other.data.fingerprint == experiment.data.fingerprint:
            yield known[uuid]


def _runs(connection: Connection, study: StoredStudy) -> list[str]:
    """Return the commands that run one study: one for each budget or number of seeds it was given."""
    experiment = study.experiment
    name, _, base = _base(experiment)
    options: dict[str, Any] = {}
    data = experiment.data.name
    if data != "cifar10":
        options["--data"] = data if data == "digits" else f"{data}.npz"
    if study.name != study_name(experiment.definition, data):
        options["--name"] = study.name
    options |= _derivation(connection, experiment)
    for field in ("protocol", "train_metrics", "seed", "pruner", "replicates"):
        if getattr(experiment.definition, field) != getattr(base, field):
            options[f"--{field.replace('_', '-')}"] = getattr(experiment.definition, field)
    space = experiment.definition.space
    usual = base.space
    if space is not None and (usual is None or space.sampler != usual.sampler):
        options["--sampler"] = space.sampler
    told = f"hpo run {_quoted(name)}"
    if experiment.search is not None and space is not None:
        given = budgets.given(experiment)
        is_usual = usual and given == (usual.settled(experiment.per_epoch).budget,)
        grown = [{}] if is_usual else [{"--budget": budget} for budget in given]
    elif experiment.began_with:
        n = experiment.definition.replicates
        grown = [{"--replicates": experiment.began_with}, {"--replicates": n}]
    else:
        grown = [{}]
    return [
        " ".join([told, *(f"{key} {_quoted(value)}" for key, value in (options | more).items())])
        for more in grown
    ]


def _base(experiment: Experiment) -> tuple[str, bool, StudyDefinition]:
    """Return the name of the study's file, whether it ships with hpo, and what it says."""
    definition = experiment.definition
    if definition.name in lookup.known():
        try:
            found = lookup.definition(definition.name).changed(definition.protocol)
        except HpoError:  # whose file is not as it was
            found = None
        if found is not None and isinstance(found.n_s, Epochs):
            found = replace(found, n_s=found.n_s.updates(experiment.per_epoch))
        if found is not None and _are_alike(found, definition, experiment.data):
            return definition.name, True, found
    return f"{definition.name}.py", False, definition


def _are_alike(a: StudyDefinition, b: StudyDefinition, data: DataFacts) -> bool:
    """Tell whether no option can make the one of the other, but for what there are options for."""
    free = {"protocol", "train_metrics", "seed", "pruner", "replicates", "grid", "space"}
    free |= (
        {"n_s", "n_cycles", "eta_max", "normalisation", "flip_probability"}
        if b.inherits_recipe
        else set()
    )
    n_images = data.n_training + data.n_validation
    of_a, of_b = (n_held_out(n_images, one.n_validation) for one in (a, b))
    if of_a == of_b or of_b != data.n_validation:  # the latter: data with a number of their own
        free |= {"n_validation"}
    same = all(getattr(a, f.name) == getattr(b, f.name) for f in fields(a) if f.name not in free)
    if a.space is not None and b.space is not None:
        return same and _bare(a.space) == _bare(b.space)
    return same and a.grid == b.grid


def _bare(space: Space) -> Space:
    return replace(space, budget=1, budget_epochs=None, sampler="random")


def _derivation(connection: Connection, experiment: Experiment) -> dict[str, Any]:
    """Return from which study and cell it goes on, where that is not what it would take by itself."""
    parent, definition = experiment.parent, experiment.definition
    if parent is None:
        return {}
    found: dict[str, Any] = {}
    usual = suffixed(definition.parent or "", experiment.data.name, definition.protocol)
    if parent.study != usual:
        found["--from"] = parent.study
    best = None
    with suppress(StudyUnreadable, DamagedRow):  # of the parent, which is its own affair
        theirs = rows.study_by_uuid(connection, parent.uuid)
        if theirs is not None:
            results = outcomes.results_of(connection, theirs.uuid)
            best = ranking.best_cell(results, theirs.experiment)
    return found if best == parent.cell else found | {"--cell": parent.cell}


def is_over(connection: Connection, study: StoredStudy) -> bool:
    """Tell whether nothing is left to train."""
    search = study.experiment.search
    n = len(outcomes.results_of(connection, study.uuid))
    return n >= study.experiment.n_slots and (search is None or search.is_over)


def _remarks(
    connection: Connection, studies: Sequence[StoredStudy], asked: Sequence[StoredStudy]
) -> list[str]:
    told = [
        "A result is a function of data, definition, cell and seed: equal versions on an equal CPU give "
        "equal bits, so the digests come out the same; elsewhere the last digits may differ."
    ]
    for study in studies:
        experiment = study.experiment
        data, (name, ships, _) = experiment.data, _base(experiment)
        if not ships:
            told.append(
                f"{name} is the file with the definition of {study.name}, which is stored whole above."
            )
        if data.name not in ("cifar10", "digits"):
            told.append(
                f"{data.name}.npz stands for the images with the fingerprint {data.fingerprint}."
            )
        if experiment.definition.evaluates_test:
            told.append(f"Running {study.name} looks at the test images again.")
        if study not in asked:
            continue
        made_in = chronicle.of_study(connection, study.uuid).environments
        if not made_in and outcomes.results_of(connection, study.uuid):
            told.append(
                f"The results of {study.name} come of somebody's own objective, which is not known here."
            )
    return list(dict.fromkeys(told))


def _quoted(value: object) -> str:
    return shlex.quote(printable(value))
