"""What several looks at the test images say together."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from hpo.database import looks


@dataclass(frozen=True)
class Row:
    """A look as the database gives it, at ten images."""

    cell: int
    replicate: int
    n_right: int
    fingerprint: str = "the images"
    n_images: int = 10
    is_complete: bool = True

    @property
    def hits(self) -> bytes | None:
        return np.packbits(np.arange(self.n_images) < self.n_right).tobytes()


class WithoutBits(Row):
    """A look that an older hpo took."""

    hits = None  # type: ignore[assignment]


def test_before_the_first_look_there_is_nothing() -> None:
    assert looks.latest([]) == []
    assert looks.accuracy([]) is None
    assert looks.hits([]) is None


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        ([Row(0, 0, 5)], 0.5),
        ([Row(0, 0, 5), Row(0, 1, 7)], 0.6),  # the mean over the replicates
        ([Row(0, 0, 5), Row(0, 1, 7), Row(0, 0, 9)], 0.8),  # a later look replaces an earlier one
        ([Row(0, 0, 5), Row(3, 0, 9)], 0.9),  # of the cell that was looked at last
        ([Row(0, 0, 5), Row(3, 0, 9), Row(0, 1, 7)], 0.6),  # which may be an earlier one again
        ([Row(0, 0, 5, "others"), Row(0, 1, 7)], 0.7),  # other images say nothing about these
        ([Row(0, 0, 5), Row(3, 0, 0, is_complete=False)], 0.5),  # what was only begun says nothing
    ],
)
def test_the_accuracy_is_the_mean_over_the_latest_look_of_each_replicate(
    taken: list[Row], expected: float
) -> None:
    assert looks.accuracy(taken) == pytest.approx(expected)


def test_bits_come_by_replicate_whatever_the_order_of_the_looks() -> None:
    hits = looks.hits([Row(0, 1, 7), Row(0, 0, 5)])

    assert hits is not None
    assert hits.dtype == bool
    assert hits.sum(axis=1).tolist() == [5, 7]
    assert hits.shape == (2, 10)  # and not the 16 of two whole bytes


def test_a_look_without_bits_leaves_none() -> None:
    old = WithoutBits(0, 0, 5)

    assert looks.hits([old, Row(0, 1, 7)]) is None
    assert looks.accuracy([old, Row(0, 1, 7)]) == pytest.approx(0.6)
    assert looks.hits([old, replace(Row(0, 0, 7))]) is not None  # a new look takes its place
