"""Worker processes are started before the imports that take long."""

import subprocess
import sys

import pytest

from hpo.commands import early
from hpo.commands.request import Request

HEAVY = ("numpy", "scipy", "optuna", "sqlalchemy", "matplotlib", "rich", "psutil")


def test_nothing_that_takes_long_is_imported_before_they_start() -> None:
    program = (
        f"import sys\nimport hpo.commands.early\nprint(sorted({set(HEAVY)!r} & set(sys.modules)))\n"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize(
    ("n_workers", "data", "n_started"),
    [
        (None, "cifar10", 2),  # as many as there are cores
        (None, "digits", 0),  # too small to be sure
        (2, "digits", 2),
        (1, "cifar10", 0),  # this process
        (9, "cifar10", 2),  # the others, when there is work for them
    ],
)
def test_as_many_are_started_as_are_needed_for_sure(
    n_workers: int | None, data: str, n_started: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []
    monkeypatch.setattr("hpo.machine.cores.usable_cores", lambda: 2)
    monkeypatch.setattr(early, "Reserve", started.append)

    early.reserve(Request(study="coarse", data=data), "sqlite:///missing.db", n_workers)

    assert started == [n_started]
