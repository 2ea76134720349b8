"""Optuna's trials of a study against our attempts."""

from collections.abc import Sequence

from hpo.database import rows
from hpo.database.connections import Connection
from hpo.experiment.records import Attempt, State, StoredStudy
from hpo.health.finding import Finding
from hpo.mirror import agreement, identity
from hpo.mirror.agreement import Comparison
from hpo.planning.correction import listed, numbered


def record(connection: Connection, study: StoredStudy) -> list[Finding]:
    """Compare our attempts with Optuna's trials."""
    standing = identity.of(connection, study.uuid)
    if standing is None or standing.shown is None or standing.is_moved:
        return []  # which is a finding by itself
    comparison = agreement.compare(connection, study, standing.shown.study_id)
    notes = _foreign(study, comparison)
    behind = comparison.behind
    running = rows.attempts_of(connection, study.uuid, states=[State.RUNNING])
    if agreement.is_in_work(connection, study, [*running, *behind]):
        n_late = len(behind) + len(comparison.different)
        text = f"{study.name}: {n_late} trials are about to be shown by those who train or plan it"
        late = [Finding(text, is_note=True)] if n_late else []
    else:
        late = _late(study, behind) + _different(study, comparison)
    if not late:
        late = [Finding(f"{study.name}: Optuna's {comparison.n_trials} trials agree with our rows")]
        notes += _unconcluded(study, comparison)
    return [*late, *notes]


def _late(study: StoredStudy, behind: Sequence[Attempt]) -> list[Finding]:
    if not behind:
        return []
    text = f"{study.name}: Optuna does not show {len(behind)} trials as they are."
    return [Finding(text, True, "`hpo run` or `hpo doctor --repair` brings it up to date.")]


def _different(study: StoredStudy, comparison: Comparison) -> list[Finding]:
    if not comparison.different:
        return []
    by_kind: dict[str, list[str]] = {}
    for difference in comparison.different:
        slot, trial = difference.attempt.slot, difference.trial
        name = f"cell {slot.cell}" if trial is None else str(trial.number)
        by_kind.setdefault(difference.what, []).append(name)
    told = "; ".join(f"{what} of {listed(names)}" for what, names in sorted(by_kind.items()))
    text = (
        f"{study.name}: {len(comparison.different)} trials have another state or value in Optuna "
        f"than in our rows ({told})."
    )
    return [Finding(text, True, "`hpo run` or `hpo doctor --repair` shows ours.")]


def _unconcluded(study: StoredStudy, comparison: Comparison) -> list[Finding]:
    if not comparison.n_unconcluded:
        return []
    text = (
        f"{study.name}: {comparison.n_unconcluded} trials have their own accuracy in Optuna instead of "
        "the mean of their cell, so it may call another cell the best."
    )
    remedy = "`hpo run` or `hpo doctor --repair` shows the means."
    return [Finding(text, is_note=True, remedy=remedy)]


def _foreign(study: StoredStudy, comparison: Comparison) -> list[Finding]:
    if not comparison.foreign:
        return []
    text = (
        f"{study.name}: Optuna has {len(comparison.foreign)} trials that others made: "
        f"{numbered(comparison.foreign)}. They are never trained and never counted."
    )
    above = comparison.outranking
    if above:
        text += f" Optuna takes {numbered(above)} for the best."
    remedy = "When the study is finished, `hpo run` or `hpo doctor --repair` sets that aside."
    return [Finding(text, is_note=True, remedy=remedy if above else "")]
