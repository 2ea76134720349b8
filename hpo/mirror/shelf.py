"""All the studies of a database at one look, with what others did to them.

A study that cannot be read harms itself alone: it is named, and the rest is looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from hpo.database import rows
from hpo.experiment.records import StoredStudy, UnreadableStudy
from hpo.mirror import identity
from hpo.mirror.identity import Standing


@dataclass(frozen=True)
class Shelf:
    """All the studies of a database."""

    studies: list[StoredStudy]  #: oldest first, under the names that they go by now
    unreadable: list[UnreadableStudy]
    notes: list[str]  #: a line for each that others copied, renamed or deleted

    @property
    def remarks(self) -> list[str]:
        """Return a line for everything that is not as usual."""
        return [f"{study.name}: cannot be read: {study.reason}" for study in self.unreadable] + (
            self.notes
        )


def look(connection: Connection, among: Sequence[str] | None = None) -> Shelf:
    """Return all studies, and what there is to say about them; changes nothing.

    Args:
        among: Uuids of those that are looked at; None for all.
    """
    standings = {standing.uuid: standing for standing in identity.survey(connection)}
    each = rows.each_study(connection, among)
    studies = [
        replace(stored, name=standings[stored.uuid].name)
        for stored in each
        if isinstance(stored, StoredStudy) and stored.uuid in standings
    ]
    notes = [told for standing in standings.values() for told in _notes(standing)]
    return Shelf(studies, [study for study in each if isinstance(study, UnreadableStudy)], notes)


def _notes(standing: Standing) -> list[str]:
    notes = []
    if standing.shown is None:
        notes.append(
            f"{standing.name}: another tool deleted it from Optuna's tables; `hpo run` or "
            "`hpo doctor --repair` shows it there again."
        )
    elif standing.is_renamed or standing.former_name not in (None, standing.name):
        former = standing.former_name or standing.recorded_name
        notes.append(f"{standing.name}: it was made as {former}; another tool renamed it.")
    elif standing.shown.name != standing.name:
        notes.append(f"{standing.name}: Optuna shows it as {standing.shown.name}.")
    for copy in standing.copies:
        notes.append(f"{copy.name}: another tool's copy of {standing.name}, left as it is.")
    return notes
