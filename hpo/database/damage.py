"""Rows that are read back: checked against their digests, and their JSON against what JSON may be.

Whatever is wrong with a row, who reads it gets one kind of error, `DamagedRow`.
"""

import json
import math
from typing import Any, NoReturn

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from hpo.database import digests, tables
from hpo.errors import DamagedRow

MISFIT = "it is not what was written"


def parsed(text: Any, what: str) -> dict[str, Any]:
    """Return the JSON object in ``text``, whose numbers are finite.

    Args:
        what: Whose it is, in words that begin a sentence.

    Raises:
        DamagedRow: It is no text, no JSON, no object, too deep, or has a number without end.
    """
    try:
        found = json.loads(text, parse_constant=_refused, parse_float=_finite)
    except (ValueError, TypeError, RecursionError) as error:
        short = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:100]
        raise DamagedRow(what, f"what should be JSON is not ({short})") from None
    if not isinstance(found, dict):
        raise DamagedRow(what, f"a JSON object was expected, not {type(found).__name__}")
    return found


def parsed_or_none(text: Any) -> dict[str, Any] | None:
    """Return the JSON object in ``text``, or None where there is none that can be read."""
    try:
        return parsed(text, "") if text else None
    except DamagedRow:
        return None


def check(connection: Connection, table: sa.Table, row: Row[Any]) -> Row[Any]:
    """Return ``row`` if it is what was written.

    Raises:
        DamagedRow: It is not.
    """
    if not digests.is_sound(table, row):
        raise DamagedRow(named(connection, table, row), MISFIT)
    return row


def named(connection: Connection, table: sa.Table, row: Row[Any]) -> str:
    """Return what a row is about, in words."""
    return place(_name_of(connection, row.study), row, _KINDS.get(table.name, "A row"))


def place(study: str, row: Row[Any], kind: str) -> str:
    """Return ``The result of 'coarse', cell 3, replicate 0``."""
    where = [f"{kind} of {study!r}"]
    for name in ("cell", "replicate", "cycle"):
        if name in row._fields:
            where.append(f"{name} {getattr(row, name)}")
    if kind in (_KINDS["hpo_curves"], _KINDS["hpo_rung_bits"]):
        where.append(f"update {row.n_updates}")
    return ", ".join(where)


_KINDS = {
    "hpo_results": "The result",
    "hpo_curves": "The curve",
    "hpo_rungs": "What was decided",
    "hpo_rung_bits": "What was right at a rung",
    "hpo_test_looks": "A look at the test images",
}


def _name_of(connection: Connection, study: Any) -> str:
    query = sa.select(tables.studies.c.name).where(tables.studies.c.uuid == str(study))
    return str(connection.execute(query).scalars().first() or study)


def _refused(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is larger than any number here")
    return value
