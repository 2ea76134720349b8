"""How much memory a run takes: its process tree, looked at again and again."""

import contextlib
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from commands import environment, tell
from goals import MeasureFailed

PAUSE = 0.05  #: seconds between two looks


@dataclass
class Memory:
    """The largest values seen, in bytes."""

    private: int = 0  #: of a process that the run started, not shared with any other
    whole: int = 0  #: of all processes together; shared pages count once


def peak_memory(command: Sequence[str | Path], folder: Path) -> Memory:
    """Run a process to its end and return the peaks of its tree.

    Raises:
        MeasureFailed: The run failed.
    """
    peak = Memory()
    with (folder / "memory.log").open("w+") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment(), stdout=log, stderr=subprocess.STDOUT
        )
        parent = psutil.Process(process.pid)
        while process.poll() is None:
            _look(parent, peak)
            time.sleep(PAUSE)
        if process.returncode:
            log.seek(0)
            raise MeasureFailed(f"the run whose memory is measured failed: {log.read()[-300:]}")
    if not peak.private:
        raise MeasureFailed("the run whose memory is measured had no worker processes")
    tell(f"{peak.private / 1e6:8.0f} MB private, {peak.whole / 1e6:.0f} MB in all")
    return peak


def _look(parent: psutil.Process, peak: Memory) -> None:
    """Add up the tree as it is now; processes that end meanwhile are not counted."""
    whole = 0
    with contextlib.suppress(psutil.Error):
        for process in [parent, *parent.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                found = process.memory_full_info()  # from smaps_rollup
                whole += found.pss
                if process != parent:
                    peak.private = max(peak.private, found.uss)
    peak.whole = max(peak.whole, whole)
