"""What commands say as JSON: the same as in words and in Python, whatever names hold."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hpo

Command = Callable[..., Any]
HOSTILE = "a <script> \u202e=cmd() \\ ü"


@pytest.fixture
def study(tmp_path: Path) -> hpo.Study:
    two = hpo.StudyDefinition(
        name="two", grid=hpo.Values((1e-3, 1e-2)), n_s=5, n_cycles=1, evaluates_test=True
    )
    return hpo.run(two, data="digits", storage=f"sqlite:///{tmp_path / 'hpo.db'}", name="two")


def change(study: hpo.Study, statement: str, *values: str) -> None:
    connection = sqlite3.connect(study.storage.removeprefix("sqlite:///"))
    connection.execute(statement, values)
    connection.commit()
    connection.close()


def test_best_says_what_python_says(study: hpo.Study, command: Command) -> None:
    told = command("best", "two", "--storage", study.storage, "--format", "json")

    found = json.loads(told.out)
    best, judgement, verdict = study.best, study.judgement(), study.verdict()
    assert best is not None
    assert judgement is not None
    assert verdict is not None
    assert found["study"] == "two"
    assert found["best"]["cell"] == best.index
    assert found["best"]["parameters"] == best.parameters
    assert found["best"]["accuracy"] == pytest.approx(best.accuracy)
    assert found["judgement"]["accuracy"]["low"] == judgement.accuracy.low
    assert set(found["judgement"]["contenders"]) == {str(cell) for cell in judgement.contenders}
    assert found["test"]["accuracy"] == verdict.accuracy
    assert found["test"]["n_looks"] == 1


def test_status_and_list_have_an_entry_for_each_study(study: hpo.Study, command: Command) -> None:
    hpo.submit("coarse", data="digits", storage=study.storage)
    change(study, "update studies set study_name = ? where study_name = 'two'", HOSTILE)

    status_text = command("status", "--storage", study.storage, "--format", "json").out
    status = json.loads(status_text)
    listing = json.loads(command("list", "--storage", study.storage, "--format", "json").out)

    assert status_text.isascii()
    names = [HOSTILE, "coarse-digits"]
    assert [one["study"] for one in status["studies"]] == names
    assert [one["study"] for one in listing["studies"]] == names
    done, waiting = status["studies"]
    assert (done["slots"], done["counted"], done["over"]) == (2, 2, True)
    assert (waiting["waiting"], waiting["over"], waiting["best"]) == (8, False, None)
    assert status["workers"] == []
    assert "another tool renamed it" in status["remarks"][0]
    assert listing["studies"][0]["data"]["fingerprint"] == study.experiment.data.fingerprint


def test_a_damaged_study_is_a_remark_and_the_others_are_told(
    study: hpo.Study, command: Command
) -> None:
    hpo.submit("coarse", data="digits", storage=study.storage)
    change(study, "update hpo_results set value = 0.123")

    status = json.loads(command("status", "--storage", study.storage, "--format", "json").out)
    doctor = command("doctor", "--storage", study.storage, "--format", "json")

    assert [one["study"] for one in status["studies"]] == ["coarse-digits"]
    assert "cannot be shown" in status["remarks"][0]
    assert doctor.status == 1
    assert json.loads(doctor.out)["sound"] is False


@pytest.mark.parametrize("of", [("best", "x"), ("status",), ("list",), ("doctor",)])
def test_another_format_is_refused_before_anything_is_looked_at(
    of: tuple[str, ...], command: Command
) -> None:
    told = command(*of, "--format", "xml")
    assert told.status == 1
    assert "--format must be text or json, got 'xml'" in told.err
