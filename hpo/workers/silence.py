"""What is said while a worker that is not heard is waited for."""

import time

from hpo.database.fleet import WorkerRow, patience_of
from hpo.machine import process


def wait_for(worker: WorkerRow) -> str:
    """Return whom we wait for, since when and until when, in the same words at every look."""
    until = worker.heartbeat_at + worker.grace
    is_ahead = worker.is_timely and not process.is_gone(worker.identity)
    end = f"at {_clock(until)}" if is_ahead else f"in {patience_of(worker.grace):.0f} s"
    return (
        f"Waiting for worker {worker.identity.get('pid')} on {worker.identity.get('host')}, silent "
        f"since {_clock(worker.heartbeat_at)}. Unless it is heard again, its cells are taken over "
        f"{end}."
    )


def _clock(moment: float) -> str:
    """Return a time of today as a clock shows it here, and another one with its date."""
    try:
        shown = time.localtime(moment)
    except (OverflowError, ValueError, OSError):
        return "an unknown time"
    is_today = shown[:3] == time.localtime()[:3]
    return time.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M:%S", shown)
