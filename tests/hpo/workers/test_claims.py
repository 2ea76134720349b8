"""A claim is one worker's, and comes back when it is given back or its process dies."""

from typing import Any

from optuna.trial import TrialState

from hpo.database.storage import Storage
from hpo.machine.process import this_worker
from hpo.planning.plan import plan
from hpo.workers.claims import claim, give_back
from tests.hpo.small_grid import RunGrid, created, trials


def test_a_claim_is_running_for_everybody_and_cannot_be_claimed_again(storage: Storage) -> None:
    made = created(storage)
    plan(made)
    first = claim(made, 3, this_worker())
    second = claim(made, 3, this_worker())

    assert first is not None
    assert second is not None
    assert (sorted(first.attempts), sorted(second.attempts)) == ([0, 1, 2], [3])
    assert claim(made, 3, this_worker()) is None
    assert {t.state for t in trials(storage, "small-digits")} == {TrialState.RUNNING}
    give_back(made, first)
    assert sorted(t.state for t in trials(storage, "small-digits")) == sorted(
        [TrialState.WAITING] * 3 + [TrialState.RUNNING]
    )


def test_the_trials_of_a_dead_process_come_back_as_retries(
    storage: Storage, run_grid: RunGrid, killed_process: dict[str, Any]
) -> None:
    made = created(storage)
    plan(made)
    claim(made, 2, killed_process)

    outcome = run_grid()

    assert outcome.before.n_recovered == 2
    assert outcome.n_missing == 0
    shown = trials(storage, "small-digits")
    assert [t.state for t in shown].count(TrialState.FAIL) == 2
    retries = [t for t in shown if "retry_of" in t.user_attrs]
    assert {t.user_attrs["cell"] for t in retries} == {0, 1}
    assert {t.state for t in retries} == {TrialState.COMPLETE}
