"""Optuna's record of a study, made to say what our tables say whatever others wrote there.

A trial that nobody but us should have made final is set aside (`hpo.mirror.states`). Foreign trials
(`hpo.mirror.agreement`) stay as they are, but for those that Optuna would take for the best of a finished
study: they are set aside too, so that what a stock dashboard calls the best is our winner.
"""

from collections.abc import Callable, Sequence

from hpo.database import rows
from hpo.database.connections import Connection
from hpo.mirror import agreement, parameters, states, trials
from hpo.mirror import study as studies
from hpo.mirror.agreement import Comparison
from hpo.mirror.identity import shown_as
from hpo.mirror.states import Shown
from hpo.mirror.study import OpenStudy
from hpo.planning.plan import plan, stands

LISTED = 10  #: numbers that are listed at most


def correct(study: OpenStudy) -> int:
    """Let the next planner show ours where Optuna shows something else; return how often.

    Trials that are gone are forgotten; parameters, attributes and intermediate values are mended
    in place.
    """
    found = study.storage.write(lambda connection: _corrected(connection, study))
    return len(found.different) if found else 0


def _corrected(connection: Connection, study: OpenStudy) -> Comparison | None:
    """Correct what is different and return what was found; None of a study that Optuna has not."""
    study_id = shown_as(connection, study.uuid)
    if study_id is None:  # deleted; who plans next makes it again
        return None
    stored = studies.stored_now(connection, study)
    found = agreement.compare(connection, stored, study_id)
    ranges = parameters.ranges(stored.experiment) if found.different else {}
    for difference in found.different:
        attempt, trial = difference.attempt, difference.trial
        changes = {"trial_id": None} if trial is None else {}
        rows.update_attempt(connection, study.uuid, attempt, in_optuna=False, **changes)
        if trial is None:
            continue
        states.add_attributes(connection, trial.trial_id, trials.identity(attempt))
        own = parameters.parameter_rows(stored.experiment, ranges, attempt, trial.trial_id)
        have_steps_changed = difference.what == "intermediate values"
        trials.rewrite(connection, trial.trial_id, own, with_steps=have_steps_changed)
    return found


def settle(study: OpenStudy, notify: Callable[[str], None]) -> None:
    """Make Optuna show ours, and what it calls the best be ours once the study is finished."""
    found = study.storage.write(lambda connection: _corrected(connection, study))
    if found is None or found.different or found.behind:
        plan(study)
    elif not found.outranking:
        return

    def outranked(connection: Connection) -> tuple[Shown, ...]:
        study_id = shown_as(connection, study.uuid)
        if study_id is None or not stands(connection, study).is_complete:
            return ()
        stored = studies.stored_now(connection, study)
        found = agreement.compare(connection, stored, study_id).outranking
        for trial in found:
            states.set_aside(connection, trial)
        return found

    aside = study.storage.write(outranked)
    if aside:
        notify(
            f"In Optuna's record of {study.stored.name} others made {numbered(aside)}, no worse than "
            f"our best. They are failed now, with the value in their attribute {states.TOLD}, so that "
            "Optuna's best trial is ours."
        )


def numbered(shown: Sequence[Shown]) -> str:
    """Return which trials these are, in words."""
    return f"{'trial' if len(shown) == 1 else 'trials'} {listed([str(t.number) for t in shown])}"


def listed(names: Sequence[str]) -> str:
    """Return names in a row, the first of many."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
