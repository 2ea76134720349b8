"""Deleting a study: whole or not at all, beside those who train it, whatever Optuna has of it."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa

from hpo.commands import running
from hpo.commands.doctor import examine
from hpo.commands.request import Order
from hpo.database import leases, optuna_tables, tables
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.definition.study import StudyDefinition
from hpo.errors import ForeignStudy, StudyDeleted, StudyNotFound
from hpo.mirror import deleting
from hpo.mirror import study as studies
from hpo.mirror.study import OpenStudy
from hpo.testing import Recorder
from hpo.views.story import Story
from model.data import digits
from tests.hpo import stores
from tests.hpo.reading import exported

FOUR = StudyDefinition(
    name="four", grid=Values((1e-4, 1e-3, 1e-2, 1e-1)), n_s=5, n_cycles=6, batch_size=100
)
Command = Callable[..., Any]


storage = stores.of_each_kind


def run(storage: Storage, watcher: Story | None = None, **options: Any) -> OpenStudy:
    return running.run(
        Order(FOUR, digits(), **options), storage, watcher or Recorder(), lambda: False
    ).study


def nameless(storage: Storage, study: OpenStudy) -> str:
    return exported(storage, study).replace(study.stored.name, "NAME")


def content(storage: Storage) -> dict[str, int]:
    """Return how many rows every table of studies has, ours and Optuna's."""
    every = [*tables.metadata.sorted_tables, *optuna_tables.metadata.sorted_tables]
    kept = ("hpo_meta", "hpo_workers", "hpo_leases", "version_info")

    def count(connection: sa.Connection) -> dict[str, int]:
        return {
            table.name: connection.execute(
                sa.select(sa.func.count()).select_from(table)
            ).scalar_one()
            for table in every
            if table.name not in kept
        }

    return storage.write(count)


def test_no_row_of_a_deleted_study_is_left_in_any_table(storage: Storage) -> None:
    keeper = run(storage, name="keeper")
    before, kept = content(storage), nameless(storage, keeper)
    run(storage)

    deleting.delete(storage, "four-digits")

    assert content(storage) == before
    assert nameless(storage, keeper) == kept
    with pytest.raises(StudyNotFound, match="it holds: keeper"):
        deleting.delete(storage, "four-digits")


def test_a_deleter_that_dies_at_any_statement_has_deleted_nothing(tmp_path: Path) -> None:
    with Storage(f"sqlite:///{tmp_path / 'hpo.db'}") as storage:
        run(storage)
        before, n = content(storage), 0
        while True:
            n += 1
            seen: list[str] = []

            def die(*arguments: Any, seen: list[str] = seen, n: int = n) -> None:
                seen.append(arguments[2])
                if len(seen) == n:
                    raise ZeroDivisionError

            sa.event.listen(storage.engine, "before_cursor_execute", die)
            try:
                storage.write(
                    lambda c: deleting._delete(c, deleting.named(c, "four-digits").uuid, True)
                )
                break
            except ZeroDivisionError:
                pass
            finally:
                sa.event.remove(storage.engine, "before_cursor_execute", die)
            assert content(storage) == before
        assert n > len(tables.OF_STUDY) + len(optuna_tables.OF_TRIAL)
        assert set(content(storage).values()) == {0}


@pytest.mark.parametrize(
    ("kind", "at"),
    [
        pytest.param(kind, at, marks=() if (kind, at) == ("sqlite", 30) else pytest.mark.long)
        for kind in ("sqlite", "postgresql")
        for at in (1, 30, 100, 200)
    ],
)
def test_deleting_beside_a_run_ends_the_run_and_frees_the_name(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, at: int
) -> None:
    url = f"sqlite:///{tmp_path / 'hpo.db'}"
    if kind == "postgresql":
        url = request.getfixturevalue("postgresql_url")
    reached, gone, ended = threading.Event(), threading.Event(), []

    def pause() -> None:  # in the middle of a stack, so that the run is not over first
        reached.set()
        gone.wait(60)

    watcher = Recorder(at=at, act=pause)

    def train() -> None:
        with Storage(url) as mine:
            try:
                ended.append(run(mine, watcher))
            except StudyDeleted as error:
                ended.append(error)

    with Storage(url) as storage:
        undisturbed = run(storage, name="undisturbed")
        trainer = threading.Thread(target=train)
        trainer.start()
        assert reached.wait(60)
        deleting.delete(storage, "four-digits")
        gone.set()
        trainer.join(60)

        (end,) = ended
        assert isinstance(end, StudyDeleted)
        assert str(end) == "The study 'four-digits' was deleted while it was being worked on."
        assert watcher.warnings == []
        assert studies.names(storage) == ["undisturbed"]
        assert optuna.get_all_study_names(storage.optuna) == ["undisturbed"]
        assert not any(finding.is_open for finding in examine(url))
        assert nameless(storage, run(storage)) == nameless(storage, undisturbed)


def test_deleting_waits_for_who_plans_the_study(storage: Storage, url: str) -> None:
    study = run(storage)
    deleted = threading.Event()

    def delete() -> None:
        with Storage(url) as other:
            deleting.delete(other, "four-digits")
        deleted.set()

    with leases.held(storage, f"plan {study.uuid}"):
        deleter = threading.Thread(target=delete)
        deleter.start()
        assert not deleted.wait(0.3)
        assert studies.names(storage) == ["four-digits"]
    assert deleted.wait(60)
    deleter.join()
    assert studies.names(storage) == []


def test_the_command_deletes_what_optuna_has_lost_and_asks_first(
    command: Command, write_study: Command
) -> None:
    command("run", write_study(), "--data", "digits")
    with Storage("sqlite:///hpo.db") as storage:
        optuna.delete_study(study_name="tiny-digits", storage=storage.optuna)

    assert "tiny-digits" in command("list").out
    assert "Aborted" in command("delete", "tiny-digits", answer="n\n").sentence
    assert "tiny-digits" in command("list").out
    assert command("delete", "tiny-digits", answer="y\n").status == 0
    assert command("list").out.startswith("No studies yet")
    assert command("run", "tiny.py", "--data", "digits").status == 0


def test_a_foreign_study_is_not_deleted(storage: Storage) -> None:
    optuna.create_study(study_name="theirs", storage=storage.optuna)
    with pytest.raises(ForeignStudy):
        deleting.delete(storage, "theirs")
    assert optuna.get_all_study_names(storage.optuna) == ["theirs"]
