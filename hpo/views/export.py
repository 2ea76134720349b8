"""Results in canonical form: what they are, and nothing of how or when they came about.

Two runs of one experiment export the same bytes, however often they were interrupted. Numbers
have full precision; what is not finite is null in JSON and empty in CSV. A study that looked at the
test images has their verdict in its JSON, but not how often it looked: looks that were killed count.
"""

import csv
import io
import json
import math
import operator
import unicodedata
from dataclasses import asdict
from functools import cache
from typing import Any

from hpo.database import damage, digests, outcomes, tables, tally
from hpo.database.connections import Connection, Row
from hpo.definition.ranges import Value
from hpo.errors import DamagedRow
from hpo.experiment.records import Result, Slot, StoredStudy
from hpo.held_out.verdict import verdict
from hpo.machine.printable import printable

#: Where the columns of a curve are in its rows.
PLACES = {column.name: place for place, column in enumerate(tables.curves.columns)}
#: What stands in a row of a curve, from its update on.
_measured = operator.itemgetter(*(PLACES[name] for name in ("n_updates", *tables.CURVE_COLUMNS)))
NUMBERS = {float, int, type(None)}  #: in a list of these alone, a comma is one between two of them
FORMULA = "=+-@"  #: what a spreadsheet takes for the beginning of one


def to_json(connection: Connection, study: StoredStudy) -> str:
    """Return the study as JSON, one entry for every counted (cell, replicate)."""
    experiment = study.experiment
    stored = experiment.to_json()
    parent = stored["parent"]
    if parent is not None:
        del parent["uuid"]  # another one in every storage
    curves, results = whole(connection, study)
    document = {
        "study": study.name,
        "definition": stored["definition"]
        | {key: stored[key] for key in ("n_updates", "parent", "earlier_runs")},
        "data": {
            "name": experiment.data.name,
            "fingerprint": experiment.data.fingerprint,
            "n_train": experiment.data.n_training,
            "n_validation": experiment.data.n_validation,
        },
        "trials": [
            _trial(result, experiment.cells[result.slot.cell], curves.get(result.slot, []))
            for result in results
        ],
    }
    tested = verdict(connection, study)
    if tested is not None:
        document["test"] = {
            "accuracy": tested.accuracy,
            "interval": None if tested.interval is None else asdict(tested.interval),
            "cell": tested.cell,
            "seeds": [{"replicate": r, "accuracy": a} for r, a in tested.by_replicate.items()],
            "n_images": tested.n_images,
        }
    return indented(document)


def to_csv(connection: Connection, study: StoredStudy) -> str:
    """Return the curves as CSV, one row for every log point."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = study.experiment.parameters
    writer.writerow(
        ["cell", "replicate", *map(_plain, names), "state", "update", *tables.CURVE_COLUMNS]
    )
    curves, results = whole(connection, study)
    for result in results:
        slot = result.slot
        values = [_plain(value) for value in study.experiment.cells[slot.cell].values()]
        about = (slot.cell, slot.replicate, *values, result.outcome)
        writer.writerows(about + _measured(row) for row in curves.get(slot, []))
    return text.getvalue()


def trials_to_csv(connection: Connection, study: StoredStudy) -> str:
    """Return the results as CSV, one row for every counted (cell, replicate)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = map(_plain, study.experiment.parameters)
    writer.writerow(["study", "cell", "replicate", *names, "state", "value", "cycles", "updates"])
    _, results = whole(connection, study)
    for result in results:
        slot = result.slot
        values = [_plain(value) for value in study.experiment.cells[slot.cell].values()]
        reached = (result.outcome, result.value, result.cycles, result.n_updates)
        writer.writerow([_plain(study.name), slot.cell, slot.replicate, *values, *reached])
    return text.getvalue()


def whole(
    connection: Connection, study: StoredStudy
) -> tuple[dict[Slot, list[Row[Any]]], list[Result]]:
    """Return the curves and results of a study whose results, curves and trials agree.

    Raises:
        DamagedRow: A row is not what was written, or is missing.
    """
    curves = outcomes.curves_of(connection, study.uuid)
    counted, results = set(), []
    for row in outcomes.result_rows(connection, study.uuid):
        slot = Slot(row.cell, row.replicate)
        found = digests.of_curve(point.digest for point in curves.get(slot, []))
        if slot in counted or found != row.curve_digest:
            what = damage.named(connection, tables.results, row)
            raise DamagedRow(what, "points of its curve are missing, or stand there twice")
        counted.add(slot)
        results.append(outcomes.result_of(connection, row))
    lost = {(s.cell, s.replicate) for s in tally.ended_slots(connection, study.uuid) - counted}
    if lost:
        cell, replicate = min(lost)
        what = f"The result of {study.name!r}, cell {cell}, replicate {replicate}"
        raise DamagedRow(what, "it is missing, although that trial has ended")
    return curves, results


def indented(value: Any, depth: int = 0) -> str:
    """Return what ``json.dumps(value, indent=1, allow_nan=False)`` does, faster where numbers are many.

    >>> indented({"a": [1, 2.5], "b": {}}) == json.dumps({"a": [1, 2.5], "b": {}}, indent=1)
    True
    """
    between = ",\n" + " " * (depth + 1)
    start, end = between[1:], "\n" + " " * depth
    if isinstance(value, list) and value:
        if set(map(type, value)) <= NUMBERS:
            items = json.dumps(value, allow_nan=False)[1:-1].replace(", ", between)
        else:
            items = between.join([indented(item, depth + 1) for item in value])
        return f"[{start}{items}{end}]"
    if isinstance(value, dict) and value:
        told = [f"{_quoted(key)}: {indented(item, depth + 1)}" for key, item in value.items()]
        return f"{{{start}{between.join(told)}{end}}}"
    if type(value) is float and math.isfinite(value):
        return float.__repr__(value)
    return int.__repr__(value) if type(value) is int else json.dumps(value, allow_nan=False)


@cache
def _quoted(key: str) -> str:
    return json.dumps(key)


def _plain(value: Value) -> Value:
    """Return text that neither a terminal nor a spreadsheet takes for a command."""
    if not isinstance(value, str):
        return value
    shown = printable(value)
    first = unicodedata.normalize("NFKC", shown).lstrip()[:1]  # also where it is a wide character
    return f"'{shown}" if first in tuple(FORMULA) else shown


def _trial(result: Result, params: dict[str, Value], rows: list[Row[Any]]) -> dict[str, Any]:
    columns: list[Any] = list(zip(*rows, strict=True)) or [()] * len(
        PLACES
    )  # as the table has them

    def part(name: str) -> dict[str, list[float | None]]:
        return {m: list(columns[PLACES[f"{name}_{m}"]]) for m in tables.MEASURES}

    return {
        "cell": result.slot.cell,
        "replicate": result.slot.replicate,
        "state": result.outcome,
        "params": params,
        "value": result.value,
        "cycles": result.cycles,
        "curve": {
            "update": list(columns[PLACES["n_updates"]]),
            "train": part("training"),
            "validation": part("validation"),
        },
    }


WRITERS = {"json": to_json, "csv": to_csv, "csv-trials": trials_to_csv}
