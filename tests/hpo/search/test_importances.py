"""Importances say which parameter the accuracy follows, the same whoever asks."""

import pytest

from hpo.definition.ranges import Choice, Dimension, Real, Value
from hpo.errors import MissingPackage
from hpo.search import importances as fanova
from hpo.search.importances import importances

DIMENSIONS: dict[str, Dimension] = {
    "lambda": Real(1e-4, 1e-1, logarithmic=True),
    "normalisation": Choice(("image", "feature")),
}
CELLS: list[dict[str, Value]] = [
    {"lambda": 10 ** (-4 + 3 * k / 19), "normalisation": ("image", "feature")[k * 7 % 3 % 2]}
    for k in range(20)
]


@pytest.mark.parametrize("which", ["lambda", "normalisation"])
def test_what_the_accuracy_follows_explains_most_of_it(which: str) -> None:
    values = [
        float(cell["normalisation"] == "image") if which == "normalisation" else k / 20
        for k, cell in enumerate(CELLS)
    ]
    shares = importances(DIMENSIONS, CELLS, values)

    assert next(iter(shares)) == which
    assert shares[which] > 0.8
    assert sum(shares.values()) == pytest.approx(1)
    assert importances(DIMENSIONS, CELLS, values) == shares


@pytest.mark.parametrize("values", [[0.1, 0.2, 0.3], [0.5] * 20])
def test_few_or_equal_cells_explain_nothing(values: list[float]) -> None:
    assert importances(DIMENSIONS, CELLS[: len(values)], values) == {}


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanova.importlib.util, "find_spec", lambda _: None)

    with pytest.raises(MissingPackage, match=r"importances needs scikit-learn, .* pip install"):
        importances(DIMENSIONS, CELLS, [0.1] * 20)
