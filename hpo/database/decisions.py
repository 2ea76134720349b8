"""Rungs as they are stored: which cells go on after each, and the lock under which they are decided."""

import json
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from hpo.database import damage, rows, tables
from hpo.errors import DamagedRow


def decided(
    connection: Connection, study: str, among: Collection[int] | None = None
) -> dict[int, tuple[int, ...]]:
    """Return the cells that go on after each decided rung, by its number (of a grid the cycle).

    Args:
        among: Numbers of rungs that are asked for; None for all of them.
    """
    query = tables.rungs.select().where(tables.rungs.c.study == study)
    if among is not None:
        query = query.where(tables.rungs.c.cycle.in_(among))
    return {row.cycle: _survivors(connection, row) for row in connection.execute(query)}


def accuracies(connection: Connection, study: str) -> dict[int, dict[int, float | None]]:
    """Return what each decided rung rests on: the accuracies of the cells, by its number."""
    query = tables.rungs.select().where(tables.rungs.c.study == study)
    found: dict[int, dict[int, float | None]] = {}
    for row in connection.execute(query):
        what = damage.named(connection, tables.rungs, damage.check(connection, tables.rungs, row))
        told = damage.parsed(row.decision, what).get("accuracies", {})
        found[row.cycle] = {int(cell): value for cell, value in told.items()}
    return found


def record(connection: Connection, study: str, rung: int, decision: dict[str, Any]) -> None:
    """Store what was decided at a rung, once and for all."""
    connection.execute(
        tables.rungs.insert().values(
            study=study,
            cycle=rung,
            decided_at=rows.now(connection),
            decision=json.dumps(decision),
        )
    )


def _survivors(connection: Connection, row: Row[Any]) -> tuple[int, ...]:
    what = damage.named(connection, tables.rungs, damage.check(connection, tables.rungs, row))
    found = damage.parsed(row.decision, what).get("survivors")
    if not isinstance(found, list) or not all(isinstance(cell, int) for cell in found):
        raise DamagedRow(what, "it does not say which cells go on")
    return tuple(found)


def lock(connection: Connection, study: str) -> None:
    """Let no other transaction write a value at a rung until this one ends."""
    row = sa.select(tables.studies.c.uuid).where(tables.studies.c.uuid == study)
    connection.execute(row.with_for_update())
