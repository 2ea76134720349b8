"""Commands on one database: how they are begun, killed and compared with undisturbed ones."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATIENCE = 120.0  #: seconds for any command, on a machine with other things to do
PROCESSES = 3  #: that work on the database at once
#: The studies. Their training takes a moment, so that kills can hit it.
STUDIES = {
    "free": "grid=Values((1e-4, 1e-3, 1e-2))",
    "cut": 'grid=Values((1e-4, 1e-3, 1e-2, 1e-1)), pruner="halving"',
    "seek": "space=Space(lambda_=Real(1e-4, 1e-2, logarithmic=True), sampler='random', width=3, "
    "finalists=2, budget=4000)",
}
FILE = """from hpo.definition.study import StudyDefinition
from hpo.definition.grids import Values
from hpo.definition.ranges import Real
from hpo.definition.spaces import Space

STUDY = StudyDefinition(name="{name}", {what}, n_s=100, n_cycles=2, batch_size=50)
"""
#: What others do with Optuna's own tools; {url}, {name} and {other} are filled in.
STRANGERS = {
    "delete": "optuna.delete_study(study_name='{name}', storage='{url}')",
    "copy": "optuna.copy_study(from_study_name='{name}', from_storage='{url}', "
    "to_storage='{url}', to_study_name='{other}')",
    # As the dashboard renames: a copy with other ids, and the old one is deleted.
    "rename": "source = optuna.load_study(study_name='{name}', storage='{url}')\n"
    "copy = optuna.create_study(storage='{url}', study_name='{other}', "
    "directions=source.directions)\n"
    "copy.add_trials(source.get_trials(deepcopy=False))\n"
    "for key, value in source.user_attrs.items():\n    copy.set_user_attr(key, value)\n"
    "optuna.delete_study(study_name='{name}', storage='{url}')",
    "tell": "study = optuna.load_study(study_name='{name}', storage='{url}')\n"
    "for trial in study.trials:\n"
    "    if not trial.state.is_finished():\n        study.tell(trial.number, 0.999)\n        break",
    "fail zombies": "study = optuna.load_study(study_name='{name}', storage='{url}')\n"
    "for trial in study.trials:\n"
    "    if trial.state.name == 'RUNNING':\n"
    "        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)",
    "enqueue": "study = optuna.load_study(study_name='{name}', storage='{url}')\n"
    "study.enqueue_trial({{'lambda': 0.005}})",
}


#: How a study is run, and what else is done.
RUNS = [
    ("--workers", "1"),
    ("--workers", "1"),
    ("--workers", "1", "--replicates", "2"),
    ("--workers", "1", "--pruner", "median"),
    ("--workers", "2"),
]
COMMANDS = [
    ("submit",),
    ("worker", "--data", "digits"),
    ("retry", "NAME"),
    ("delete", "NAME", "--yes"),
    ("doctor",),
    ("doctor", "--repair"),
    ("status",),
    ("export", "NAME"),
]


@dataclass
class Child:
    """A command that was begun."""

    words: tuple[str, ...]
    out: Path
    err: Path
    pid: int = 0
    status: int | None = None


class Nursery:
    """The parent of all commands, see nursery.py."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {"HPO_CACHE": str(folder / "cache")}
        program = [sys.executable, "-P", str(Path(__file__).with_name("nursery.py"))]
        self._process = subprocess.Popen(
            program,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self.environment,
        )
        self._children: dict[str, Child] = {}

    def begin(self, folder: Path, *words: str, code: str = "") -> Child:
        key = uuid.uuid4().hex
        child = Child(words or (code,), folder / f"{key}.out", folder / f"{key}.err")
        what: dict[str, Any] = {"code": f"import optuna\n{code}"} if code else {"argv": words}
        request = {"id": key, "folder": str(folder), "out": str(child.out), "err": str(child.err)}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request | what) + "\n")
        self._process.stdin.flush()
        self._children[key] = child
        while not child.pid:
            self._listen()
        return child

    def end(self, child: Child) -> int:
        while child.status is None:
            self._listen()
        return child.status

    def _listen(self) -> None:
        assert self._process.stdout is not None
        told = json.loads(self._process.stdout.readline())
        child = self._children[told["id"]]
        child.pid = told.get("pid", child.pid)
        child.status = told.get("status", child.status)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=PATIENCE)
        assert self._process.stdout is not None
        self._process.stdout.close()


def write_studies(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name, what in STUDIES.items():
        (folder / f"{name}.py").write_text(FILE.format(name=name, what=what))


@dataclass
class Reference:
    """What undisturbed runs give: whole exports, and every result that is in one of them."""

    exports: dict[str, list[Any]] = field(default_factory=dict)

    @staticmethod
    def of(nursery: Nursery, folder: Path, studies: Sequence[str]) -> "Reference":
        write_studies(folder)
        found = Reference()
        for study in studies:
            found.exports[study] = []
            for growth in (["1"], ["2"], ["1", "2"]):
                url = f"sqlite:///{folder / f'{study}-{len(found.exports[study])}.db'}"
                for replicates in growth:
                    run = ("run", f"{study}.py", "--data", "digits", "--replicates", replicates)
                    assert nursery.end(nursery.begin(folder, *run, "--storage", url)) == 0
                exported = nursery.begin(folder, "export", f"{study}-digits", "--storage", url)
                assert nursery.end(exported) == 0
                found.exports[study].append(json.loads(exported.out.read_text())["trials"])
        return found

    def results(self, study: str) -> set[tuple[Any, ...]]:
        keys = ("cell", "replicate", "state", "value", "cycles")
        return {tuple(t[k] for k in keys) for trials in self.exports[study] for t in trials}
