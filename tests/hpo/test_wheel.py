"""The wheel works outside the checkout."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel in it; libraries are those of the tests' own."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(source)], check=True)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "-w",
        str(folder),
        str(source),
    ]
    built = subprocess.run(build, capture_output=True, text=True)
    if "No matching distribution" in built.stderr or "Could not find a version" in built.stderr:
        pytest.skip("pip reaches no index to get setuptools from")
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    packages = next((folder / "venv").glob("lib/python*/site-packages"))
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-warn-script-location",
    ]
    python = folder / "venv" / "bin" / "python"
    subprocess.run([*install, "--ignore-installed", "--prefix", folder / "venv", wheel], check=True)
    script = folder / "venv" / "bin" / "hpo"
    script.write_text(f"#!{python}\nfrom hpo.cli import console\nconsole()\n")
    script.chmod(0o755)
    return folder / "venv"


def run(environment: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    command = [str(environment / "bin" / "hpo"), *arguments]
    return subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True)


def test_a_study_runs_from_the_wheel(environment: Path, tmp_path: Path) -> None:
    place = subprocess.run(
        [
            environment / "bin" / "python",
            "-c",
            "import hpo, model; print(hpo.__file__, model.__file__)",
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert all(str(environment) in file for file in place.stdout.split())

    told = run(environment, tmp_path, "run", "coarse", "--data", "digits", "--workers", "2")

    assert told.returncode == 0, told.stderr
    assert "coarse-digits: 8 of 8 done" in told.stdout
    assert run(environment, tmp_path, "--version").stdout.startswith("hpo 0.")


def test_the_wheel_says_that_it_is_typed_and_under_which_licence(environment: Path) -> None:
    (package,) = environment.glob("lib/python*/site-packages/hpo")
    assert (package / "py.typed").is_file()
    assert list(package.parent.glob("hpo_stacks-*.dist-info/licenses/LICENSE"))
    assert (package / "commands" / "published.json").is_file()
