"""Where a study comes from: data, definition, seeds, versions, machine, time, looks at the test images."""

import json
from datetime import UTC, datetime

from hpo.database import chronicle, looks
from hpo.database.chronicle import Chronicle
from hpo.database.connections import Connection
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Result, StoredStudy, short
from hpo.held_out.verdict import Verdict
from hpo.search.generations import spent
from hpo.views.reports.parts import Table

SHOWN = 10  #: hosts, environments and looks


def of_study(
    connection: Connection, study: StoredStudy, results: list[Result], verdict: Verdict | None
) -> Table:
    """Return what a reader needs to know to trust a study, or to do it again."""
    experiment, found = study.experiment, chronicle.of_study(connection, study.uuid)
    definition = experiment.definition
    derived = experiment.parent
    rows = [
        ("data", _data(experiment)),
        ("fingerprint (SHA-256)", experiment.data.fingerprint),
        ("study", f"{study.name}, id {study.uuid}"),
        (
            "definition",
            f"{definition.name}, {definition.protocol} protocol, pruner {definition.pruner}",
        ),
        (
            "derived from",
            f"cell {derived.cell} of {derived.study}" if derived else "no other study",
        ),
        ("seed, replicates", f"{definition.seed}, {experiment.replicates} a cell at most"),
        ("recipe", _recipe(experiment)),
        ("updates", f"{spent(experiment, results):,}, of all networks together"),
        ("trained", _time(found)),
        *_environments(found),
        ("machines", _listed(found.hosts) or "not recorded"),
        ("attempts", f"{found.n_attempts:,}, of which {found.n_failed:,} failed"),
        ("looks at the test images", _looks(experiment, verdict)),
    ]
    return Table("Where it comes from", ["what", "value"], rows)


def stored_definition(experiment: Experiment) -> str:
    """Return the definition as it is stored, in JSON."""
    return json.dumps(experiment.to_json()["definition"], indent=1, sort_keys=True)


def of_looks(connection: Connection, study: StoredStudy) -> Table | None:
    """Return every look at the test images; None where there was none."""
    taken = looks.looks_of(connection, study.uuid)
    if not taken:
        return None
    rows = [
        [
            moment(look.looked_at),
            f"{look.cell}, {look.replicate}",
            f"{look.n_right / look.n_images:.4f}" if look.is_complete else "begun, not completed",
            f"{look.n_images:,}",
            look.who,
            look.what,
        ]
        for look in taken[:SHOWN]
    ]
    more = f"; {len(taken) - SHOWN} later ones are not shown" if len(taken) > SHOWN else ""
    columns = ["when", "cell, seed", "accuracy", "images", "who", "what for"]
    return Table(f"Looks at the test images{more}", columns, rows)


def moment(seconds: float | None) -> str:
    """Return a time on the database's clock, in UTC.

    >>> moment(0)
    '1970-01-01 00:00:00 UTC'
    """
    try:
        found = datetime.fromtimestamp(seconds or 0, tz=UTC)
    except (ValueError, OverflowError, OSError):  # of a row that others wrote
        return "not known"
    return f"{found:%Y-%m-%d %H:%M:%S} UTC"


def _data(experiment: Experiment) -> str:
    data = experiment.data
    return (
        f"{data.name}: {data.n_training:,} training and {data.n_validation:,} validation images "
        f"of {data.d:,} values, {data.n_classes} classes"
    )


def _recipe(experiment: Experiment) -> str:
    """Return what all cells have in common."""
    if not experiment.cells:
        return "as each cell says"
    own, recipe, definition = experiment.cells[0], experiment.recipe(0), experiment.definition
    told = {
        "eta_max": f"eta_max {short(recipe.eta_max)}",
        "eta_min_share": f"eta_min {short(recipe.eta_min)}",
        "n_s": f"n_s {recipe.n_s:,}",
        "n_cycles": f"{recipe.n_cycles} cycles",
        "batch_size": f"mini-batches of {recipe.batch_size}",
        "hidden": f"{recipe.hidden} hidden units",
        "normalisation": f"normalisation {recipe.normalisation}",
        "flip_probability": f"flip probability {short(recipe.flip_probability)}",
        "loss": f"{definition.loss}, {definition.dtype}",
    }
    if "n_s_epochs" in own:
        told.pop("n_s")
    return ", ".join(text for name, text in told.items() if name not in own)


def _time(found: Chronicle) -> str:
    begun = f"from {moment(found.created_at)}"
    if found.created_at is None or found.last_ended_at is None:
        return f"{begun}; no training has ended yet"
    seconds = max(0.0, found.last_ended_at - found.created_at)
    return f"{begun} to {moment(found.last_ended_at)}, {_duration(seconds)} in all"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _environments(found: Chronicle) -> list[tuple[str, str]]:
    """Return versions and BLAS; where results were made with several, how many with each."""
    if not found.environments:
        return [("versions", "not recorded")]
    n_kinds = len(found.environments)
    rows = []
    for made_in, n in found.environments[:SHOWN]:
        told = [f"{name} {value}" for name, value in sorted(made_in.items()) if name != "blas"]
        rows.append(
            (
                "versions" if n_kinds == 1 else f"versions of {n} results",
                f"{', '.join(told)}; BLAS {made_in.get('blas', 'not recorded')}",
            )
        )
    return rows


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _looks(experiment: Experiment, verdict: Verdict | None) -> str:
    if verdict is not None:
        return verdict.looks()
    if experiment.definition.evaluates_test:
        return "none yet"
    return "none: this study never reads them"
