"""Learning rates as pure functions of the update, with the points at which curves get values.

Updates count from 0: update ``t`` is made at ``rate(t)``. After it, ``t + 1`` updates have been
made, and that number is what log points and cycle boundaries are expressed in.

Reference: L. N. Smith, "Cyclical Learning Rates for Training Neural Networks" (2017),
https://arxiv.org/abs/1506.01186, the policy that the paper calls "triangular".
"""

from dataclasses import dataclass

from model.errors import InvalidConfig


def triangular(update: int, *, eta_min: float, eta_max: float, n_s: int) -> float:
    """Return the learning rate of ``update`` on a triangle of ``n_s`` updates up and ``n_s`` down.

    >>> [triangular(t, eta_min=0.0, eta_max=1.0, n_s=2) for t in range(5)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    position = update % (2 * n_s)
    if position <= n_s:
        return eta_min + position / n_s * (eta_max - eta_min)
    return eta_max - (position - n_s) / n_s * (eta_max - eta_min)


@dataclass(frozen=True, kw_only=True)
class Cyclic:
    """The triangular schedule: ``n_s`` updates from eta_min to eta_max, ``n_s`` back."""

    #: Learning rate at the start and the end of a cycle.
    eta_min: float = 1e-5
    #: Learning rate at the middle of a cycle.
    eta_max: float = 1e-1
    #: Updates in half a cycle.
    n_s: int

    def __post_init__(self) -> None:
        if self.n_s < 1:
            raise InvalidConfig(
                f"n_s must be at least 1 update, got {self.n_s}. "
                "The notebook's coarse search uses 900, two epochs of 450 updates."
            )
        if not 0 <= self.eta_min <= self.eta_max < float("inf") or self.eta_max == 0:
            raise InvalidConfig(
                "The learning rates must satisfy 0 <= eta_min <= eta_max with eta_max above 0, "
                f"got eta_min={self.eta_min}, eta_max={self.eta_max}."
            )

    def rate(self, update: int) -> float:
        """Return the learning rate of ``update``, counted from 0."""
        return triangular(update, eta_min=self.eta_min, eta_max=self.eta_max, n_s=self.n_s)

    def is_log_point(self, n_done: int) -> bool:
        """Tell whether the curves get a value after ``n_done`` updates: 20 times a cycle.

        >>> [u for u in range(1, 16) if Cyclic(n_s=15).is_log_point(u)]
        [2, 3, 5, 6, 8, 9, 11, 12, 14, 15]
        """
        return 10 * n_done // self.n_s > 10 * (n_done - 1) // self.n_s

    def cycle_end(self, n_done: int) -> int | None:
        """Return the number of the cycle that ends after ``n_done`` updates, from 1, or None."""
        cycle, rest = divmod(n_done, 2 * self.n_s)
        return cycle if rest == 0 and cycle else None


@dataclass(frozen=True, kw_only=True)
class Static:
    """One learning rate throughout; the curves get a value after every ``period`` updates."""

    #: The learning rate.
    eta: float = 1e-3
    #: Updates between two log points: an epoch.
    period: int

    def __post_init__(self) -> None:
        if not 0 < self.eta < float("inf"):
            raise InvalidConfig(f"eta must be above 0, got {self.eta}.")
        if self.period < 1:
            raise InvalidConfig(f"period must be at least 1 update, got {self.period}.")

    @property
    def eta_max(self) -> float:
        """The largest rate, which is the only one."""
        return self.eta

    def rate(self, update: int) -> float:
        """Return the learning rate, whatever the ``update``."""
        del update
        return self.eta

    def is_log_point(self, n_done: int) -> bool:
        """Tell whether the curves get a value after ``n_done`` updates."""
        return n_done % self.period == 0

    def cycle_end(self, n_done: int) -> int | None:
        """Return the number of the period that ends after ``n_done`` updates, or None."""
        return n_done // self.period if n_done and n_done % self.period == 0 else None


Schedule = Cyclic | Static
