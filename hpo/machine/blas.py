"""One BLAS thread in this process while something of ours trains: the bits depend on it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.Lock()
_n_inside = 0
_limit: Any = None


@contextmanager
def one_thread() -> Iterator[None]:
    """Let BLAS use one thread until the last block in any thread of this process ends.

    The number belongs to the process, so the first block sets it and the last one gives the user's
    back. A library that is loaded later would not know of it; so those that train are loaded first.
    """
    global _n_inside, _limit
    import threadpoolctl

    from model.blas import blas

    blas()
    with _lock:
        if _n_inside == 0:
            with _in_control():
                _limit = threadpoolctl.threadpool_limits(1, user_api="blas")
        _n_inside += 1
    try:
        yield
    finally:
        with _lock:
            _n_inside -= 1
            if _n_inside == 0:
                with _in_control():
                    _limit.restore_original_limits()


@contextmanager
def _in_control() -> Iterator[None]:
    """Let this thread set the number: newer threadpoolctl obeys the first thread alone, silently."""
    import threadpoolctl

    controller = getattr(threadpoolctl, "OpenBLASController", None)
    let_go = getattr(controller, "clear_controlling_thread", lambda **_: None)
    let_go(force=True)
    try:
        yield
    finally:
        let_go(force=True)  # else the user's own limits would do nothing from now on
