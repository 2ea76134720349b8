"""For how long this process has seen a thing unchanged, on its own monotonic clock.

That is the only clock that nobody can set, so it confirms what a database's clock suggests. Time
in which nobody looked counts little: it may be that we slept, and with us whomever we look at.
"""

import time

LONGEST_GAP = 1.0  #: seconds between two looks that count at most
FORGOTTEN_AFTER = 60.0  #: seconds without a look, when there are many things
MANY = 1000


class Sightings:
    """What was seen of each of many things, and since when it is so."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[object, float, float]] = {}

    def unchanged_for(self, key: str, stamp: object) -> float:
        """Look at a thing that bears ``stamp``; return for how many seconds it has been seen so."""
        moment = time.monotonic()
        known, looked_at, seconds = self._seen.get(key, (None, moment, 0.0))
        passed = min(moment - looked_at, LONGEST_GAP)
        seconds = seconds + passed if known == stamp else 0.0
        if len(self._seen) > MANY:
            self._forget(moment - FORGOTTEN_AFTER)
        self._seen[key] = (stamp, moment, seconds)
        return seconds

    def _forget(self, before: float) -> None:
        for key, (_, looked_at, _) in list(self._seen.items()):
            if looked_at < before:
                self._seen.pop(key, None)
