"""The machine that is measured on: its processor, its libraries, and the speed of its products."""

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

from commands import ROOT, environment, tell
from goals import MeasureFailed

from hpo.machine.environment import environment as libraries

SGEMM = Path(__file__).with_name("sgemm.py")
START = 3.0  #: seconds that a process may take until it measures
LENGTH = 2.0  #: seconds that it measures


def facts() -> dict[str, str]:
    """Return what a reader must know of the machine and of our libraries."""
    return {
        "cpu": _cpu(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "commit": _commit(),
        **libraries(),
    }


def sgemm_peak(n_processes: int = 2) -> float:
    """Return GFLOP/s of several processes at once, with one BLAS thread each, added up."""
    begin = str(time.time() + START)
    processes = [
        subprocess.Popen(
            [sys.executable, SGEMM, begin, str(LENGTH)],
            env=environment(OPENBLAS_NUM_THREADS="1"),
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(n_processes)
    ]
    spoken = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise MeasureFailed("sgemm.py failed")
    peak = sum(map(float, spoken))
    tell(f"{peak:8.1f} GFLOP/s, sgemm of {n_processes} processes")
    return peak


def sharing() -> str:
    """Return in words whether two cores are two: what two processes make of twice one's peak."""
    share = sgemm_peak() / (2 * sgemm_peak(1))
    return f"two processes reach {share:.0%} of twice the sgemm peak of one alone"


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    git = ["git", "-C", str(ROOT)]
    try:
        head = subprocess.check_output([*git, "rev-parse", "--short", "HEAD"], text=True).strip()
        changed = subprocess.check_output([*git, "status", "--porcelain", "-uno"], text=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head} with changes" if changed else head
