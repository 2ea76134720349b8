"""Commands, kills and strangers' tools on one database, interleaved by a machine.

Whatever is done together, in up to three processes at once: no name is locked, every counted
result is that of an undisturbed run, nothing is deleted unasked, and a repaired database is sound.
"""

import itertools
import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.hpo.acceptance.together import (
    COMMANDS,
    PROCESSES,
    RUNS,
    STRANGERS,
    STUDIES,
    Child,
    Nursery,
    Reference,
    write_studies,
)


class Together(RuleBasedStateMachine):
    """A database, the commands that work on it now, and what must hold."""

    nursery: Nursery
    reference: Reference
    make_url: Callable[[], str]
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="together-", dir=self.nursery.folder))
        write_studies(self.folder)
        self.url = type(self).make_url() or f"sqlite:///{self.folder / 'hpo.db'}"
        self.busy: list[Child] = []
        self.history: list[str] = []
        self.names = {f"{study}-digits": study for study in self.reference.exports}
        self.seen: dict[str, set[tuple[Any, ...]]] = {}  # by uuid, with the study's file first
        self.called: dict[str, set[str]] = {}  # names that a uuid has had
        self.asked_to_delete: set[str] = set()
        self.n_names = 0
        self.n_done = 0  # since all was looked at
        self.engine = sa.create_engine(self.url, poolclass=sa.NullPool)

    # -- what can be done

    @initialize()
    def make(self) -> None:
        """Begin with a database in which all studies wait."""
        for study in self.reference.exports:
            self._done("submit", f"{study}.py", "--data", "digits", "--storage", self.url)

    @precondition(lambda self: len(self.busy) < PROCESSES)
    @rule(data=st.data(), more=st.sampled_from(RUNS))
    def train(self, data: st.DataObject, more: tuple[str, ...]) -> None:
        """Begin to train a study, or go on with it, and do not wait for it."""
        name = data.draw(st.sampled_from(sorted(self.names)))
        self._begin("run", *self._study_and_name(name), *more)

    @precondition(lambda self: len(self.busy) < PROCESSES)
    @rule(data=st.data(), what=st.sampled_from(COMMANDS))
    def command(self, data: st.DataObject, what: tuple[str, ...]) -> None:
        """Begin another command, and do not wait for it."""
        name = data.draw(st.sampled_from(sorted(self.names)))
        if what == ("submit",):
            what = ("submit", *self._study_and_name(name))
        elif what[0] == "delete":
            self.asked_to_delete.add(name)
        self._begin(*(name if word == "NAME" else word for word in what))

    @precondition(lambda self: self.busy)
    @rule(
        which=st.integers(0, PROCESSES - 1),
        how=st.sampled_from(["wait", "KILL", "KILL", "INT", "TERM", "STOP"]),
        after=st.floats(0, 0.6),
    )
    def end(self, which: int, how: str, after: float) -> None:
        """End a command: wait for it, stop it, kill it, or let it sleep for a moment."""
        child = self.busy[which % len(self.busy)]
        self._note("end", child.words[0], how)
        if how != "wait":
            time.sleep(after)
            if not self._signal(child, f"SIG{how}"):
                return
            if how == "STOP":
                time.sleep(after)
                self._signal(child, "SIGCONT")
                return
        self.busy.remove(child)
        self._ended(child)

    @rule(data=st.data(), what=st.sampled_from(sorted(STRANGERS)))
    def stranger(self, data: st.DataObject, what: str) -> None:
        """Do something with Optuna's own tools."""
        name = data.draw(st.sampled_from(sorted(self.names)))
        other = f"other-{self.n_names}"
        self.n_names += what in ("copy", "rename")
        if what == "rename":
            self.names[other] = self.names[name]
        self._note("stranger", what, name, other)
        code = STRANGERS[what].format(url=self.url, name=name, other=other)
        self.nursery.end(self.nursery.begin(self.folder, code=code))  # it may fail: no such study

    @precondition(lambda self: self.n_done >= 8)
    @rule()
    def settle(self) -> None:
        """Wait for all, and look at everything."""
        self.n_done = 0
        self.history.append("settle")
        while self.busy:
            self._ended(self.busy.pop())
        self._done("doctor", "--repair", "--storage", self.url)
        for words in (("doctor", "--repair"), ("doctor",)):
            told = self._done(*words, "--storage", self.url)
            assert "Everything is sound." in told.out.read_text(), self._story(told)
        for words in (("list",), ("status",)):
            self._done(*words, "--storage", self.url)
        for name in sorted(self.names):
            self._is_not_locked(name)

    # -- what must hold

    @invariant()
    def results_are_right_and_stay(self) -> None:
        """Every result is one of an undisturbed run; only `hpo delete` takes any away."""
        type(self).steps += 1
        found: dict[str, set[tuple[Any, ...]]] = {}
        with self.engine.connect() as connection:
            if not sa.inspect(connection).has_table("hpo_results"):
                return
            names = {u: n for u, n in connection.execute(sa.text(_STUDIES))}  # noqa: C416
            for study, *result in connection.execute(sa.text(_RESULTS)):
                found.setdefault(study, set()).add(tuple(result))
        for key, name in names.items():
            self.called.setdefault(key, set()).add(name)
        for key in found.keys() & names.keys():
            study = self.names.get(names[key]) or self._study_of(key)
            wrong = found[key] - self.reference.results(study)
            assert not wrong, f"{wrong} of {names[key]}: {self._story()}"
        for key, before in self.seen.items():
            gone = before - found.get(key, set())
            deleted = self.called.get(key, set()) & self.asked_to_delete
            assert not gone or deleted, f"{gone} of {self.called.get(key)}: {self._story()}"
        self.seen = {k: found[k] for k in found} | {
            k: v for k, v in self.seen.items() if k not in found and k in names
        }

    def teardown(self) -> None:
        try:
            self.settle()
            self.results_are_right_and_stay()
        finally:
            for child in self.busy:
                self._signal(child, "SIGKILL")
                self.nursery.end(child)
            self.engine.dispose()

    # -- the ways to it

    def _study_of(self, key: str) -> str:
        return next(self.names[n] for n in self.called[key] if n in self.names)

    def _is_not_locked(self, name: str) -> None:
        """A study of this name can be run to its end, or the name is a stranger's by now."""
        study = self.names[name]
        words = ("run", *self._study_and_name(name), "--workers", "1", "--storage", self.url)
        child = self.nursery.begin(self.folder, *words)
        status = self._ended(child)
        if status:
            told = child.err.read_text()
            assert "was not made by hpo" in told or "is a copy" in told, self._story(child)
            return
        exported = self._done("export", name, "--storage", self.url)
        trials = json.loads(exported.out.read_text())["trials"]
        assert trials in self.reference.exports[study], self._story(exported)

    def _done(self, *words: str) -> Child:
        child = self.nursery.begin(self.folder, *words)
        status = self._ended(child)
        assert status == 0, self._story(child)
        return child

    def _ended(self, child: Child) -> int:
        status = self.nursery.end(child)
        told = child.err.read_text()
        assert "Traceback" not in told, self._story(child)
        assert status in (0, 1, 130, 143, -2, -9, -15), self._story(child)
        return status

    @staticmethod
    def _signal(child: Child, name: str) -> bool:
        if child.status is not None:
            return False
        try:
            os.kill(child.pid, getattr(signal, name))
        except ProcessLookupError:
            return False
        return True

    def _study_and_name(self, name: str) -> list[str]:
        study = self.names[name]
        return [f"{study}.py", "--data", "digits", "--name", name]

    def _begin(self, *words: str) -> None:
        self._note(*words)
        self.busy.append(self.nursery.begin(self.folder, *words, "--storage", self.url))

    def _note(self, *words: str) -> None:
        self.n_done += 1
        self.history.append(" ".join(words))

    def _story(self, child: Child | None = None) -> str:
        """Everything that was done, for whoever has to find out."""
        told = "\n".join(self.history)
        if child is not None:
            said = child.out.read_text() + child.err.read_text()
            told += f"\n{' '.join(child.words)}: status {child.status}\n{said}"
        return told


FIRST_SEED = int(os.environ.get("HPO_TOGETHER_SEED", "0"))
_STUDIES = "select uuid, name from hpo_studies"
_RESULTS = "select study, cell, replicate, outcome, value, cycles from hpo_results"


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Nursery]:
    made = Nursery(tmp_path)
    yield made
    made.close()


def interleave(
    nursery: Nursery,
    make_url: Callable[[], str],
    n_steps: int,
    studies: Sequence[str] = tuple(STUDIES),
    at_a_time: int = 25,
) -> int:
    """Let the machine do so many steps, in a new database every now and then; return how many.

    Each database has a run of hypothesis of its own: what processes leave is never twice the same,
    which it would not bear within one run.
    """

    class Machine(Together):
        pass

    Machine.nursery = nursery
    Machine.reference = Reference.of(nursery, nursery.folder / "reference", studies)
    Machine.make_url = staticmethod(make_url)  # type: ignore[method-assign]
    for number in itertools.count(FIRST_SEED):
        run_state_machine_as_test(
            seed(number)(Machine),
            settings=settings(
                max_examples=1,
                stateful_step_count=min(at_a_time, n_steps - Machine.steps),
                phases=[Phase.generate],  # there is nothing to shrink either
                suppress_health_check=list(HealthCheck),
                derandomize=False,
                deadline=None,
                database=None,
                print_blob=False,
            ),
        )
        if Machine.steps >= n_steps:
            return Machine.steps
    raise AssertionError


def test_commands_kills_and_strangers_on_one_database(nursery: Nursery) -> None:
    interleave(nursery, lambda: "", 4, ["cut"])


@pytest.mark.long
@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_many_steps_of_commands_kills_and_strangers(
    nursery: Nursery, kind: str, request: pytest.FixtureRequest
) -> None:
    """`HPO_TOGETHER_STEPS` of them: 60 unless it says otherwise."""
    n_steps = int(os.environ.get("HPO_TOGETHER_STEPS", "60"))
    make_url: Callable[[], str] = lambda: ""  # noqa: E731
    if kind == "postgresql":
        make_url = request.getfixturevalue("postgresql_urls")
    n = interleave(nursery, make_url, n_steps)
    print(f"{n} steps on {kind}")
