"""The verdict: what the looks at the test images that a study took say of it."""

from dataclasses import dataclass

from hpo.database import looks
from hpo.database.connections import Connection
from hpo.experiment.records import StoredStudy
from hpo.judging.statistics import Interval, mean_accuracy


@dataclass(frozen=True)
class Verdict:
    """What the test images say of a study: the mean over the replicates of its best cell.

    >>> import hpo
    >>> verdict = hpo.Verdict(
    ...     cell=0, by_replicate={0: 0.75, 1: 0.25}, n_images=100, n_looks=2, n_begun=0,
    ...     n_looks_by_others=1, interval=None,
    ... )
    >>> verdict.accuracy, verdict.looks()
    (0.5, '2 for this study, and 1 for other studies in the same database')
    """

    cell: int
    by_replicate: dict[int, float]  #: accuracy of each
    n_images: int
    n_looks: int  #: rows, so also those that were taken again
    n_begun: int  #: of them, those that were begun and never completed
    n_looks_by_others: int  #: rows of other studies in this database about the same images
    interval: Interval | None  #: of the mean, at 95 %; None where an older hpo kept no bits

    @property
    def accuracy(self) -> float:
        """The mean over the replicates."""
        return sum(self.by_replicate.values()) / len(self.by_replicate)

    def looks(self) -> str:
        """Return in words how often the images were looked at."""
        others = ""
        if self.n_looks_by_others:
            others = f", and {self.n_looks_by_others} for other studies in the same database"
        begun = f" ({self.n_begun} begun and never completed)" if self.n_begun else ""
        return f"{self.n_looks} for this study{begun}{others}"

    def spread(self) -> str:
        """Return the interval in words."""
        if self.interval is None:
            return (
                "No 95 % interval: an older hpo kept no bits of its looks; --again takes new ones"
            )
        scope = f"over {self.n_images:,} images"
        n_seeds = len(self.by_replicate)
        scope += f" and {n_seeds} seeds" if n_seeds > 1 else " alone, as there is only one seed"
        if n_seeds == 2:
            scope += ", and two seeds say little of others"
        return f"95 % interval: {self.interval.low:.4f} to {self.interval.high:.4f}, {scope}"


def verdict(connection: Connection, study: StoredStudy) -> Verdict | None:
    """Return what the looks that were taken say, or None if there was none."""
    taken = looks.looks_of(connection, study.uuid)
    latest, bits = looks.latest(taken), looks.hits(taken)
    if not latest:
        return None
    return Verdict(
        cell=latest[0].cell,
        by_replicate={look.replicate: look.n_right / look.n_images for look in latest},
        n_images=latest[0].n_images,
        n_looks=len(taken),
        n_begun=sum(not look.is_complete for look in taken),
        n_looks_by_others=looks.n_by_others(connection, study.uuid, latest[0].fingerprint),
        interval=None if bits is None else mean_accuracy(bits),
    )
