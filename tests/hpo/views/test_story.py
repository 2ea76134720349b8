"""The story of a run of many cells takes little from those who train."""

import time
from typing import Any

import pytest

from hpo.views import screen
from hpo.views.story import Story


def test_frames_that_are_dear_are_drawn_seldom_but_the_last_one_always(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[int] = []

    def dear(*_: Any) -> str:
        until = time.thread_time() + 0.05
        while time.thread_time() < until:
            pass
        drawn.append(1)
        return f"frame {len(drawn)}"

    monkeypatch.setattr(screen, "drawn", dear)
    story = Story()
    story._standing = object()  # type: ignore[assignment]

    assert [story._drawn(80) for _ in range(20)] == ["frame 1"] * 20
    story.close()
    assert story._drawn(80) == "frame 2"
