"""An objective of the user's own on our grid: what counts, what is tried again, how it ends."""

import json
import math
import re
import runpy
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from hpo.commands import running
from hpo.commands.doctor import examine
from hpo.commands.request import Order
from hpo.database import outcomes, rows, tables
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.definition.ranges import Real
from hpo.definition.spaces import Space
from hpo.definition.study import StudyDefinition
from hpo.experiment.records import Result
from hpo.mirror import study as studies
from hpo.mirror.study import OpenStudy
from hpo.planning.plan import MAX_FAILURES, plan, stands
from hpo.views import report
from hpo.workers.grid_sampler import GridSampler
from model.data import digits

LAMBDAS = (1e-4, 1e-3, 1e-2, 1e-1)
FOUR = StudyDefinition(name="four", grid=Values(LAMBDAS), n_s=10, n_cycles=2, batch_size=100)
NAME = "four-digits"
Objective = Callable[[optuna.Trial], Any]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'hpo.db'}"


@pytest.fixture
def study(storage: Storage) -> OpenStudy:
    return running.submit(Order(FOUR, digits()), storage)[0]


def walk(storage: Storage, study: OpenStudy, objective: Objective, **options: Any) -> optuna.Study:
    own = optuna.load_study(
        study_name=study.stored.name,
        storage=storage.optuna,
        sampler=GridSampler(study),
    )
    own.optimize(objective, **options)
    return own


def lambda_of(trial: optuna.Trial) -> float:
    return trial.suggest_float("lambda", min(LAMBDAS), max(LAMBDAS), log=True)


def results(storage: Storage, study: OpenStudy) -> list[Result]:
    return storage.write(lambda connection: outcomes.results_of(connection, study.uuid))


def ended(storage: Storage, study: OpenStudy) -> list[tuple[str, float | None]]:
    return [(r.outcome, r.value) for r in results(storage, study)]


def wrong(url: str) -> list[str]:
    return [finding.text for finding in examine(url) if finding.is_wrong]


def at(value: float, then: Callable[[optuna.Trial], Any]) -> Objective:
    """An objective that is lambda but for one, where it does something else."""

    def objective(trial: optuna.Trial) -> Any:
        found = lambda_of(trial)
        return then(trial) if found == value else found

    return objective


def prune_after(*reported: float) -> Callable[[optuna.Trial], float]:
    def then(trial: optuna.Trial) -> float:
        for step, value in enumerate(reported):
            trial.report(value, step)
        raise optuna.TrialPruned

    return then


@pytest.mark.parametrize(
    ("then", "counted"),
    [
        (prune_after(0.25, 0.5), ("pruned", 0.5)),
        (prune_after(), ("pruned", None)),
        (prune_after(0.25, math.nan), ("pruned", None)),
        (lambda trial: math.nan, ("diverged", None)),
        (lambda trial: [float("nan")], ("diverged", None)),
        (lambda trial: -math.inf, ("diverged", None)),
        (lambda trial: 1, ("complete", 1.0)),
    ],
)
def test_each_way_to_end_counts_once(
    storage: Storage,
    study: OpenStudy,
    url: str,
    then: Callable[[optuna.Trial], Any],
    counted: tuple[str, float | None],
) -> None:
    own = walk(storage, study, at(LAMBDAS[1], then))

    expected: list[tuple[str, float | None]] = [("complete", value) for value in LAMBDAS]
    expected[1] = counted
    assert ended(storage, study) == expected
    assert len(own.trials) == 4
    told = storage.write(lambda c: report.table(report.read(c, study.stored)))
    assert "after cycle 0" not in told

    examine(url, repair=True)
    assert wrong(url) == []
    assert optuna.load_study(study_name=NAME, storage=storage.optuna).best_value == max(
        value for outcome, value in expected if outcome == "complete" and value is not None
    )


@pytest.mark.parametrize(
    ("then", "reason"),
    [
        (lambda trial: None, "the objective returned None, which is no number"),
        (lambda trial: "much", "the objective returned 'much', which is no number"),
        (lambda trial: 1 / 0, "ZeroDivisionError: division by zero"),
    ],
)
def test_what_fails_is_told_and_tried_again_by_the_next_sampler_until_it_failed_too_often(
    storage: Storage,
    study: OpenStudy,
    url: str,
    then: Callable[[optuna.Trial], Any],
    reason: str,
) -> None:
    for n in range(1, MAX_FAILURES + 1):
        own = walk(storage, study, at(LAMBDAS[2], then), catch=(ZeroDivisionError,))
        assert len(own.trials) == 3 + n
        assert wrong(url) == []

    plan(study)
    failed = storage.write(lambda connection: stands(connection, study)).failed
    assert list(failed.values()) == [reason]
    assert len(results(storage, study)) == 3


def test_a_search_whose_objective_always_fails_ends(storage: Storage) -> None:
    space = Space(lambda_=Real(1e-4, 1e-1, logarithmic=True), budget=200, width=2, finalists=1)
    definition = replace(FOUR, name="wide", grid=None, space=space)
    made = running.submit(Order(definition, digits()), storage)[0]

    own = walk(storage, made, lambda trial: 1 / 0, catch=(ZeroDivisionError,))

    assert len(own.trials) == 2 * MAX_FAILURES


def test_an_interrupted_cell_is_given_back_and_counts_as_no_failure(
    storage: Storage, study: OpenStudy, url: str
) -> None:
    def interrupt(trial: optuna.Trial) -> float:
        raise KeyboardInterrupt

    for _ in range(MAX_FAILURES + 1):
        with pytest.raises(KeyboardInterrupt):
            walk(storage, study, at(LAMBDAS[1], interrupt))

    walk(storage, study, lambda_of)

    assert ended(storage, study) == [("complete", value) for value in LAMBDAS]
    assert {r.attempt for r in results(storage, study)} == {0}
    assert wrong(url) == []


@pytest.mark.parametrize("n_jobs", [2, 8])
def test_threads_share_the_cells_and_end_quietly(
    storage: Storage, study: OpenStudy, url: str, n_jobs: int
) -> None:
    seen: list[float] = []

    def objective(trial: optuna.Trial) -> float:
        value = lambda_of(trial)
        seen.append(value)
        return value

    walk(storage, study, objective, n_jobs=n_jobs)

    assert sorted(seen) == list(LAMBDAS)
    assert ended(storage, study) == [("complete", value) for value in LAMBDAS]
    assert wrong(url) == []
    assert not any(finding.is_note for finding in examine(url))


def test_threads_come_through_the_generations_of_a_search(storage: Storage, url: str) -> None:
    space = Space(lambda_=Real(1e-4, 1e-1, logarithmic=True), budget=200, width=2, finalists=1)
    definition = replace(FOUR, name="wide", grid=None, space=space)
    made = running.submit(Order(definition, digits()), storage)[0]
    evaluated: list[int] = []

    def objective(trial: optuna.Trial) -> float:
        value = lambda_of(trial)
        evaluated.append(trial.user_attrs["cell"])
        return value

    walk(storage, made, objective, n_jobs=2)

    after = studies.present(made).experiment
    assert after.search is not None
    assert after.search.is_over
    assert len(evaluated) == after.n_slots == len(results(storage, made))
    assert wrong(url) == []


def test_what_was_enqueued_before_a_cell_is_evaluated_and_not_counted(
    storage: Storage, study: OpenStudy
) -> None:
    own = walk(storage, study, at(LAMBDAS[1], lambda trial: None))
    own.enqueue_trial({"lambda": 5e-3})

    walk(storage, study, lambda_of)

    assert ended(storage, study) == [("complete", value) for value in LAMBDAS]
    assert [t.value for t in own.trials[4:]] == [5e-3, LAMBDAS[1]]


def test_asking_and_telling_needs_no_optimize(storage: Storage, study: OpenStudy) -> None:
    own = optuna.load_study(study_name=NAME, storage=storage.optuna, sampler=GridSampler(study))
    for _ in LAMBDAS:
        trial = own.ask()
        own.tell(trial, lambda_of(trial))

    assert ended(storage, study) == [("complete", value) for value in LAMBDAS]


def test_a_cell_is_held_by_a_worker_with_a_heartbeat_and_its_doctor_is_content(
    storage: Storage, study: OpenStudy, url: str
) -> None:
    held: list[dict[str, Any]] = []

    def look(trial: optuna.Trial) -> float:
        (attempt,) = storage.write(lambda c: rows.attempts_of(c, study.uuid, states=["running"]))
        ids = storage.write(lambda c: [r.id for r in c.execute(tables.workers.select())])
        assert attempt.worker is not None
        assert attempt.worker["id"] in ids
        held.append(attempt.worker)
        trial.report(0.5, 7)
        thread = threading.Thread(target=lambda: found.extend(examine(url, repair=True)))
        thread.start()
        thread.join()
        return lambda_of(trial)

    found: list[Any] = []
    own = walk(storage, study, look)

    assert len(held) == 4
    assert [f.text for f in found if f.is_wrong] == []
    assert [t.intermediate_values for t in own.trials] == [{7: 0.5}] * 4
    assert wrong(url) == []


DYING = """
import os, sys
import optuna
from hpo.mirror import study as studies
from hpo.workers.grid_sampler import GridSampler
from hpo.database.storage import Storage

storage = Storage(sys.argv[1])
study = studies.find(storage, "four-digits")
own = optuna.load_study(
    study_name="four-digits", storage=storage.optuna, sampler=GridSampler(study)
)
own.optimize(lambda trial: os._exit(9) if trial.user_attrs["cell"] == 1 else 0.5)
"""


def test_a_cell_of_a_process_that_died_comes_back(
    storage: Storage, study: OpenStudy, url: str
) -> None:
    done = subprocess.run([sys.executable, "-c", DYING, url], capture_output=True)
    assert done.returncode == 9

    walk(storage, study, lambda trial: 0.25)

    assert [r.value for r in results(storage, study)] == [0.5, 0.25, 0.25, 0.25]
    assert wrong(url) == []


def test_the_views_show_what_there_is(command: Any, workplace: Path) -> None:
    opened = Storage("sqlite:///hpo.db")
    made = running.submit(Order(FOUR, digits()), opened)[0]
    walk(opened, made, at(LAMBDAS[1], prune_after(0.3)))
    opened.close()

    drawn = command("plot", NAME, "--out", "pictures")
    best, status = command("best", NAME), command("status")
    told = json.loads(command("export", NAME).out)

    assert [path.name for path in (workplace / "pictures").iterdir()] == ["lambda.png"]
    assert (drawn.status, best.status, status.status) == (0, 0, 0)
    assert "0.1" in best.out
    assert [t["state"] for t in told["trials"]] == ["complete", "pruned", "complete", "complete"]
    assert told["trials"][1]["value"] == 0.3
    assert command("export", NAME, "--format", "csv").status == 0


@pytest.mark.parametrize("value", [-3.5, 1e6])
def test_values_that_are_no_accuracies_are_drawn_too(
    command: Any, workplace: Path, value: float
) -> None:
    opened = Storage("sqlite:///hpo.db")
    made = running.submit(Order(FOUR, digits()), opened)[0]
    walk(opened, made, lambda trial: value * lambda_of(trial))
    opened.close()

    assert command("plot", NAME, "--out", "pictures").status == 0
    assert (workplace / "pictures" / "lambda.png").stat().st_size > 10_000


def test_a_single_cell_without_a_curve_is_nothing_to_draw(command: Any, workplace: Path) -> None:
    opened = Storage("sqlite:///hpo.db")
    made = running.submit(Order(replace(FOUR, grid=Values((1e-3,))), digits()), opened)[0]
    walk(opened, made, lambda trial: 0.5)
    opened.close()

    assert "has nothing to draw" in command("plot", NAME, "--out", "pictures").sentence
    assert "0.5" in command("best", NAME).out


def test_the_example_of_the_docs_runs(command: Any, workplace: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "howto" / "own-objective.md").read_text()
    (example,) = (
        block
        for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        if "GridSampler" in block
    )
    (workplace / "example.py").write_text(example)
    assert command("submit", "coarse", "--data", "digits", "--name", "own").status == 0

    runpy.run_path(str(workplace / "example.py"))

    assert "lambda 0.00193" in command("best", "own").out
