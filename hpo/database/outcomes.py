"""What counts: the results of a study and its curves, as rows of ours."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from hpo.database import batches, damage, digests
from hpo.database.rows import at, number
from hpo.database.tables import CURVE_COLUMNS, curves, results, test_looks
from hpo.errors import DamagedRow
from hpo.experiment.records import Attempt, Outcome, Point, Result, Slot


def results_of(connection: Connection, study: str) -> list[Result]:
    """Return the counted results, by cell and replicate.

    Raises:
        DamagedRow: One is not what was written.
    """
    return [result_of(connection, row) for row in result_rows(connection, study)]


def results_by_study(connection: Connection) -> dict[str, list[Result] | DamagedRow]:
    """Return the counted results of every study that has any, or what is wrong with one of them."""
    found: dict[str, list[Result] | DamagedRow] = {}
    query = results.select().order_by(results.c.study, results.c.cell, results.c.replicate)
    for row in connection.execute(query).all():
        known = found.setdefault(row.study, [])
        if isinstance(known, list):
            try:
                known.append(result_of(connection, damage.check(connection, results, row)))
            except DamagedRow as error:
                found[row.study] = error
    return found


def result_of(connection: Connection, row: Row[Any]) -> Result:
    """Return what a row of `results` says, which is what was written.

    Raises:
        DamagedRow: Somebody has written it anew, with an outcome that there is none of.
    """
    slot = Slot(row.cell, row.replicate)
    try:
        outcome = Outcome(row.outcome)
    except ValueError:  # with a sound digest, so somebody sealed it
        fault = f"there is no outcome {str(row.outcome)[:20]!r}"
        raise DamagedRow(damage.named(connection, results, row), fault) from None
    return Result(slot, row.attempt, outcome, row.value, row.cycles, row.n_updates)


@dataclass(frozen=True)
class Counted:
    """What becomes the result of an attempt's slot."""

    attempt: Attempt
    outcome: str
    value: float | None
    cycles: int
    n_updates: int
    hits: bytes = b""  #: a bit for each validation image
    environment: str = "{}"  #: JSON, of the process that trained it
    has_curve: bool = True


def count(connection: Connection, study: str, counted: Sequence[Counted]) -> None:
    """Insert the results of slots, which are what counts from then on."""
    curved = [one.attempt.slot for one in counted if one.has_curve]
    sealed = curve_digests(connection, study, curved)
    rows = [
        {
            "study": study,
            "cell": one.attempt.slot.cell,
            "replicate": one.attempt.slot.replicate,
            "attempt": one.attempt.number,
            "outcome": one.outcome,
            "value": one.value,
            "cycles": one.cycles,
            "n_updates": one.n_updates,
            "hits": one.hits,
            "environment": one.environment,
            "curve_digest": sealed.get(one.attempt.slot),
        }
        for one in counted
    ]
    batches.insert(connection, results, rows)


def values_at(
    connection: Connection, study: str, reached: Mapping[Slot, int]
) -> dict[Slot, float | None]:
    """Return the validation accuracies of slots, each at one log point; those that have got there."""
    by_update: dict[int, list[Slot]] = {}
    for slot, n_updates in reached.items():
        by_update.setdefault(n_updates, []).append(slot)
    found: dict[Slot, float | None] = {}
    columns = (curves.c.cell, curves.c.replicate, curves.c.validation_accuracy)
    for n_updates, slots in by_update.items():
        for batch in batches.split(slots):
            these = batches.at(curves, study, batch), curves.c.n_updates == n_updates
            for row in connection.execute(sa.select(*columns).where(*these)):
                found[Slot(row.cell, row.replicate)] = row.validation_accuracy
    return found


def accuracies_of(connection: Connection, study: str) -> list[tuple[Slot, int, float | None]]:
    """Return the validation accuracies at all log points, by slot and update."""
    query = sa.select(
        curves.c.cell, curves.c.replicate, curves.c.n_updates, curves.c.validation_accuracy
    ).where(curves.c.study == study)
    return [
        (Slot(cell, r), n_updates, value) for cell, r, n_updates, value in connection.execute(query)
    ]


def numbers(connection: Connection) -> dict[str, tuple[int, int]]:
    """Return how many results and looks at the test images every study has, for who looks again."""
    found: dict[str, list[int]] = {}
    for place, table in enumerate((results, test_looks)):
        query = sa.select(table.c.study, sa.func.count()).group_by(table.c.study)
        for study, n in connection.execute(query):
            found.setdefault(study, [0, 0])[place] = n
    return {study: (n_results, n_looks) for study, (n_results, n_looks) in found.items()}


def counted_slots(connection: Connection, study: str) -> set[Slot]:
    """Return the slots that have a result, sound or not."""
    found = sa.select(results.c.cell, results.c.replicate).where(results.c.study == study)
    return {Slot(row.cell, row.replicate) for row in connection.execute(found)}


def result_rows(connection: Connection, study: str) -> list[Row[Any]]:
    """Return the rows of the counted results, by cell and replicate.

    Raises:
        DamagedRow: One is not what was written.
    """
    query = results.select().where(results.c.study == study)
    found = connection.execute(query.order_by(results.c.cell, results.c.replicate))
    return [damage.check(connection, results, row) for row in found]


def result_at(connection: Connection, study: str, slot: Slot) -> Row[Any] | None:
    """Return the row of one result, or None.

    Raises:
        DamagedRow: It is not what was written.
    """
    row = connection.execute(results.select().where(at(results, study, slot))).one_or_none()
    return damage.check(connection, results, row) if row else None


def results_at(connection: Connection, study: str, slots: Collection[Slot]) -> dict[Slot, Row[Any]]:
    """Return the rows of the results of some slots, as far as there are any.

    Raises:
        DamagedRow: One is not what was written.
    """
    if not slots:
        return {}
    found = connection.execute(results.select().where(batches.at(results, study, slots))).all()
    return {Slot(row.cell, row.replicate): damage.check(connection, results, row) for row in found}


def accuracies_at(
    connection: Connection,
    study: str,
    slots: Collection[Slot],
    *,
    every: int,
    first: int,
    last: int | None = None,
) -> dict[Slot, dict[int, float]]:
    """Return the validation accuracies of some slots, by slot and number of updates.

    Args:
        every: Whose multiples are looked at, from ``first`` to ``last``.
    """
    points: Any = curves
    columns = (points.c.cell, points.c.replicate, points.c.n_updates, points.c.validation_accuracy)
    query = sa.select(*columns).where(
        batches.at(points, study, slots),
        points.c.n_updates >= first,
        points.c.n_updates % every == 0,
        points.c.validation_accuracy.is_not(None),
    )
    if last is not None:
        query = query.where(points.c.n_updates <= last)
    found: dict[Slot, dict[int, float]] = {}
    for row in connection.execute(query):
        at_slot = found.setdefault(Slot(row.cell, row.replicate), {})
        at_slot[row.n_updates] = row.validation_accuracy
    return found


def append_curves(
    connection: Connection, study: str, points: Mapping[Slot, Sequence[Point]]
) -> None:
    """Add points to the curves of slots; a point that is there already is the same one."""
    rows: list[dict[str, Any]] = [
        {"study": study, "cell": slot.cell, "replicate": slot.replicate, "n_updates": p.n_updates}
        | {name: number(value) for name, value in zip(CURVE_COLUMNS, p.values, strict=True)}
        for slot, of_slot in points.items()
        for p in of_slot
    ]
    batches.insert_missing(connection, curves, rows)


def forget_curves(connection: Connection, study: str, slots: Collection[Slot], after: int) -> None:
    """Delete the points of some slots that come after so many updates."""
    later = sa.and_(batches.at(curves, study, slots), curves.c.n_updates > after)
    if slots:
        connection.execute(curves.delete().where(later))


def curves_of(connection: Connection, study: str) -> dict[Slot, list[Row[Any]]]:
    """Return the rows of every curve of a study, in the order of updates.

    Raises:
        DamagedRow: One is not what was written.
    """
    rows = connection.execute(
        curves.select()
        .where(curves.c.study == study)
        .order_by(curves.c.cell, curves.c.replicate, curves.c.n_updates)
    )
    return dict(by_slot(damage.check(connection, curves, row) for row in rows))


def by_slot(points: Iterable[Row[Any]]) -> Iterator[tuple[Slot, list[Row[Any]]]]:
    """Yield each slot with its rows, of rows that come in the order of their slots."""
    for slot, found in groupby(points, key=attrgetter("cell", "replicate")):
        yield Slot(*slot), list(found)


def last_points(connection: Connection, study: str) -> dict[Slot, Row[Any]]:
    """Return of every result the row of its last log point, where it has one.

    Raises:
        DamagedRow: One is not what was written.
    """
    ends = sa.and_(
        curves.c.study == results.c.study,
        curves.c.cell == results.c.cell,
        curves.c.replicate == results.c.replicate,
        curves.c.n_updates == results.c.n_updates,
    )
    query = sa.select(curves).join(results, ends).where(results.c.study == study)
    return {
        Slot(row.cell, row.replicate): damage.check(connection, curves, row)
        for row in connection.execute(query)
    }


def curve_digests(
    connection: Connection, study: str, slots: Sequence[Slot]
) -> dict[Slot, str | None]:
    """Return the digests of the curves of some slots as they stand."""
    points: dict[Slot, list[str | None]] = {}
    columns = (curves.c.cell, curves.c.replicate, curves.c.digest)
    for batch in batches.split(slots):
        query = sa.select(*columns).where(batches.at(curves, study, batch))
        for row in connection.execute(query.order_by(curves.c.n_updates)):
            points.setdefault(Slot(row.cell, row.replicate), []).append(row.digest)
    return {slot: digests.of_curve(found) for slot, found in points.items()}
