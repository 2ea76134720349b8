"""Commands in processes of their own, which are killed when the test is done with them."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCRIPT = Path(sys.executable).with_name("hpo")
Process = subprocess.Popen[str]


@contextmanager
def started(folder: Path, *arguments: str | Path, after: str, times: int = 1) -> Iterator[Process]:
    """Start a command in a session of its own, and wait until it has told of something."""
    process = subprocess.Popen(
        [SCRIPT, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stderr is not None
        heard = []
        for line in process.stderr:
            heard.append(line)
            times -= after in line
            if not times:
                break
        else:
            raise AssertionError("".join(heard))
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def begun(folder: Path, *arguments: str | Path) -> Iterator[Process]:
    """Start a command; what it tells goes into files named for it, ``run.out`` and ``run.err``."""
    place = folder / arguments[0]
    with place.with_suffix(".out").open("w") as out, place.with_suffix(".err").open("w") as err:
        process = subprocess.Popen(
            [SCRIPT, *arguments], cwd=folder, stdout=out, stderr=err, text=True
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
