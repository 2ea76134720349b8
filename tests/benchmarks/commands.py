"""Whole processes from start to exit, ours and the peers', and what they said of themselves."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from goals import MeasureFailed

ROOT = Path(__file__).resolve().parents[2]
HPO = Path(sys.executable).with_name("hpo")
PEERS = Path(__file__).with_name("peers")
PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
PATIENCE = 1800.0  #: seconds for one process
TRAINING = ("gather", "forward", "backward", "evaluation")  #: phases of `hpo run --profile`
#: Left to each program: what a user has set for one would decide for all.
UNSET = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "HPO_STORAGE")


@dataclass(frozen=True)
class Done:
    """A process that ended well."""

    seconds: float
    out: str
    err: str


def tell(text: str) -> None:
    """Tell whoever watches how far the measuring is."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a process that is measured."""
    return {key: value for key, value in os.environ.items() if key not in UNSET} | more


def whole(command: Sequence[str | Path], folder: Path, **more: str) -> Done:
    """Run a process to its end and time it.

    Raises:
        MeasureFailed: It ended with another status than 0, or not at all.
    """
    shown = " ".join(Path(part).name if os.sep in str(part) else str(part) for part in command)
    began = time.perf_counter()
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment(**more),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MeasureFailed(f"{shown}: {error}") from error
    seconds = time.perf_counter() - began
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise MeasureFailed(f"{shown}: exit status {done.returncode}: {' '.join(last)}")
    tell(f"{seconds:8.2f} s  {shown}")
    return Done(seconds, done.stdout, done.stderr)


def hpo(folder: Path, *arguments: str | Path) -> Done:
    """Run one of our commands."""
    return whole([HPO, *arguments], folder)


def peer(script: str, folder: Path, data: Path | None, *arguments: str) -> tuple[Done, Any]:
    """Run a peer's script and return also what it printed as JSON."""
    where: list[str | Path] = ["--data", data] if data else []
    done = whole([PEERS_PYTHON, PEERS / script, *where, *arguments], folder)
    return done, json.loads(done.out.splitlines()[-1])


def import_peers(folder: Path) -> None:
    """Import what the peers need, so that no measure pays for the first time it is read."""
    whole([PEERS_PYTHON, "-c", "import jax, optuna, sklearn.neural_network, torch"], folder)


@dataclass(frozen=True)
class Profile:
    """What ``hpo run --profile`` says, in seconds."""

    before: float  #: start to first update
    after: float  #: last update to exit
    run: float
    phases: dict[str, float]  #: added up over the workers

    @property
    def training(self) -> float:
        """From the first update of any worker to the last one."""
        return self.run - self.before - self.after

    @property
    def worker_seconds(self) -> float:
        """Seconds of all workers in the phases that train."""
        return sum(self.phases[phase] for phase in TRAINING)


def profile_of(done: Done) -> Profile:
    """Read the profile on stderr.

    Raises:
        MeasureFailed: It is not there.
    """
    found = [
        re.search(rf"^{name}: ([\d.]+) s$", done.err, re.MULTILINE)
        for name in ("before the first update", "after the last update", "whole run")
    ]
    phases = {
        name: sum(float(seconds) for seconds in re.findall(r"([\d.]+) s", columns))
        for name, columns in re.findall(r"^(\w+)((?: +[\d.]+ s)+) ", done.err, re.MULTILINE)
    }
    if None in found or not set(TRAINING) <= phases.keys():
        raise MeasureFailed(f"`hpo run --profile` printed no profile but {done.err!r}")
    before, after, run = (float(match[1]) for match in found if match)
    return Profile(before, after, run, phases)
