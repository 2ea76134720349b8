"""Who a process is, and whether it still lives, as far as the kernel of this host can tell.

A process is who it is by its id, its start in ticks since the boot, the boot and the namespace of
process ids: by nothing that a clock which is set can change. What the kernel says of a process id
is not proof, because a machine that was cloned has the boot id of its twin. So `is_gone` is a sign
that the silence of a worker must confirm (`hpo.database.fleet`), and `is_surely_gone` is proof: its mark
lies here and nobody holds it (`hpo.machine.marks`).
"""

import os
import socket
import subprocess
import time
from functools import cache
from pathlib import Path
from typing import Any

from hpo.machine import marks

GONE_STATES = ("Z", "X", "x")  #: of a process that is only waited for by its parent
STOPPED_STATES = ("T", "t")  #: by a signal, or by a debugger


def this_worker() -> dict[str, Any]:
    """Return what identifies this process among all hosts and all times."""
    return dict(_identity(os.getpid()))


@cache
def _identity(pid: int) -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "boot": _boot(),
        "pid_namespace": _pid_namespace(),
        "pid": pid,
        "ticks": _state_and_start(pid)[1],
        "mark": marks.make(),
    }


def is_gone(worker: dict[str, Any]) -> bool:
    """Tell whether ``worker`` names this boot and a process that this kernel does not have."""
    pid = worker.get("pid")
    is_ours = worker.get("boot") == _boot() and worker.get("pid_namespace") == _pid_namespace()
    if not is_ours or not isinstance(pid, int) or not 0 < pid < 2**31:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:  # somebody else's, whom we may not send signals to: it is there
        pass
    state, started = _state_and_start(pid)
    known = worker.get("ticks")
    another = known is not None and started is not None and started != known
    return another or state in GONE_STATES


def is_surely_gone(worker: dict[str, Any]) -> bool:
    """Tell whether ``worker`` was a process of this very machine, no twin's, and is gone."""
    return is_gone(worker) and marks.is_abandoned(worker.get("mark"))


def is_stopped(pid: int) -> bool:
    """Tell whether a process is stopped, by a signal or a debugger."""
    return _state_and_start(pid)[0] in STOPPED_STATES


def began() -> float:
    """Return when this process was started, in seconds of `time.time`, to a hundredth."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):  # not Linux: what passed before this is lost
        age = 0.0
    return time.time() - age


def _state_and_start(pid: int) -> tuple[str | None, int | None]:
    """Return a process's state, a letter, and its start in ticks; None is what cannot be read."""
    if not os.path.exists("/proc/self/stat"):
        return _elsewhere(pid)
    try:  # the name of the program may hold blanks and brackets
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return fields[0], int(fields[19])
    except (OSError, ValueError, IndexError):
        return None, None


def _elsewhere(pid: int) -> tuple[str | None, int | None]:
    """Return the same where there is no /proc; a start that was recorded is not set with a clock."""
    import psutil

    letters = {psutil.STATUS_ZOMBIE: "Z", psutil.STATUS_DEAD: "X", psutil.STATUS_STOPPED: "T"}
    try:
        process = psutil.Process(pid)
        return letters.get(process.status(), "S"), round(100 * process.create_time())
    except psutil.Error:
        return None, None


@cache
def _boot() -> str:
    """Return an id of this boot of this machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=5)
        return told.stdout.strip() or socket.gethostname()
    except (OSError, subprocess.SubprocessError):
        return socket.gethostname()


def _pid_namespace() -> str:
    """Return the namespace that process ids are counted in; containers have their own."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
