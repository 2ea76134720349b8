"""How many cores this process may use: the fewer of its affinity and its control group's quota."""

import os
from collections.abc import Iterator
from math import ceil
from pathlib import Path, PurePosixPath

MOST_WORKERS = 64  #: of a run, on a machine with few cores
V2_MOUNTS = ("sys/fs/cgroup", "sys/fs/cgroup/unified")
V1_MOUNTS = ("sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct", "sys/fs/cgroup/cpuacct,cpu")


def usable_cores(root: Path = Path("/")) -> int:
    """Return how many cores this process may use, at least one.

    A quota of one and a half cores counts as two: the second is of use half of the time.

    Args:
        root: Where ``proc`` and ``sys`` are.
    """
    has_affinity = hasattr(os, "sched_getaffinity")
    n_cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return max(1, min([n_cores, *map(ceil, _quotas(root))]))


def _quotas(root: Path) -> Iterator[float]:
    """Yield the quota in cores of every control group that this process is in."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if not controllers:
            for folder in _folders(root, V2_MOUNTS, group):
                yield from _quota(*_read(folder / "cpu.max").split()[:2])
        elif "cpu" in controllers.split(","):
            for folder in _folders(root, V1_MOUNTS, group):
                quota = _read(folder / "cpu.cfs_quota_us")
                yield from _quota(quota, _read(folder / "cpu.cfs_period_us"))


def _folders(root: Path, mounts: tuple[str, ...], group: str) -> Iterator[Path]:
    """Yield the folders of a group and of those around it; a limit of any of them holds.

    In a container the group may be named as the host sees it, and only the mount is there.
    """
    parts = [part for part in PurePosixPath(group).parts if part not in ("/", "..")]
    for mount in mounts:
        for depth in range(len(parts), -1, -1):
            yield root.joinpath(mount, *parts[:depth])


def _quota(allowed: str = "", period: str = "") -> Iterator[float]:
    """Yield the cores that a quota stands for, if it is one: ``max`` and -1 are none."""
    try:
        cores = int(allowed) / int(period)
    except (ValueError, ArithmeticError):
        return
    if cores > 0:
        yield cores


def _read(path: Path) -> str:
    """Return what a file says; one that cannot be read says nothing."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def most_workers() -> int:
    """Return how many processes of a run this machine could ever be busy with."""
    return max(MOST_WORKERS, 4 * usable_cores())
