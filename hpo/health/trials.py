"""Optuna's trials of a study against our attempts."""

import sqlalchemy as sa
from sqlalchemy import Connection

from hpo import rows, tables
from hpo import study as studies
from hpo.health.finding import Finding
from hpo.tables import StoredStudy


def record(connection: Connection, study: StoredStudy) -> list[Finding]:
    """Compare our attempts with Optuna's trials."""
    found = _optuna_id(connection, study)
    if found is None:
        text = f"{study.name}: Optuna has no study for our rows ({study.uuid})."
        return [Finding(text, True, "`hpo doctor --repair` deletes them.")]
    behind = rows.attempts_of(connection, study.uuid, in_optuna=False)
    if behind:
        return [
            Finding(
                f"{study.name}: Optuna does not show {len(behind)} trials as they are.",
                True,
                "`hpo run` or `hpo doctor --repair` brings it up to date.",
            )
        ]
    states = {
        row[0]: row[1]
        for row in connection.execute(
            sa.text("select trial_id, state from trials where study_id = :id"), {"id": found}
        )
    }
    expected = {
        "waiting": {"WAITING"},
        "paused": {"WAITING"},
        "running": {"RUNNING"},
        "ended": {"COMPLETE", "FAIL", "PRUNED"},
        "failed": {"FAIL"},
    }
    wrong = [
        attempt
        for attempt in rows.attempts_of(connection, study.uuid)
        if states.get(attempt.trial_id or -1) not in expected[attempt.state]
    ]
    if wrong:
        text = f"{study.name}: {len(wrong)} trials have another state in Optuna than in our rows."
        return [Finding(text, True, "`hpo doctor --repair` shows ours.")]
    return [Finding(f"{study.name}: Optuna's {len(states)} trials agree with our rows")]


def _optuna_id(connection: Connection, study: StoredStudy) -> int | None:
    """Return the id of Optuna's study that carries our uuid, whatever its name is by now."""
    query = sa.text(
        "select study_id from study_user_attributes where key = :key and value_json = :value"
    )
    values = {"key": studies.UUID_ATTRIBUTE, "value": f'"{study.uuid}"'}
    return connection.execute(query, values).scalars().first()


def delete_lost(connection: Connection) -> None:
    """Delete our rows of the studies that Optuna does not have."""
    for study in rows.all_studies(connection):
        if _optuna_id(connection, study) is None:
            rows.delete_study(connection, study.uuid)


def show_again(connection: Connection) -> None:
    """Let the next planner compare every trial with its attempt."""
    connection.execute(tables.attempts.update().values(in_optuna=False))
