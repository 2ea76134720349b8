"""Data frames, where pandas is installed."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from hpo.errors import MissingPackage

if TYPE_CHECKING:
    import pandas as pd


def frame(rows: Iterable[dict[str, Any]]) -> "pd.DataFrame":
    """Return rows as a data frame.

    Raises:
        MissingPackage: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingPackage("A data frame", "pandas") from error
    return pd.DataFrame(list(rows))
