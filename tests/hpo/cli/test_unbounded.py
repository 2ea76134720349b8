"""Studies that an older hpo stored with numbers that no study may have: named, passed by, deleted."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from hpo.database import digests, tables


@pytest.fixture(
    params=[
        "finalists",
        *(pytest.param(p, marks=pytest.mark.long) for p in ("replicates", "pruner", "hidden")),
    ]
)
def spoilt(request: Any, command: Callable[..., Any], write_study: Any, workplace: Path) -> str:
    """Store a sound study and one with a number without bound; return the sentence about it."""
    command("run", write_study(name="sound"), "--data", "digits")
    command("submit", write_study(name="tiny"), "--data", "digits")
    with closing(sqlite3.connect(workplace / "hpo.db")) as connection:
        query = "select experiment from hpo_studies where name = 'tiny-digits'"
        experiment = json.loads(connection.execute(query).fetchone()[0])
        definition = experiment["definition"]
        sentence = {
            "replicates": "replicates must be at most 10,000, got 1000000000",
            "hidden": "hidden must be at most 100,000, got 100000000000000000000",
            "pruner": "percentile of percentile must be a number from 0 to 100, got 200",
            "finalists": "Trainings must be at most 1,000,000, got 20833334",
        }[request.param]
        if request.param == "finalists":
            state = {"is_full": True, "is_over": True, "finalists": [0], "replicates": 20_833_332}
            experiment["search"] = state | {"warm": []}
            definition["grid"] = None
            definition["space"] = {"lambda_": {"low": 0.0001, "high": 0.01}}
        else:
            values = {"replicates": 10**9, "hidden": 10**20, "pruner": "percentile:percentile=200"}
            definition[request.param] = values[request.param]
        told = (json.dumps(experiment), "tiny-digits")
        connection.execute("update hpo_studies set experiment = ? where name = ?", told)
        connection.commit()
    engine = sa.create_engine("sqlite:///hpo.db")
    with engine.begin() as sealing:
        digests.seal(sealing, tables.studies, tables.studies.select())
    engine.dispose()
    return sentence


def test_it_harms_itself_alone_and_can_be_deleted(
    command: Callable[..., Any], spoilt: str, write_study: Any
) -> None:
    for words in (("best", "tiny-digits"), ("export", "tiny-digits")):
        assert spoilt in command(*words).sentence
    assert spoilt in command("run", "tiny.py", "--data", "digits").sentence
    assert spoilt in command("run", "tiny.py", "--data", "digits", "--dry-run").sentence
    assert "sound-digits: 3 cells" in command("list").out
    assert "sound-digits" in command("status").out
    worker = command("worker", "--data", "digits")
    assert worker.status == 0
    assert "Traceback" not in worker.err

    assert command("delete", "tiny-digits", "--yes").status == 0
    assert command("run", "tiny.py", "--data", "digits").out.startswith("tiny-digits: 3 of 3 done")
