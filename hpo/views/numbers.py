"""What `hpo best`, `status` and `list` say, as JSON for programs: in full precision, names as they are."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from hpo.database import fleet, outcomes, tally
from hpo.database.connections import Connection
from hpo.errors import DamagedRow, is_of_one_study, reason_of
from hpo.experiment import budgets
from hpo.experiment.records import Outcome, State, StoredStudy
from hpo.held_out.verdict import verdict
from hpo.judging import ranking
from hpo.mirror import shelf
from hpo.views import report
from hpo.views.standing import Standing


def best(connection: Connection, study: StoredStudy) -> str:
    """Return the best cell of a study, how sure that is, and what the test images say.

    Raises:
        NoResult: No cell is complete.
    """
    told = report.read(connection, study)
    report.best(told)  # which says what is missing
    judgement, tested = report.judged(connection, study, told.results), verdict(connection, study)
    return written(
        {
            "study": study.name,
            "best": _best(told),
            "judgement": None if judgement is None else asdict(judgement),
            "test": None if tested is None else {"accuracy": tested.accuracy, **asdict(tested)},
        }
    )


def status(connection: Connection) -> str:
    """Return how far every study is, and which workers there are."""
    results, states = outcomes.results_by_study(connection), tally.counts_by_study(connection)

    def one(study: StoredStudy) -> dict[str, Any]:
        counted = results.get(study.uuid, [])
        if isinstance(counted, DamagedRow):
            raise counted
        told = report.StudyReport(study, tuple(counted), test_accuracy=None, n_test_looks=0)
        mine = states.get(study.uuid, {})
        search = study.experiment.search
        return {
            "slots": told.n_slots,
            "counted": len(counted),
            "running": mine.get(State.RUNNING, 0),
            "waiting": mine.get(State.WAITING, 0) + mine.get(State.PAUSED, 0),
            "pruned": sum(r.outcome == Outcome.PRUNED for r in counted),
            "diverged": sum(r.outcome == Outcome.DIVERGED for r in counted),
            "over": len(counted) >= told.n_slots and (search is None or search.is_over),
            "budget": None if search is None else budgets.largest(study.experiment),
            "best": None if told.best is None else _best(told),
        }

    workers = [
        {
            "pid": worker.identity["pid"],
            "host": worker.identity["host"],
            "alive": worker.is_alive,
            "silent_for": worker.silent_for,
        }
        for worker in fleet.living(connection)
    ]
    return written({**_each(connection, one), "workers": workers})


def listing(connection: Connection) -> str:
    """Return what every study is about."""

    def one(study: StoredStudy) -> dict[str, Any]:
        experiment = study.experiment
        return {
            "cells": len(experiment.cells),
            "parameters": list(experiment.parameters),
            "protocol": experiment.definition.protocol,
            "pruner": experiment.definition.pruner,
            "replicates": experiment.definition.replicates,
            "seed": experiment.definition.seed,
            "parent": experiment.parent.study if experiment.parent else None,
            "data": asdict(experiment.data),
        }

    return written(_each(connection, one))


def standing(found: Standing) -> dict[str, Any]:
    """Return how one study stands while it is trained."""
    best = found.best
    return {
        "study": found.name,
        "slots": found.experiment.n_slots,
        "counted": found.n_done,
        "over": found.is_complete,
        "workers": found.n_workers,
        "updates": found.n_trained,
        "updates_left": found.n_left,
        "best": None
        if best is None
        else {
            "cell": best.cell,
            "parameters": found.experiment.cells[best.cell],
            "accuracy": best.accuracy,
            "replicates": best.n_seeds,
            "done": best.n_seeds == found.experiment.replicates_of(best.cell),
        },
    }


def written(found: Any, indent: int | None = 1) -> str:
    """Return JSON, of one line if there is no indent; what is not finite is null there."""
    return json.dumps(_plain(found), indent=indent, allow_nan=False)


def _best(told: report.StudyReport) -> dict[str, Any] | None:
    if told.best is None:
        return None
    cell = told.best.slot.cell
    return {
        "cell": cell,
        "parameters": told.study.experiment.cells[cell],
        "accuracy": told.means[cell],
        "replicates": ranking.compared(list(told.results), told.study.experiment)[1],
    }


def _each(connection: Connection, one: Callable[[StoredStudy], dict[str, Any]]) -> dict[str, Any]:
    """Return every study, and remarks about those that cannot be shown or that others changed."""
    found, studies, remarks = shelf.look(connection), list[dict[str, Any]](), list[str]()
    for study in found.studies:
        try:
            studies.append({"study": study.name, **one(study)})
        except Exception as error:
            if not is_of_one_study(error):
                raise
            remarks.append(f"{study.name}: cannot be shown: {reason_of(error)}")
    return {"studies": studies, "remarks": remarks + found.remarks}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
