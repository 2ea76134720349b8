"""No passwd entry, no home, no temporary folder, nothing but the current folder to write to."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(sys.executable).with_name("hpo")
STUDY = """
from hpo.definition.study import StudyDefinition
from hpo.definition.grids import Values

STUDY = StudyDefinition(name="tiny", grid=Values((1e-4, 1e-3)), n_s=10, n_cycles=1, n_validation=50)
"""
#: A world in which only ./work can be written to, which forgets it all in the end.
BARE = """
set -e
mount --bind /dev/null /etc/passwd
mkdir -p work
mount -t tmpfs tmpfs work
echo 'passwd: files' > work/nsswitch.conf
mount --bind work/nsswitch.conf /etc/nsswitch.conf
mount -o remount,bind,ro /
cd work
cp ../mine.npz ../tiny.py .
{commands}
! ls -A .. | grep -v -e '^mine.npz$' -e '^tiny.py$' -e '^work$'
find . -name '*~*' -o -name '*.lock'
"""


@pytest.fixture
def bare(
    workplace: Path, write_npz: Callable[..., str]
) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Run commands where there is next to nothing; only root can take so much away."""
    if subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("only root can make a world of its own")
    write_npz()
    (workplace / "tiny.py").write_text(STUDY)

    def run(*commands: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        lines = "\n".join(f"{shlex.quote(str(SCRIPT))} {command}" for command in commands)
        done = subprocess.run(
            ["unshare", "--mount", "bash", "-c", BARE.format(commands=lines)],
            cwd=workplace,
            env={"PATH": os.environ["PATH"], "HPO_STORAGE": "sqlite:///hpo.db", **environ},
            capture_output=True,
            text=True,
            timeout=250,
        )
        if "mount:" in done.stderr:
            pytest.skip(f"this machine lets nobody make a bare one: {done.stderr.strip()}")
        return done

    return run


def test_a_run_needs_nothing_but_its_own_folder(bare: Any) -> None:
    done = bare("run tiny.py --data mine.npz")

    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith("tiny-mine: 2 of 2 done")
    assert not done.stdout.rstrip().endswith((".lock", "~"))


@pytest.mark.long
@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"HOME": ""},
        {"HOME": "/nonexistent/of/nobody"},
        {"HPO_CACHE": "~/cache", "TMPDIR": "/nowhere"},
        {"HPO_CACHE": "/proc/1/cache", "XDG_CACHE_HOME": "/x"},
    ],
)
def test_no_command_needs_a_home_or_a_temporary_folder(bare: Any, environ: dict[str, str]) -> None:
    done = bare(
        "run tiny.py --data mine.npz --workers 2 > told",
        "plot tiny-mine --out pictures",
        "export tiny-mine > export.json",
        "doctor > /dev/null",
        "run tiny.py --data digits > /dev/null",
        "best tiny-mine",
        **environ,
    )

    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "cell" in done.stdout
    assert not done.stdout.rstrip().endswith((".lock", "~"))


@pytest.mark.parametrize("environ", [{}, {"HPO_CACHE": "~nobody-here/cache"}])
def test_cifar10_that_nothing_can_be_kept_of_is_a_sentence(
    bare: Any, environ: dict[str, str]
) -> None:
    done = bare("data info cifar10", **environ)

    assert done.returncode == 1
    assert done.stderr.startswith("hpo: CIFAR-10 is not here, and there is no home folder to keep")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "command", ["status --storage sqlite:///hpo.db", "run coarse --data digits"]
)
def test_a_current_folder_that_is_gone_is_a_sentence(tmp_path: Path, command: str) -> None:
    line = f"mkdir gone; cd gone; rmdir ../gone; {shlex.quote(str(SCRIPT))} {command}"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.count("hpo: ") == 1
