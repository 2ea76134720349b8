"""Who a worker is, and whether it still lives, as far as this host can tell."""

import os
import socket
import time
from functools import cache
from pathlib import Path
from typing import Any

import psutil

#: Seconds by which two readings of one process's start may differ.
START_TOLERANCE = 2.0


@cache
def this_worker() -> dict[str, Any]:
    """Return what identifies this process among all hosts and all times."""
    return {
        "host": socket.gethostname(),
        "boot": _boot(),
        "pid_namespace": _pid_namespace(),
        "pid": os.getpid(),
        "started": psutil.Process().create_time(),
    }


def is_dead(worker: dict[str, Any]) -> bool:
    """Tell whether ``worker`` ran on this host and is gone; of other hosts nothing is known."""
    same_host = worker["boot"] == _boot() and worker["pid_namespace"] == _pid_namespace()
    if not same_host:
        return False
    try:
        process = psutil.Process(worker["pid"])
        another = abs(process.create_time() - worker["started"]) > START_TOLERANCE
        return another or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False


def began() -> float:
    """Return when this process was started, in seconds of `time.time`, to a hundredth."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):  # not Linux: what passed before this is lost
        age = 0.0
    return time.time() - age


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _boot() -> str:
    """Return an id of this boot of this machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return f"{socket.gethostname()} {psutil.boot_time():.0f}"


def _pid_namespace() -> str:
    """Return the namespace that process ids are counted in; containers have their own."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
