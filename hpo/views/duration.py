"""Times as people say them."""


def in_words(seconds: float) -> str:
    """Return a time in two digits at most, in a unit that people would take.

    >>> in_words(0.2), in_words(94), in_words(3000), in_words(90_000)
    ('1 s', '94 s', '50 minutes', '25 hours')
    """
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    if seconds < 2 * 3600:
        return f"{round(seconds / 60)} minutes"
    return f"{round(seconds / 3600)} hours"
