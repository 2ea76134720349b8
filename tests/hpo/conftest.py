"""The command line as tests drive it, databases, and small studies that are run in this process."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

SCRIPT = Path(sys.executable).with_name("hpo")


@dataclass(frozen=True)
class Answer:
    """What a command said, and how it ended."""

    status: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """What a command that failed said, which is one message after the story."""
        assert self.status == 1, f"status {self.status}: {self.out}{self.err}"
        assert "Traceback" not in self.err
        assert self.err.count("hpo: ") == 1
        return self.err[self.err.index("hpo: ") :].strip()


Command = Callable[..., Answer]
WriteStudy = Callable[..., str]
Listening = Callable[[sa.Engine], AbstractContextManager[list[str]]]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder with a storage of its own, where nothing points to CIFAR-10."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("HPO_DATA", raising=False)
    monkeypatch.setenv("HPO_STORAGE", "sqlite:///hpo.db")
    return folder


@pytest.fixture
def command(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run a command line in this process; what `main` does not turn into a sentence is raised."""
    from hpo.cli import main

    def run(*arguments: str | Path, answer: str = "") -> Answer:
        monkeypatch.setattr(sys, "argv", ["hpo", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        told = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return Answer(end.value.code, told.out, told.err)

    return run


@pytest.fixture
def process(workplace: Path) -> Command:
    """Run the installed script in a process of its own."""

    def run(*arguments: str | Path) -> Answer:
        done = subprocess.run(
            [SCRIPT, *arguments], cwd=workplace, capture_output=True, text=True, timeout=120
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def statements() -> Listening:
    """Collect what is asked of a database within a block, and each COMMIT."""

    @contextmanager
    def listening(engine: sa.Engine) -> Iterator[list[str]]:
        found: list[str] = []

        def hear(*told: object) -> None:
            found.append(str(told[2]))

        def hear_commit(_: object) -> None:
            found.append("COMMIT")

        sa.event.listen(engine, "before_cursor_execute", hear)
        sa.event.listen(engine, "commit", hear_commit)
        yield found
        sa.event.remove(engine, "before_cursor_execute", hear)
        sa.event.remove(engine, "commit", hear_commit)

    return listening


KILLED = """
import json, time
from hpo.machine.process import this_worker
print(json.dumps(this_worker()), flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="session")
def killed_process() -> dict[str, object]:
    """Who a process of this machine was that somebody killed."""
    with subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        found: dict[str, object] = json.loads(process.stdout.readline())
        process.kill()
    return found


@pytest.fixture
def quick_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let hearts beat often, so that it is soon known who misses a beat."""
    monkeypatch.setattr("hpo.database.fleet.BEAT", 0.1)


@pytest.fixture
def write_study(workplace: Path) -> WriteStudy:
    """Write a study file and return its name: ``write_study("tiny", n_s=10)``."""

    def write(
        name: str = "tiny", grid: str = "Values((1e-4, 1e-3, 1e-2))", **fields: object
    ) -> str:
        settings = {"n_s": 10, "n_cycles": 2} | fields
        told = "".join(f"    {key}={value!r},\n" for key, value in settings.items())
        (workplace / f"{name}.py").write_text(
            "from hpo import AroundBest, Best, Epochs, Linear, Logarithmic, StudyDefinition, Values\n\n"
            f"STUDY = StudyDefinition(\n    name={name!r},\n    grid={grid},\n{told})\n"
        )
        return f"{name}.py"

    return write


@pytest.fixture
def write_npz(workplace: Path) -> Callable[..., str]:
    """Write 200 images of three classes with some arrays exchanged, and return the file's name."""

    def write(name: str = "mine", **exchanged: np.ndarray | None) -> str:
        rng = np.random.default_rng(0)
        arrays: dict[str, np.ndarray | None] = {
            "images": rng.integers(0, 256, (200, 4, 4), dtype=np.uint8),
            "labels": rng.integers(0, 3, 200),
        }
        kept = {key: array for key, array in (arrays | exchanged).items() if array is not None}
        np.savez(workplace / f"{name}.npz", **kept)
        return f"{name}.npz"

    return write


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a small file system and return its folder; only root can."""
    if os.getuid() != 0:
        pytest.skip("only root can mount a file system to fill or to make read-only")
    folders: list[Path] = []

    def mount(options: str) -> Path:
        folder = tmp_path / "mounted"
        if folder in folders:
            options = f"remount,{options}"
        else:
            folder.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"this machine does not let root mount a tmpfs: {done.stderr.strip()}")
        if folder not in folders:
            folders.append(folder)
        return folder

    yield mount
    for folder in folders:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Any]:
    """A new, empty database in a file of its own."""
    from hpo.database.storage import Storage

    opened = Storage(f"sqlite:///{tmp_path / 'hpo.db'}")
    yield opened
    opened.close()


@pytest.fixture
def run_grid(storage: Any) -> Callable[..., Any]:
    """Run the small grid, or another definition, in this test's database."""
    from tests.hpo import small_grid

    return partial(small_grid.run, storage)


@pytest.fixture
def run_search(storage: Any) -> Callable[..., Any]:
    """Run the small search, or another definition, in this test's database."""
    from tests.hpo import small_search

    return partial(small_search.run, storage)


@pytest.fixture(scope="session")
def undisturbed_search(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The export of a small search that ran through."""
    from hpo.database.storage import Storage
    from tests.hpo import small_search

    opened = Storage(f"sqlite:///{tmp_path_factory.mktemp('quiet') / 'hpo.db'}")
    small_search.run(opened)
    found = small_search.exported_search(opened)
    opened.close()
    return found
