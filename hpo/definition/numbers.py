"""Numbers as people give them: NumPy's become Python's, and each has a range.

What is stored are plain numbers. One of another library becomes the number that it is:
``np.float32(0.1)`` is 0.10000000149011612. A text is no number, nor is a truth value.
"""

import math
from collections.abc import Iterable, Mapping, Set
from decimal import Decimal
from itertools import islice
from numbers import Real
from typing import Any

from hpo.errors import InvalidDefinition

LONGEST = 80  #: characters of a value that a sentence shows


def plain(value: Any) -> Any:
    """Return a single number of another library, an enum or a Decimal as Python's own number.

    >>> from fractions import Fraction
    >>> plain(Fraction(1, 4)), plain("0.25"), plain(True)
    (0.25, '0.25', True)
    """
    if type(value) in (int, float, bool, str):
        return value
    if isinstance(value, str):  # NumPy's, or of an enum
        return str.__str__(value)
    try:
        if getattr(value, "shape", None) == () and callable(getattr(value, "item", None)):
            value = value.item()
        if isinstance(value, bool):
            return value
        if isinstance(value, int):
            return int(value)
        return float(value) if isinstance(value, Real | Decimal) else value
    except (ArithmeticError, ValueError, TypeError):  # too large, or a signal of Decimal's
        return value


def whole(name: str, value: Any, least: int, most: int) -> None:
    """Refuse what is not a whole number from ``least`` to ``most``.

    Raises:
        InvalidDefinition: With the name, what it must be, what it is, and what to write.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidDefinition(f"{name} must be a whole number, {came(name, value)}")
    within(name, value, least, most)


def whole_or_share(name: str, value: Any, most: int) -> None:
    """Refuse what is neither a whole number from 1 to ``most`` nor a share between 0 and 1.

    Raises:
        InvalidDefinition: With the name, what it must be, what it is, and what to write.
    """
    if not isinstance(value, float):
        whole(name, value, 1, most)
    elif not 0 < value < 1:
        raise InvalidDefinition(
            f"{name} must be a whole number, or a share above 0 and below 1, {came(name, value)}"
        )


def within(name: str, value: float, least: float, most: float) -> None:
    """Refuse a number that is not from ``least`` to ``most``.

    Raises:
        InvalidDefinition: With the name, what it must be, and what it is.
    """
    if value < least:
        raise InvalidDefinition(f"{name} must be at least {least:,}, got {shown(value)}.")
    if not value <= most:
        raise InvalidDefinition(f"{name} must be at most {most:,}, got {shown(value)}.")


def is_number(value: Any) -> bool:
    """Tell whether ``value`` is a plain, finite number."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float can hold
        return False


def several(name: str, values: Any, most: int) -> tuple[Any, ...]:
    """Return what a list, an array or the like holds, as plain numbers and strings.

    Raises:
        InvalidDefinition: It is a single value, has no order, or has more than ``most``.
    """
    ordered = isinstance(values, Iterable) and not isinstance(values, str | bytes | Mapping | Set)
    if not ordered or getattr(values, "shape", None) == ():
        raise InvalidDefinition(
            f"{name} must be several values in a tuple, a list or an array, got {shown(values)} "
            f"of type {type(values).__name__}. Write a single one as (value,)."
        )
    found = tuple(plain(value) for value in islice(values, most + 1))
    if len(found) > most:
        raise InvalidDefinition(f"{name} must be at most {most:,} values, got more.")
    return found


def came(name: str, value: Any) -> str:
    """Return what came and its type, with what to write where that is clear."""
    told = f"got {shown(value)}"
    if type(value) not in (int, float):
        told += f" of type {type(value).__name__}"
    if isinstance(value, float) and value.is_integer():
        return f"{told}. Write {name}={int(value) if abs(value) < 1e15 else 'it without a point'}."
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return f"{told}."
        return f"{told}. Write it without quotes."
    return f"{told}."


def shown(value: Any) -> str:
    """Return ``value`` as a sentence shows it; long ones are cut."""
    try:
        text = repr(value)
    except Exception:  # Python writes no number of more than 4,300 digits
        return f"a value of type {type(value).__name__}"
    text = "".join(c if c.isprintable() else " " for c in text)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
