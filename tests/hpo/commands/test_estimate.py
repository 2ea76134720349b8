"""What ``--dry-run`` says, and that it leaves nothing behind."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

from hpo.commands import estimate, running
from hpo.commands.request import Order
from hpo.database.storage import Storage
from hpo.definition.grids import Best, Values
from hpo.definition.study import StudyDefinition
from hpo.errors import DefinitionChanged, ParentUnfinished
from hpo.experiment.resolution import resolve
from hpo.training.trainer import facts
from hpo.views.story import Story
from model.data import digits

DEFINITION = StudyDefinition(name="mine", grid=Values((1e-3, 1e-2)), n_s=10, n_cycles=2)


def describe(url: str, definition: StudyDefinition = DEFINITION, **options: str | None) -> str:
    return estimate.describe(Order(definition, digits(), **options), url, lambda _: None)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'hpo.db'}"


def test_cells_updates_memory_and_time_are_told(url: str, tmp_path: Path) -> None:
    assert re.fullmatch(
        r"mine-digits: 2 cells, 0 of them done\n"
        r"  cell 0: lambda 0\.001\n"
        r"  cell 1: lambda 0\.01\n"
        r"updates: 40 a cell, 80 to make\n"
        r"memory:  about [\d,]+ MB\n"
        r"time:    about [\d,]+ s on one core of this machine",
        describe(url),
    )
    assert list(tmp_path.iterdir()) == []  # no database was made


def test_it_is_told_in_json_too(url: str) -> None:
    order = Order(DEFINITION, digits())

    told = json.loads(estimate.describe(order, url, lambda _: None, form="json"))

    assert told["cells"] == [{"lambda": 1e-3}, {"lambda": 1e-2}]
    assert (told["study"], told["done"], told["updates"], told["budget"]) == (
        "mine-digits", 0, 80, None
    )  # fmt: skip
    assert told["memory"] > 1e6
    assert 0 < told["seconds"] < 10


def test_what_is_done_is_not_counted_again(url: str) -> None:
    storage = Storage(url)
    running.run(Order(DEFINITION, digits()), storage, Story(), lambda: False)
    storage.close()

    text = describe(url)

    assert text.startswith("mine-digits: 2 cells, 2 of them done")
    assert "updates: 40 a cell, 0 to make" in text
    assert "about 0 s" in text


def test_describing_a_study_does_not_make_it(url: str) -> None:
    Storage(url).close()

    assert describe(url, name="other").startswith("other: 2 cells, 0 of them done")
    assert describe(url, name="other").startswith("other: 2 cells, 0 of them done")


def test_a_different_stored_study_is_refused(url: str) -> None:
    storage = Storage(url)
    running.run(Order(DEFINITION, digits()), storage, Story(), lambda: False)
    storage.close()

    with pytest.raises(DefinitionChanged, match="seed: stored 0, asked for 7"):
        describe(url, dataclasses.replace(DEFINITION, seed=7))


def test_a_derived_study_without_its_parent_is_refused_without_a_database(
    url: str, tmp_path: Path
) -> None:
    definition = StudyDefinition(name="late", parent="mine", grid=Best(), n_s=10)

    with pytest.raises(ParentUnfinished, match=r"Run `hpo run mine` first"):
        describe(url, definition)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("fields", "seconds", "memory"),
    [
        ({"n_cycles": 40}, 3, 0.99),  # ten times the updates take longer, and no more room
        ({"hidden": 1000}, 1, 1.01),  # larger networks need more room
    ],
)
def test_more_to_train_costs_more(fields: dict[str, int], seconds: float, memory: float) -> None:
    dataset = digits()
    small = dataclasses.replace(DEFINITION, n_cycles=4)
    costs = [
        estimate.cost(resolve(d, facts(dataset, d)), dataset, 2)
        for d in (small, dataclasses.replace(small, **fields))
    ]

    assert costs[1].seconds > seconds * costs[0].seconds
    assert costs[1].memory > memory * costs[0].memory
