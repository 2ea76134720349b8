"""What fails in training is tried again, alone, three times; deaths do not count."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from hpo.commands import running
from hpo.commands.request import Order
from hpo.database import fleet, outcomes, rows, tables
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.definition.study import StudyDefinition
from hpo.experiment.records import Slot
from hpo.mirror import study as studies
from hpo.planning import plan
from hpo.planning.plan import MAX_FAILURES, MAX_FAILURES_IN_ALL, retry, stands
from hpo.testing import Recorder
from hpo.training.trainer import Trainer
from hpo.views.export import to_json
from model.data import digits

FOUR = StudyDefinition(
    name="four", grid=Values((1e-4, 1e-3, 1e-2, 1e-1)), n_s=10, n_cycles=2, batch_size=100
)
BAD = Slot(2, 0)


@pytest.fixture
def watcher() -> Recorder:
    return Recorder()


@pytest.fixture
def run(storage: Storage, watcher: Recorder) -> Callable[[], running.Outcome]:
    return lambda: running.run(Order(FOUR, digits()), storage, watcher, lambda: False)


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[list[int]]]:
    """Let training fail whenever cell 2 is in the stack; return the stacks that were tried."""

    def fail(reasons: Iterator[str]) -> list[list[int]]:
        start = Trainer.start
        tried: list[list[int]] = []

        def failing(self: Trainer, slots: Sequence[Slot], *more: Any) -> Any:
            tried.append([slot.cell for slot in slots])
            if BAD in slots:
                raise FloatingPointError(next(reasons))
            return start(self, slots, *more)

        monkeypatch.setattr(Trainer, "start", failing)
        return tried

    return fail


def history(storage: Storage, outcome: running.Outcome, slot: Slot) -> list[tuple[str, str | None]]:
    found = storage.write(lambda c: rows.attempts_of(c, outcome.study.uuid))
    return [(a.state, a.reason) for a in found if a.slot == slot]


REASON = "FloatingPointError: always the same"


def test_a_cell_that_fails_three_times_for_one_reason_is_reported_and_left(
    storage: Storage, watcher: Recorder, run: Callable[[], running.Outcome], fail: Any
) -> None:
    tried = fail(itertools.repeat("always the same"))

    outcome = run()

    assert outcome.after.failed == {BAD: REASON}
    assert outcome.n_missing == 1
    assert history(storage, outcome, BAD) == [("failed", REASON)] * MAX_FAILURES
    assert tried[0] == [0, 1, 2, 3]
    assert len(watcher.warnings) == 3
    assert all("always the same" in warning for warning in watcher.warnings)
    n_tried = len(tried)
    assert run().after.failed == {BAD: REASON}  # and not tried once more
    assert len(tried) == n_tried


def test_the_neighbours_of_one_that_fails_are_counted(
    storage: Storage, run: Callable[[], running.Outcome], fail: Any
) -> None:
    tried = fail(itertools.repeat("always the same"))

    outcome = run()

    results = storage.write(lambda c: outcomes.results_of(c, outcome.study.uuid))
    assert [r.slot.cell for r in results] == [0, 1, 3]
    for cell in (0, 1, 3):
        states = [state for state, _ in history(storage, outcome, Slot(cell, 0))]
        assert states == ["failed", "ended"]
    assert all(len(stack) == 1 for stack in tried[1:])


def test_a_failed_attempt_is_linked_to_the_one_that_followed(
    storage: Storage, run: Callable[[], running.Outcome], fail: Any
) -> None:
    fail(itertools.repeat("always the same"))
    study = run().study

    trials = storage.optuna.get_all_trials(study.study_id)
    of_bad = [t for t in trials if t.user_attrs["cell"] == BAD.cell]
    assert [t.user_attrs.get("retry_of") for t in of_bad] == [None, 0, 1]
    assert {t.user_attrs["reason"] for t in of_bad} == {REASON}
    assert {t.state.name for t in of_bad} == {"FAIL"}


def test_retry_gives_a_new_chance_and_the_export_is_as_if_nothing_had_failed(
    storage: Storage,
    run: Callable[[], running.Outcome],
    fail: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
) -> None:
    with monkeypatch.context():
        fail(itertools.repeat("always the same"))
        study = run().study
        monkeypatch.undo()
    assert retry(study) == 1
    assert storage.write(lambda c: stands(c, study)).failed == {}

    outcome = run()
    assert (outcome.n_missing, outcome.after.failed) == (0, {})
    other = Storage(f"sqlite:///{tmp_path / 'other.db'}")
    whole = running.run(Order(FOUR, digits()), other, Recorder(), lambda: False).study
    here = storage.write(lambda c: to_json(c, study.stored))
    assert here == other.write(lambda c: to_json(c, whole.stored))
    other.close()


def test_after_a_retry_three_more_failures_are_needed(
    storage: Storage, run: Callable[[], running.Outcome], fail: Any
) -> None:
    fail(itertools.repeat("always the same"))
    study = run().study
    for n in (2, 3):
        assert retry(study) == 1
        outcome = run()
        assert outcome.after.failed == {BAD: REASON}
        assert len(history(storage, outcome, BAD)) == n * MAX_FAILURES


def test_retry_of_a_sound_study_changes_nothing(
    storage: Storage, run: Callable[[], running.Outcome]
) -> None:
    study = run().study
    before = storage.write(lambda c: rows.attempts_of(c, study.uuid))
    assert retry(study) == 0
    assert storage.write(lambda c: rows.attempts_of(c, study.uuid)) == before


def test_failures_for_different_reasons_are_not_added_up(
    storage: Storage, run: Callable[[], running.Outcome], fail: Any
) -> None:
    reasons = iter(["one", "two", "one", "two", "two", "two"])
    fail(reasons)

    outcome = run()

    assert outcome.after.failed == {BAD: "FloatingPointError: two"}
    assert len(history(storage, outcome, BAD)) == 6


@pytest.mark.parametrize(
    "reasons",
    [
        (f"no array at 0x7f{n:010x}" for n in itertools.count(10**9, 77_777)),  # an address
        (f"loss was {0.1 * n:.3f} after {n} updates" for n in itertools.count()),  # numbers
        (f"lock of {n:08x}-aaaa is held" for n in itertools.count(10**8, 987_654_321)),  # ids
    ],
)
def test_a_reason_that_varies_only_in_its_numbers_is_one_reason(
    storage: Storage, run: Callable[[], running.Outcome], fail: Any, reasons: Iterator[str]
) -> None:
    fail(reasons)

    outcome = run()

    assert list(outcome.after.failed) == [BAD]
    assert len(history(storage, outcome, BAD)) == MAX_FAILURES


def test_failures_that_are_never_the_same_end_too_and_are_forgiven_together(
    storage: Storage, run: Callable[[], running.Outcome], fail: Any
) -> None:
    names = ("".join(letters) for letters in itertools.permutations("ghijkl"))
    fail(names)

    outcome = run()
    assert list(outcome.after.failed) == [BAD]
    assert len(history(storage, outcome, BAD)) == MAX_FAILURES_IN_ALL

    assert retry(outcome.study) == 1
    assert len(history(storage, run(), BAD)) == 2 * MAX_FAILURES_IN_ALL


@pytest.mark.parametrize("reason", [fleet.DIED, fleet.SILENT])
def test_deaths_do_not_count_and_leave_the_stack_together(
    storage: Storage, watcher: Recorder, run: Callable[[], running.Outcome], reason: str
) -> None:
    study, _ = running.submit(Order(FOUR, digits()), storage)
    for _ in range(5):
        waiting = tables.attempts.c.state == "waiting"
        values = {"state": "failed", "reason": reason, "in_optuna": False}
        storage.write(lambda c: c.execute(tables.attempts.update().where(waiting).values(values)))  # noqa: B023
        assert plan.plan(study).failed == {}

    outcome = run()

    assert outcome.n_missing == 0
    assert watcher.stacks == [[Slot(cell, 0) for cell in range(4)]]
    assert len(history(storage, outcome, BAD)) == 6


def test_a_plan_counts_slots_results_and_what_it_recovered(
    storage: Storage, run: Callable[[], running.Outcome]
) -> None:
    study, before = running.submit(Order(FOUR, digits()), storage)
    assert (before.n_slots, before.n_counted, before.n_recovered) == (4, 0, 0)
    run()
    found = studies.find(storage, study.stored.name)
    assert found is not None
    after = plan.plan(found)
    assert (after.n_slots, after.n_counted, after.failed) == (4, 4, {})
