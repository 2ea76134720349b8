"""Digests of rows: what was written and is not any more is told from what was.

A digest covers every column of its row, so a value that lost a bit, or is in the wrong place, is
noticed by whoever reads it. Results carry a digest of their curves too, so that a missing point
is noticed. Nothing is kept secret: who can write to a database can write a new digest.
"""

import hashlib
import operator
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

import sqlalchemy as sa

SIZE = 16  #: bytes; twice as many characters
NAME = "digest"  #: of the column
#: Columns that may change after a row was written, or that the database fills.
UNCOVERED = {
    "hpo_studies": ("created_at", "optuna_id", "optuna_name", "former_name"),
    "hpo_test_looks": ("id",),
}


def digest(values: Iterable[Any]) -> str:
    """Return the digest of values in their order, each with its type and its exact bits.

    >>> digest([1, 1.0, "1", None])
    '59931554226da31fd206c4fe3d1db885'
    >>> digest(["ab", "c"]) == digest(["a", "bc"])
    False
    """
    return _hashed(b"".join(map(_exactly, values)))


def of_row(table: sa.Table, row: Any) -> str:
    """Return the digest of a row as ``table.select()`` reads it, with its columns in their order."""
    values, n_others = _values_of(table)(row), _n_before_floats(table)
    if n_others == len(values):
        return digest(values)
    try:  # a curve's rows are many, and what they are found by comes again and again
        return _hashed(b"".join(map(_found_by, values[:n_others])) + _packed(values[n_others:]))
    except (TypeError, OverflowError):  # one is missing, or no number
        return digest(values)


def of_values(table: sa.Table, values: Mapping[str, Any]) -> str:
    """Return the digest of a row that will be written; where a float belongs, 1 is 1.0."""
    return digest(
        [
            float(value) if is_float and value is not None else value
            for value, is_float in ((values.get(name), f) for name, f in _covered(table))
        ]
    )


def when_inserted(context: Any) -> str:
    """Return the digest of the row that SQLAlchemy is about to insert; the column's default."""
    return of_values(context.compiled.statement.table, context.get_current_parameters())


def is_sound(table: sa.Table, row: Any) -> bool:
    """Tell whether a row is what was written."""
    return bool(getattr(row, NAME) == of_row(table, row))


def of_curve(points: Iterable[str | None]) -> str | None:
    """Return the digest of a whole curve, from those of its points in order; None of no points."""
    found = list(points)
    return digest(found) if found else None


def seal(connection: sa.Connection, table: sa.Table, query: sa.Select[Any]) -> None:
    """Give rows, as they are, their digests: those of an older hpo, or changed on purpose."""
    keys = list(table.primary_key)
    sealed = [
        {"sealed": of_row(table, row)} | {f"key_{k.name}": getattr(row, k.name) for k in keys}
        for row in connection.execute(query)
    ]
    if sealed:
        this = sa.and_(*(key == sa.bindparam(f"key_{key.name}") for key in keys))
        update = table.update().where(this).values({NAME: sa.bindparam("sealed")})
        connection.execute(update, sealed)


@cache
def _covered(table: sa.Table) -> tuple[tuple[str, bool], ...]:
    """Return the columns that a digest is of, and whether they hold floats."""
    without = (NAME, *UNCOVERED.get(table.name, ()))
    return tuple(
        (column.name, isinstance(column.type, sa.Double))
        for column in table.columns
        if column.name not in without
    )


@cache
def _values_of(table: sa.Table) -> Callable[[Any], tuple[Any, ...]]:
    places = {column.name: place for place, column in enumerate(table.columns)}
    return operator.itemgetter(*(places[name] for name, _ in _covered(table)))


@cache
def _n_before_floats(table: sa.Table) -> int:
    """Return how many covered columns come before the floats at the end."""
    are_floats = [is_float for _, is_float in _covered(table)]
    return next((n for n in range(len(are_floats), 0, -1) if not are_floats[n - 1]), 0)


def _hashed(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=SIZE).hexdigest()


def _packed(floats: Sequence[float]) -> bytes:
    """Return what `_exactly` makes of floats, in one go."""
    told: list[Any] = [b"f", 0.0] * len(floats)
    told[1::2] = [value + 0.0 for value in floats]
    return _pack_of(len(floats))(*told)


@cache
def _pack_of(n: int) -> Callable[..., bytes]:
    return struct.Struct("<" + n * "cd").pack


def _exactly(value: Any) -> bytes:
    if isinstance(value, float):  # plus zero: SQLite keeps no sign of one
        return _pack_of(1)(b"f", value + 0.0)
    if value is None:
        return b"n"
    if isinstance(value, str):
        content, kind = value.encode("utf-8", "surrogatepass"), b"s"
    elif isinstance(value, bytes | bytearray | memoryview):
        content, kind = bytes(value), b"b"
    else:
        content, kind = b"%d" % operator.index(value), b"i"
    return kind + b"%d:" % len(content) + content


_found_by = lru_cache(maxsize=4096, typed=True)(_exactly)
