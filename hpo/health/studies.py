"""Each study of ours: can it be read, and what did others do to Optuna's study of it."""

from hpo.database import rows
from hpo.database.connections import Connection
from hpo.database.storage import Storage
from hpo.errors import is_of_one_study, reason_of
from hpo.health.finding import Finding
from hpo.mirror import identity
from hpo.mirror import study as studies
from hpo.planning import correction
from hpo.planning.plan import plan


def findings(connection: Connection) -> list[Finding]:
    """Name the studies that cannot be read, were moved or deleted, and the copies of ours."""
    found = [
        Finding(
            f"{study.name}: the study cannot be read: {study.reason.rstrip('.')}.",
            True,
            "Restore a copy of the database, upgrade hpo if a newer one wrote it, or remove the study "
            f"with `hpo delete {study.name}`; all others are well.",
        )
        for study in rows.unreadable_studies(connection)
    ]
    again = "`hpo run` or `hpo doctor --repair` shows it there again, with all results."
    follows = "`hpo run` or `hpo doctor --repair` follows it."
    for standing in identity.survey(connection):
        name = standing.name
        if standing.shown is None:
            text = f"{name}: Optuna has no study for our rows ({standing.uuid})."
            found.append(Finding(text, True, again))
        elif standing.is_moved:
            text = f"{standing.recorded_name}: another tool put {standing.shown.name} in its place."
            found.append(Finding(text, True, follows))
        found += [
            Finding(
                f"{copy.name}: another tool's copy of {name}, which is left as it is", is_note=True
            )
            for copy in standing.copies
        ]
    return found


def unexamined(name: str, error: Exception) -> Finding:
    """Tell that a study's rows are such that they cannot even be compared."""
    return Finding(
        f"{name}: its rows cannot be examined: {reason_of(error)}",
        True,
        f"Restore a copy of the database, or remove the study with `hpo delete {name}`.",
    )


def plan_all(storage: Storage) -> None:
    """Follow, show and plan every study; one with which that fails keeps no other from it."""
    for standing in storage.read(identity.survey):
        try:
            study = studies.by_uuid(storage, standing.uuid)
            if study is not None:
                plan(study)
                correction.settle(studies.present(study), lambda _: None)
        except Exception as error:
            if not is_of_one_study(error):
                raise
