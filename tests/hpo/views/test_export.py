"""The canonical export: its shape, its numbers, and the same bytes from every run."""

import csv
import io
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from hpo.commands import running
from hpo.commands.request import Order
from hpo.database import digests, outcomes, rows, tables
from hpo.database.storage import Storage
from hpo.definition.grids import AroundBest, Values
from hpo.definition.study import StudyDefinition
from hpo.experiment.records import Point, Result, Slot
from hpo.machine.process import this_worker
from hpo.mirror.study import OpenStudy
from hpo.views import export
from hpo.views.export import indented
from hpo.views.story import Story
from model.data import digits

PARENT = StudyDefinition(name="broad", grid=Values((1e-2, 1e-4, 1e-3)), n_s=20, n_cycles=1)
CHILD = StudyDefinition(name="narrow", parent="broad", grid=AroundBest(n=2), n_s=7, n_cycles=2)
#: A rate that no network of these survives.
DIVERGING = StudyDefinition(
    name="wild", grid=Values((0.0, 1e-13)), n_s=10, n_cycles=1, eta_max=1e12
)


def searched(folder: Path, *definitions: StudyDefinition) -> tuple[Storage, OpenStudy]:
    """Run studies in a database of their own and return the last one."""
    folder.mkdir(exist_ok=True)
    storage = Storage(f"sqlite:///{folder / 'hpo.db'}")
    for definition in definitions:
        outcome = running.run(Order(definition, digits()), storage, Story(), lambda: False)
    return storage, outcome.study


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> tuple[Storage, OpenStudy]:
    return searched(tmp_path_factory.mktemp("parent"), PARENT)


def as_json(storage: Storage, study: OpenStudy) -> str:
    return storage.write(lambda connection: export.to_json(connection, study.stored))


def as_csv(storage: Storage, study: OpenStudy) -> list[dict[str, str]]:
    text = storage.write(lambda connection: export.to_csv(connection, study.stored))
    return list(csv.DictReader(io.StringIO(text)))


def results_of(storage: Storage, study: OpenStudy) -> list[Result]:
    return storage.write(lambda connection: outcomes.results_of(connection, study.uuid))


def test_the_document_has_the_promised_shape(parent: tuple[Storage, OpenStudy]) -> None:
    document = json.loads(as_json(*parent))

    assert list(document) == ["study", "definition", "data", "trials"]
    assert document["study"] == "broad-digits"
    assert {"name", "fingerprint", "n_train", "n_validation"} <= set(document["data"])
    for trial in document["trials"]:
        keys = ["cell", "replicate", "state", "params", "value", "cycles", "curve"]
        assert list(trial) == keys
        assert list(trial["curve"]) == ["update", "train", "validation"]
        for part in ("train", "validation"):
            assert list(trial["curve"][part]) == ["cost", "loss", "accuracy"]
            assert {len(values) for values in trial["curve"][part].values()} == {20}


def test_the_data_are_named_and_counted(parent: tuple[Storage, OpenStudy]) -> None:
    data = json.loads(as_json(*parent))["data"]

    assert (data["name"], data["n_validation"]) == ("digits", 300)
    assert data["n_train"] == 1200
    assert data["fingerprint"] == digits().fingerprint


def test_a_trial_has_the_parameters_of_its_cell(parent: tuple[Storage, OpenStudy]) -> None:
    trials = json.loads(as_json(*parent))["trials"]

    assert [t["cell"] for t in trials] == [0, 1, 2]  # in the order of the grid, not of lambda
    assert [t["params"] for t in trials] == [{"lambda": v} for v in (1e-2, 1e-4, 1e-3)]
    assert {(t["state"], t["cycles"], t["replicate"]) for t in trials} == {("complete", 1, 0)}


def test_there_are_twenty_log_points_a_cycle(parent: tuple[Storage, OpenStudy]) -> None:
    curve = json.loads(as_json(*parent))["trials"][0]["curve"]

    assert curve["update"] == list(range(2, 41, 2))


def test_the_value_is_the_last_validation_accuracy(parent: tuple[Storage, OpenStudy]) -> None:
    for trial in json.loads(as_json(*parent))["trials"]:
        assert trial["value"] == trial["curve"]["validation"]["accuracy"][-1]


def test_numbers_are_those_of_the_database_to_the_last_bit(
    parent: tuple[Storage, OpenStudy],
) -> None:
    storage, study = parent
    curves = storage.write(lambda connection: outcomes.curves_of(connection, study.uuid))

    for trial in json.loads(as_json(storage, study))["trials"]:
        points = curves[Slot(trial["cell"], 0)]
        for part, name in (("train", "training"), ("validation", "validation")):
            for measure, values in trial["curve"][part].items():
                assert values == [getattr(row, f"{name}_{measure}") for row in points]


def test_the_cost_is_the_loss_and_the_penalty(parent: tuple[Storage, OpenStudy]) -> None:
    for trial in json.loads(as_json(*parent))["trials"]:
        for part in ("train", "validation"):
            curve = trial["curve"][part]
            assert all(cost > loss for cost, loss in zip(curve["cost"], curve["loss"], strict=True))


def test_csv_has_a_row_for_every_log_point(parent: tuple[Storage, OpenStudy]) -> None:
    document, rows = json.loads(as_json(*parent)), as_csv(*parent)

    assert len(rows) == 3 * 20
    expected = [
        (trial["cell"], trial["replicate"], trial["params"]["lambda"], update, accuracy)
        for trial in document["trials"]
        for update, accuracy in zip(
            trial["curve"]["update"], trial["curve"]["validation"]["accuracy"], strict=True
        )
    ]
    found = [
        (
            int(row["cell"]),
            int(row["replicate"]),
            float(row["lambda"]),
            int(row["update"]),
            float(row["validation_accuracy"]),
        )
        for row in rows
    ]
    assert found == expected
    assert {row["state"] for row in rows} == {"complete"}


def test_csv_of_trials_has_a_row_for_every_result(parent: tuple[Storage, OpenStudy]) -> None:
    storage, study = parent

    text = storage.read(lambda connection: export.trials_to_csv(connection, study.stored))

    header, *rows = csv.reader(io.StringIO(text))
    assert header[:4] == ["study", "cell", "replicate", "lambda"]
    assert [(int(row[1]), float(row[3]), float(row[5]), int(row[7])) for row in rows] == [
        (t["cell"], t["params"]["lambda"], t["value"], 40)
        for t in json.loads(as_json(*parent))["trials"]
    ]


@pytest.mark.parametrize(
    "name",
    ["=cmd|' /C calc'!A0", "+1", "-2+3", "@SUM(1)", " \t=1", "\uff1d1", "a\nb\r", '\x1b[31m,"x'],
)
def test_a_hostile_name_is_one_harmless_cell_of_a_spreadsheet(
    parent: tuple[Storage, OpenStudy], name: str
) -> None:
    storage, study = parent
    stored = replace(study.stored, name=name)

    text = storage.read(lambda connection: export.trials_to_csv(connection, stored))

    rows = list(csv.reader(io.StringIO(text)))
    assert len(text.splitlines()) == len(rows) == 4
    assert all(text.isprintable() for text in rows[1])
    assert rows[1][0].strip()[0] not in "=+-@\uff1d"
    assert rows[1][0].lstrip("'")[-1] in (name[-1], "n", "r")


def test_two_runs_give_the_same_bytes(parent: tuple[Storage, OpenStudy], tmp_path: Path) -> None:
    storage, study = searched(tmp_path / "again", PARENT)

    assert as_json(storage, study) == as_json(*parent)
    assert as_csv(storage, study) == as_csv(*parent)
    storage.close()


def test_a_derived_study_gives_the_same_bytes_in_every_database(tmp_path: Path) -> None:
    first, second = (searched(tmp_path / name, PARENT, CHILD) for name in ("first", "second"))

    text = as_json(*first)

    assert text == as_json(*second)
    for storage, study in (first, second):
        assert study.experiment.parent is not None
        assert study.uuid not in text
        assert study.experiment.parent.uuid not in text
        storage.close()


def test_exporting_leaves_the_parent_of_the_stored_study_alone(tmp_path: Path) -> None:
    storage, study = searched(tmp_path, PARENT, CHILD)

    assert as_json(storage, study) == as_json(storage, study)
    storage.close()


def test_attempts_times_and_hosts_leave_no_trace(parent: tuple[Storage, OpenStudy]) -> None:
    text = as_json(*parent)

    assert this_worker()["host"] not in text
    for word in ("attempt", "worker", "token", "uuid", "created", "claimed", "ended", "BLAS"):
        assert word not in text


def test_a_diverged_cell_is_exported_with_nulls(tmp_path: Path) -> None:
    storage, study = searched(tmp_path, DIVERGING)

    text = as_json(storage, study)
    document = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))

    assert {r.outcome for r in results_of(storage, study)} == {"diverged"}
    assert [t["state"] for t in document["trials"]] == ["diverged"] * 2
    assert [t["value"] for t in document["trials"]] == [None] * 2
    assert None in document["trials"][0]["curve"]["validation"]["cost"]
    assert as_csv(storage, study)[-1]["validation_cost"] == ""
    storage.close()


def test_what_is_not_finite_is_stored_as_nothing(tmp_path: Path) -> None:
    storage, study = searched(tmp_path, PARENT)
    values = (math.nan, math.inf, -math.inf, 0.1 + 0.2, 5e-324, 1.0)

    def spoil(connection: sa.Connection) -> None:
        outcomes.append_curves(connection, study.uuid, {Slot(0, 0): [Point(41, values)]})
        (curve,) = outcomes.curve_digests(connection, study.uuid, [Slot(0, 0)]).values()
        first = rows.at(tables.results, study.uuid, Slot(0, 0))
        connection.execute(tables.results.update().where(first).values(curve_digest=curve))
        digests.seal(connection, tables.results, tables.results.select())

    storage.write(spoil)
    curve = json.loads(as_json(storage, study))["trials"][0]["curve"]

    assert [curve["train"][m][-1] for m in ("cost", "loss", "accuracy")] == [None] * 3
    assert [curve["validation"][m][-1] for m in ("cost", "loss")] == [0.1 + 0.2, 5e-324]
    storage.close()


def test_a_study_without_results_has_no_trials(tmp_path: Path) -> None:
    storage = Storage(f"sqlite:///{tmp_path / 'hpo.db'}")
    outcome = running.run(Order(PARENT, digits()), storage, Story(), lambda: True)

    assert json.loads(as_json(storage, outcome.study))["trials"] == []
    assert as_csv(storage, outcome.study) == []
    storage.close()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_what_is_written_is_what_json_writes_with_an_indent(value: Any) -> None:
    def written(write: Callable[[], str]) -> str | None:
        try:
            return write()
        except ValueError:  # an infinity
            return None

    assert written(lambda: indented(value)) == written(
        lambda: json.dumps(value, indent=1, allow_nan=False)
    )
