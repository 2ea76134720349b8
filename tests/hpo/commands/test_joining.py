"""A worker that joins from outside, beside studies that are damaged, deleted or renamed."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa

from hpo.commands import joining, running
from hpo.commands.doctor import examine
from hpo.commands.request import Order
from hpo.database import digests, outcomes, tables
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.definition.ranges import Real
from hpo.definition.spaces import Space
from hpo.definition.study import StudyDefinition
from hpo.errors import StudyNotFound, StudyUnreadable
from hpo.mirror import deleting
from hpo.testing import Recorder
from hpo.views import overview
from hpo.workers.claims import claim, give_back
from hpo.workers.membership import Membership
from model.data import digits

FOUR = StudyDefinition(
    name="four", grid=Values((1e-4, 1e-3, 1e-2, 1e-1)), n_s=5, n_cycles=3, batch_size=100
)
SEARCH = StudyDefinition(
    name="search",
    space=Space(lambda_=Real(1e-5, 1e-1, True), budget=600, width=4, sampler="random"),
    n_s=5,
    n_cycles=3,
    batch_size=100,
)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A new database; on PostgreSQL deleting has tests of its own."""
    return f"sqlite:///{tmp_path / 'hpo.db'}"


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, list[str]]]:
    """Join in, watching for some looks if so wanted; return what was trained, and what was said."""

    def join(
        storage: Storage,
        *wanted: str,
        watch: int = 0,
        then: Callable[[], object] = lambda: None,
        at: int = 25,
    ) -> tuple[int, list[str]]:
        pauses: list[float] = []
        told = Recorder(at=at, act=then)
        monkeypatch.setattr(joining.time, "sleep", pauses.append)
        stop = (lambda: len(pauses) >= watch) if watch else (lambda: False)
        n = joining.join(storage, digits(), wanted, told, stop, bool(watch), 60.0)
        return n, told.warnings

    return join


Work = Callable[..., tuple[int, list[str]]]


def submit(storage: Storage, name: str, definition: StudyDefinition = FOUR) -> str:
    return running.submit(Order(definition, digits(), name=name), storage)[0].uuid


def n_results(storage: Storage, uuid: str) -> int:
    return storage.write(lambda c: len(outcomes.results_of(c, uuid)))


def rewrite(storage: Storage, uuid: str, text: str, *, sealed: bool = True) -> None:
    """Change what the row of a study says, as a newer hpo would, or as damage does."""

    def action(connection: sa.Connection) -> None:
        mine = tables.studies.c.uuid == uuid
        connection.execute(tables.studies.update().where(mine).values(experiment=text))
        if sealed:
            digests.seal(connection, tables.studies, tables.studies.select().where(mine))

    storage.write(action)


def changed(storage: Storage, uuid: str, *path: str, value: object) -> str:
    """Return what a study says with one thing in it changed."""
    query = sa.select(tables.studies.c.experiment).where(tables.studies.c.uuid == uuid)
    said = json.loads(storage.write(lambda c: c.execute(query).scalar_one()))
    place = said
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return json.dumps(said)


#: Where a study says something that this hpo cannot make sense of, and what.
STRANGE: dict[str, tuple[tuple[str, ...], object]] = {
    "unknown field": (("definition", "momentum"), 0.9),
    "unknown part": (("schedule",), {"kind": "cosine"}),
    "unknown protocol": (("definition", "protocol"), "paper"),
    "unknown pruner": (("definition", "pruner"), "oracle:eta=3"),
    "unknown loss": (("definition", "loss"), ["hinge"]),
    "cells without lambda": (("cells",), [{"eta_max": 0.1}]),
    "cells that are no cells": (("cells",), "abc"),
    "no cells": (("cells",), []),
    "lambda in words": (("cells",), [{"lambda": "small"}]),
    "updates in words": (("n_updates",), "many"),
    "no data": (("data",), None),
    "image shape": (("data", "image_shape"), 8),
    "grid": (("definition", "grid"), {"kind": "spiral"}),
    "a batch of nothing": (("definition", "batch_size"), 0),
}


@pytest.mark.parametrize(
    "strange",
    [
        pytest.param(name, marks=() if number % 5 == 0 else pytest.mark.exhaustive)
        for number, name in enumerate(STRANGE)
    ],
)
def test_a_study_that_says_what_nobody_understands_harms_itself_alone(
    storage: Storage, url: str, work: Work, strange: str
) -> None:
    bad, good = submit(storage, "bad"), submit(storage, "good")
    path, value = STRANGE[strange]
    rewrite(storage, bad, changed(storage, bad, *path, value=value))

    n, said = work(storage, watch=3)

    assert n == n_results(storage, good) == 4
    (line,) = said
    assert line.startswith("The study 'bad' cannot be read: ")
    for told in (storage.write(overview.status), storage.write(overview.listing)):
        assert "bad: cannot be read: " in told
        assert "good" in told
    (found,) = (finding for finding in examine(url) if finding.is_open)
    assert found.text.startswith("bad: the study cannot be read: ")
    assert running.submit(Order(FOUR, digits(), name="good"), storage)[1].is_complete
    for command in (
        lambda: work(storage, "bad"),
        lambda: running.submit(Order(FOUR, digits(), name="bad"), storage),
    ):
        with pytest.raises(StudyUnreadable, match="cannot be read.*`hpo delete bad`"):
            command()
    examine(url, repair=True)
    deleting.delete(storage, "bad")
    assert not any(finding.is_open for finding in examine(url))
    assert n_results(storage, good) == 4


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"definition": {}}',
        *(
            pytest.param(t, marks=pytest.mark.exhaustive)
            for t in ("", "[]", "null", "1e999", "\x00")
        ),
    ],
)
def test_a_damaged_row_harms_itself_alone(
    storage: Storage, url: str, work: Work, text: str
) -> None:
    bad, good = submit(storage, "bad"), submit(storage, "good")
    rewrite(storage, bad, text, sealed=text.startswith("{"))

    n, said = work(storage)

    assert n == n_results(storage, good) == 4
    assert len(said) == 1
    assert "bad: cannot be read: " in storage.write(overview.status)
    examine(url, repair=True)
    assert n_results(storage, good) == 4
    deleting.delete(storage, "bad")


def test_a_study_whose_training_cannot_begin_is_passed_by_with_one_line_each_time_it_changes(
    storage: Storage, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = submit(storage, "bad"), submit(storage, "good")
    real, tries = joining.work, []

    def refusing(study: Any, *rest: Any, **more: Any) -> None:
        if study.uuid == bad:
            tries.append(study.stored.name)
            raise ZeroDivisionError("its pruner divides by zero")
        real(study, *rest, **more)

    monkeypatch.setattr(joining, "work", refusing)

    n, said = work(storage, watch=4)

    assert n == n_results(storage, good) == 4
    assert tries == ["bad"]
    assert said == ["'bad' is passed by: ZeroDivisionError: its pruner divides by zero"]


@pytest.mark.parametrize(
    ("definition", "at", "named"),
    [
        pytest.param(
            d, at, named, marks=() if (at, named) == (25, True) else pytest.mark.exhaustive
        )
        for d in (FOUR, SEARCH)
        for at in (1, 25, 70)
        for named in (False, True)
    ],
)
def test_a_study_that_is_deleted_costs_a_watching_worker_one_line(
    storage: Storage, url: str, work: Work, definition: StudyDefinition, at: int, named: bool
) -> None:
    gone, good = submit(storage, "gone", definition), submit(storage, "good")
    names = ("gone", "good") if named else ()

    _, said = work(storage, *names, watch=2, then=lambda: deleting.delete(storage, "gone"), at=at)

    assert said == ["The study 'gone' was deleted while it was being worked on."]
    assert n_results(storage, good) == 4
    for table in tables.OF_STUDY:
        query = sa.select(table.c.study).where(table.c.study == gone)
        assert storage.write(lambda c, q=query: c.execute(q).all()) == []
    assert optuna.get_all_study_names(storage.optuna) == ["good"]
    assert not any(finding.is_open for finding in examine(url))


@pytest.mark.exhaustive
def test_a_worker_forgets_what_it_prepared_for_a_study_that_is_done(
    storage: Storage, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gc
    import weakref

    made: list[weakref.ref[Any]] = []
    living: list[int] = []

    class Watched(joining.Trainer):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append(weakref.ref(self))

    monkeypatch.setattr(joining, "Trainer", Watched)
    for name in ("one", "two", "three"):
        submit(storage, name)
    real = joining.Desk.with_work

    def look(self: joining.Desk) -> Any:
        found = real(self)
        gc.collect()
        living.append(sum(reference() is not None for reference in made))
        return found

    monkeypatch.setattr(joining.Desk, "with_work", look)

    work(storage, watch=3)

    assert len(made) >= 3
    assert living[-1] == 0


def test_an_unknown_study_is_refused_with_the_known_ones(storage: Storage, work: Work) -> None:
    submit(storage, "good")
    with pytest.raises(StudyNotFound, match="it holds: good"):
        work(storage, "good", "nothing")


def test_a_worker_turns_to_another_study_where_the_first_one_has_nothing_left_to_take(
    storage: Storage, work: Work
) -> None:
    first, _ = running.submit(Order(FOUR, digits()), storage)
    running.submit(Order(replace(FOUR, name="later"), digits()), storage)
    with Membership(storage) as other:
        held = claim(first, 4, other.identity)
        assert held is not None
        n, said = work(storage, watch=3)
        assert (n, said) == (4, [])
        give_back(first, held)
    assert work(storage)[0] == 4
    assert [f.text for f in examine(storage.url) if f.is_wrong] == []


def test_a_worker_that_starts_where_something_waits_does_not_plan(
    storage: Storage, work: Work, statements: Callable[..., Any]
) -> None:
    running.submit(Order(FOUR, digits()), storage)
    with statements(storage.engine) as found:
        assert work(storage)[0] == 4
    assert not any("INSERT INTO hpo_leases" in text for text in found)
