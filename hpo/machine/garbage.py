"""How often Python looks for objects that only refer to each other."""

import gc

MANY = 20_000  #: objects; what we import makes 60,000, which all stay


def collect_seldom() -> None:
    """Look when there are `MANY` new objects: by default an import is interrupted for it 150 times."""
    gc.set_threshold(MANY)
