"""What counts: the results of a study and its curves, as rows of ours."""

from collections.abc import Collection, Iterable
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
    return [_result_of(connection, row) for row in result_rows(connection, study)]


def results_by_study(connection: Connection) -> dict[str, list[Result] | DamagedRow]:
    """Return the counted results of every study that has any, or what is wrong with one of them."""
    found: dict[str, list[Result] | DamagedRow] = {}
    query = results.select().order_by(results.c.study, results.c.cell, results.c.replicate)
    for row in connection.execute(query).all():
        known = found.setdefault(row.study, [])
        if isinstance(known, list):
            try:
                known.append(_result_of(connection, damage.check(connection, results, row)))
            except DamagedRow as error:
                found[row.study] = error
    return found


def _result_of(connection: Connection, row: Row[Any]) -> Result:
    slot = Slot(row.cell, row.replicate)
    try:
        outcome = Outcome(row.outcome)
    except ValueError:  # with a sound digest, so somebody sealed it
        fault = f"there is no outcome {str(row.outcome)[:20]!r}"
        raise DamagedRow(damage.named(connection, results, row), fault) from None
    return Result(slot, row.attempt, outcome, row.value, row.cycles, row.n_updates)


def count(
    connection: Connection,
    study: str,
    attempt: Attempt,
    *,
    outcome: str,
    value: float | None,
    cycles: int,
    n_updates: int,
    hits: bytes = b"",
    environment: str = "{}",
    has_curve: bool = True,
) -> None:
    """Insert the result of a slot, which is what counts from then on.

    Args:
        attempt: Whose result it is.
        hits: A bit for each validation image.
        environment: JSON, of the process that trained it.
    """
    slot = attempt.slot
    connection.execute(
        results.insert().values(
            study=study,
            cell=slot.cell,
            replicate=slot.replicate,
            attempt=attempt.number,
            outcome=outcome,
            value=value,
            cycles=cycles,
            n_updates=n_updates,
            hits=hits,
            environment=environment,
            curve_digest=digest_of_curve(connection, study, slot) if has_curve else None,
        )
    )


def values_at(connection: Connection, study: str, n_updates: int) -> dict[Slot, float | None]:
    """Return the validation accuracies at one log point, of every slot that has got there."""
    query = sa.select(curves.c.cell, curves.c.replicate, curves.c.validation_accuracy).where(
        curves.c.study == study, curves.c.n_updates == n_updates
    )
    found = connection.execute(query)
    return {Slot(row.cell, row.replicate): row.validation_accuracy for row in found}


def value_at(connection: Connection, study: str, slot: Slot, n_updates: int) -> float | None:
    """Return the validation accuracy of a slot at one log point; None where there is none."""
    value = sa.select(curves.c.validation_accuracy).where(
        at(curves, study, slot), curves.c.n_updates == n_updates
    )
    found: float | None = connection.execute(value).scalar_one_or_none()
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


def append_curve(connection: Connection, study: str, slot: Slot, points: Iterable[Point]) -> None:
    """Add points to the curves of a slot; what stood from the first of them on is replaced."""
    rows: list[dict[str, Any]] = [
        {"study": study, "cell": slot.cell, "replicate": slot.replicate, "n_updates": p.n_updates}
        | {name: number(value) for name, value in zip(CURVE_COLUMNS, p.values, strict=True)}
        for p in points
    ]
    if rows:
        forget_curve(connection, study, slot, after=rows[0]["n_updates"] - 1)
        connection.execute(curves.insert(), rows)


def forget_curve(connection: Connection, study: str, slot: Slot, after: int) -> None:
    """Delete the points of a slot that come after so many updates."""
    later = sa.and_(at(curves, study, slot), curves.c.n_updates > after)
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
    found: dict[Slot, list[Row[Any]]] = {}
    for row in rows:
        damage.check(connection, curves, row)
        found.setdefault(Slot(row.cell, row.replicate), []).append(row)
    return found


def digest_of_curve(connection: Connection, study: str, slot: Slot) -> str | None:
    """Return the digest of the curve of a slot as it stands, for its result."""
    query = sa.select(curves.c.digest).where(at(curves, study, slot)).order_by(curves.c.n_updates)
    return digests.of_curve(connection.execute(query).scalars())
