"""A search whose budget grows: the end is that of the same budgets one after the other."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpo.commands import running
from hpo.commands.doctor import examine
from hpo.commands.request import Order
from hpo.database import outcomes
from hpo.database.storage import Storage
from hpo.definition.amounts import Amount
from hpo.definition.study import StudyDefinition
from hpo.errors import BudgetChanged
from hpo.mirror import study as studies
from hpo.search import generations
from hpo.testing import Recorder
from hpo.views import overview, report, story
from model.data import digits
from tests.hpo.small_search import HALVED, exported_search

SMALL, LARGE = 2500, 5000
RACED = replace(HALVED, space=replace(HALVED.space, sampler="random", finalists=2))


def with_budget(budget: int, definition: StudyDefinition = RACED) -> StudyDefinition:
    return replace(definition, space=replace(definition.space, budget=budget))


def run(url: str, budget: int, watcher: Recorder | None = None, **options: Any) -> running.Outcome:
    watcher = watcher or Recorder()
    with Storage(url) as storage:
        order = Order(with_budget(budget), digits(), **options)
        return running.run(order, storage, watcher, watcher.stop)


def submit(url: str, budget: int) -> None:
    with Storage(url) as storage:
        running.submit(Order(with_budget(budget), digits()), storage)


def export(url: str) -> str:
    with Storage(url) as storage:
        return exported_search(storage)


@pytest.fixture(scope="module")
def sequential(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('sequential')}/hpo.db"
    assert run(url, SMALL).after.is_complete
    assert run(url, LARGE).after.is_complete
    return export(url)


def test_a_search_that_is_over_goes_on_with_a_larger_budget(
    tmp_path: Path, sequential: str
) -> None:
    url = f"sqlite:///{tmp_path}/hpo.db"
    before = run(url, SMALL).study.experiment
    after = run(url, LARGE)

    experiment = after.study.experiment
    assert after.after.is_complete
    assert experiment.cells[: len(before.cells)] == before.cells
    assert before.search.finalists
    with Storage(url) as storage:
        results = storage.read(lambda c: outcomes.results_of(c, after.study.uuid))
    assert 0.9 * LARGE < generations.spent(experiment, results) <= LARGE
    assert sum(r.n_updates for r in results) <= LARGE
    assert export(url) == sequential
    assert [f.text for f in examine(url) if f.is_wrong] == []


@pytest.mark.sqlite_first
@pytest.mark.parametrize("moment", [20, pytest.param(150, marks=pytest.mark.long)])
def test_a_running_search_learns_of_a_larger_budget_and_uses_it(
    url: str, sequential: str, moment: int
) -> None:
    outcome = run(url, SMALL, Recorder(at=moment, act=lambda: submit(url, LARGE)))

    assert outcome.after.is_complete
    assert export(url) == sequential


@pytest.mark.parametrize("moment", [30, pytest.param(200, marks=pytest.mark.long)])
def test_a_search_that_grew_while_it_was_interrupted_ends_the_same(
    tmp_path: Path, sequential: str, moment: int
) -> None:
    url = f"sqlite:///{tmp_path}/hpo.db"
    assert not run(url, SMALL, Recorder(stop_after=moment)).after.is_complete
    assert not run(url, LARGE, Recorder(stop_after=moment)).after.is_complete
    run(url, LARGE)

    assert export(url) == sequential


def test_a_budget_never_gets_smaller_and_nothing_changes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hpo.db"
    run(url, SMALL)
    before = export(url)

    with pytest.raises(BudgetChanged, match=r"budget of 2,500 updates, asked for are 2,499, and"):
        run(url, SMALL - 1)

    assert export(url) == before


@pytest.mark.long
def test_the_budget_of_a_file_lets_no_stored_search_grow(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hpo.db"
    run(url, SMALL)

    with pytest.raises(BudgetChanged, match=r"--budget 2500 to go on .* --budget 5000 to let it"):
        run(url, LARGE, is_budget_said=False)
    run(url, LARGE)
    assert run(url, SMALL, is_budget_said=False).before.is_complete  # as the file says still


def test_minutes_that_were_given_are_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hpo.commands import budgets, speed

    url = f"sqlite:///{tmp_path}/hpo.db"
    rates: list[float] = []

    def in_updates(minutes: float, rate: float) -> int:
        monkeypatch.setattr(speed, "rate", lambda *_: rates.append(rate) or rate)
        order = Order(RACED, digits(), amount=Amount(minutes, "minutes"))
        order = budgets.in_updates(order, url, 1, lambda _: None)
        with Storage(url) as storage:
            running.submit(order, storage)
        return order.definition.space.budget

    assert in_updates(1, 50) == 3000
    assert in_updates(1, 70) == 3000  # the same command goes on
    assert in_updates(1.5, 40) == 3000 + 1200
    assert rates == [50, 40]
    with pytest.raises(BudgetChanged):
        in_updates(1, 60)


@pytest.mark.long
def test_status_and_best_say_what_the_budget_was(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hpo.db"
    run(url, SMALL)
    with Storage(url) as storage:
        assert "budget" not in storage.read(overview.status)
    run(url, LARGE)

    with Storage(url) as storage:
        told = storage.read(overview.status)
        stored = storage.read(lambda c: studies.stored(c, "mine-digits"))
        best = storage.read(lambda c: report.best(report.read(c, stored)))
    assert "; budget 5,000 updates, after 2,500" in told
    assert "\nbudget 5,000 updates, after 2,500" in best


@pytest.mark.long
def test_the_story_of_a_run_follows_the_budget(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(story, "PAUSE", 0.0)
    url = f"sqlite:///{tmp_path}/hpo.db"

    class Grows(story.Story):
        def ended(self, *told: Any) -> None:
            super().ended(*told)
            submit(url, LARGE)

    with Storage(url) as storage:
        running.run(Order(with_budget(SMALL), digits()), storage, Grows(), lambda: False)

    told = capsys.readouterr().err
    assert told.count("mine-digits: the budget grew to 5,000 updates") == 1
    found = re.findall(r"([\d,]+) of ([\d,]+) updates", told)
    shares = [tuple(int(n.replace(",", "")) for n in pair) for pair in found]
    assert shares
    assert all(made <= whole <= 5000 for made, whole in shares)
