"""A user's own ``progress`` and ``stop``, which may raise: then a run ends as if told to stop.

What is trained is kept, what is held is given back, and in the end what they raised is raised; it
is no failure of a training.
"""

from collections.abc import Callable
from typing import Any, Self

from hpo.training.progress import Progress, Silent

TOLD = ("began", "grew", "claimed", "advanced", "ended", "warn", "spent")


class Callbacks:
    """Both, watched: hands on what it is told until one of them raises, which the block then does."""

    def __init__(self, progress: Progress | None, stop: Callable[[], bool]) -> None:
        """Take them.

        Raises:
            TypeError: One of them is none.
        """
        self._progress = Silent() if progress is None else progress
        missing = [name for name in TOLD if not callable(getattr(self._progress, name, None))]
        if missing:
            raise TypeError(
                f"progress must have the methods of hpo.Progress; {type(progress).__name__} has no "
                f"{', '.join(missing)}."
            )
        if not callable(stop):
            raise TypeError(f"stop must be called to say whether to stop, got {stop!r}.")
        self._stop = stop
        self.raised: Exception | None = None

    def stop(self) -> bool:
        """Tell whether to stop: because the user says so, or something of the user's has raised."""
        return self.raised is not None or bool(self._call(self._stop))

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name not in TOLD:
            raise AttributeError(name)
        method = getattr(self._progress, name)
        return lambda *args: self._call(method, *args)

    def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        if self.raised is None:
            try:
                return function(*args)
            except Exception as error:
                self.raised = error
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.raised is not None:
            raise self.raised
