"""A damaged checkpoint is noticed and survived, and who goes on from one ends with the same bits."""

import dataclasses
import hashlib
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from hpo.commands import running
from hpo.commands.request import Order
from hpo.database import checkpoints, outcomes, rows, tables
from hpo.database.checkpoints import Damaged, pack, unpack
from hpo.database.storage import Storage
from hpo.definition.grids import Logarithmic, Values
from hpo.definition.study import StudyDefinition
from hpo.experiment.records import Slot
from hpo.experiment.resolution import resolve
from hpo.held_out import looking
from hpo.mirror.study import OpenStudy
from hpo.testing import Recorder
from hpo.training.phases import Phases
from hpo.training.trainer import Trainer, facts
from hpo.workers import worker
from hpo.workers.claims import claim, give_back, resume
from hpo.workers.membership import Membership
from model.data import digits
from model.network import Network
from tests.hpo import stores
from tests.hpo.reading import exported

pytestmark = pytest.mark.sqlite_first

LAMBDAS = (1e-4, 1e-3, 1e-2, 1e-1)
FOUR = StudyDefinition(
    name="four", grid=Values(LAMBDAS[:3]), n_s=10, n_cycles=4, batch_size=100, hidden=8
)
CYCLE = 20
SLOT = Slot(0, 0)


class Watcher(Recorder):
    """Knows from where each slot was trained; wishes to stop once any has so many updates."""

    def __init__(self, stop_at: float = math.inf) -> None:
        super().__init__()
        self.stop_at = stop_at
        self.starts: dict[Slot, list[int]] = {}
        self.stopped = False

    def stop(self) -> bool:
        return self.stopped

    def claimed(self, slots: Sequence[Slot], n_updates: int) -> None:
        for slot in slots:
            self.starts.setdefault(slot, []).append(n_updates)

    def advanced(self, slot: Slot, n_updates: int, accuracy: float) -> None:
        self.stopped = self.stopped or n_updates >= self.stop_at


def run(storage: Storage, watcher: Watcher, definition: StudyDefinition = FOUR) -> OpenStudy:
    return running.run(Order(definition, digits()), storage, watcher, watcher.stop).study


def present(storage: Storage, slot: Slot = SLOT) -> list[int]:
    """Return the updates of the checkpoints of a slot."""
    table = tables.checkpoints
    query = sa.select(table.c.n_updates).where(
        table.c.cell == slot.cell, table.c.replicate == slot.replicate
    )
    return sorted(storage.write(lambda connection: connection.execute(query).scalars().all()))


def damage(storage: Storage, n_updates: int, place: int, bit: int = 0, slot: Slot = SLOT) -> None:
    """Flip one bit of a stored checkpoint."""
    table = tables.checkpoints
    this = sa.and_(table.c.cell == slot.cell, table.c.n_updates == n_updates)

    def flip(connection: sa.Connection) -> None:
        content = bytearray(connection.execute(sa.select(table.c.content).where(this)).scalar_one())
        content[place % len(content)] ^= 1 << bit
        connection.execute(table.update().where(this).values(content=bytes(content)))

    storage.write(flip)


storage = stores.of_each_kind


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The export of an undisturbed run."""
    opened = Storage(f"sqlite:///{tmp_path_factory.mktemp('whole') / 'hpo.db'}")
    text = exported(opened, run(opened, Watcher()))
    opened.close()
    return text


# --- the bytes


def network(seed: int = 0) -> Network:
    rng = np.random.default_rng(seed)
    return Network(
        w1=rng.normal(size=(6, 5)).astype(np.float32),
        b1=rng.normal(size=5).astype(np.float32),
        w2=rng.normal(size=(5, 3)).astype(np.float32),
        b2=rng.normal(size=3).astype(np.float32),
    )


PACKED = pack(network(), {"study": "a uuid", "cell": 0})


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_what_is_packed_comes_back_bit_for_bit() -> None:
    found = unpack(PACKED, digest(PACKED), {"study": "a uuid", "cell": 0})
    for field in dataclasses.fields(Network):
        there, here = getattr(found, field.name), getattr(network(), field.name)
        assert there.dtype == here.dtype
        assert there.tobytes() == here.tobytes()


@given(place=st.integers(0, len(PACKED) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_is_noticed_wherever_it_is(place: int, bit: int) -> None:
    content = bytearray(PACKED)
    content[place] ^= 1 << bit

    with pytest.raises(Damaged, match="their SHA-256 is not the recorded one"):
        unpack(bytes(content), digest(PACKED))


@given(length=st.integers(0, len(PACKED) - 1))
def test_bytes_that_end_early_are_damaged_also_with_a_hash_of_their_own(length: int) -> None:
    torn = PACKED[:length]
    with pytest.raises(Damaged):
        unpack(torn, digest(PACKED))
    with pytest.raises(Damaged):
        unpack(torn, digest(torn))


def test_a_checkpoint_of_another_slot_is_not_taken() -> None:
    with pytest.raises(Damaged, match="belong elsewhere"):
        unpack(PACKED, digest(PACKED), {"study": "a uuid", "cell": 1})


def test_the_hash_of_an_experiment_ignores_replicates_and_nothing_else() -> None:
    def hashed(definition: StudyDefinition) -> str:
        return checkpoints.experiment_hash(resolve(definition, facts(digits(), definition)))

    assert hashed(dataclasses.replace(FOUR, replicates=3)) == hashed(FOUR)
    assert hashed(dataclasses.replace(FOUR, seed=1)) != hashed(FOUR)
    assert hashed(dataclasses.replace(FOUR, n_cycles=5)) != hashed(FOUR)


# --- kept and damaged ones


def test_the_last_two_are_kept_and_of_a_finished_slot_the_final_weights(storage: Storage) -> None:
    run(storage, Watcher(stop_at=3 * CYCLE))
    assert present(storage) == [2 * CYCLE, 3 * CYCLE]

    run(storage, Watcher())
    assert present(storage) == [4 * CYCLE]


@pytest.mark.parametrize("place", [0, 40, 1000, -1])
def test_of_a_damaged_checkpoint_the_one_before_is_used_with_a_warning(
    storage: Storage, whole: str, place: int
) -> None:
    run(storage, Watcher(stop_at=3 * CYCLE))
    damage(storage, 3 * CYCLE, place)
    watcher = Watcher()

    study = run(storage, watcher)

    (warning,) = watcher.warnings
    assert warning.startswith("Cell 0 goes back to an earlier checkpoint. Stored weights are")
    assert watcher.starts[SLOT] == [2 * CYCLE]
    assert watcher.starts[Slot(1, 0)] == [3 * CYCLE]
    assert exported(storage, study) == whole


def test_with_both_damaged_a_slot_begins_anew(storage: Storage, whole: str) -> None:
    run(storage, Watcher(stop_at=3 * CYCLE))
    damage(storage, 2 * CYCLE, 77, bit=3)
    damage(storage, 3 * CYCLE, 500, bit=7)
    watcher = Watcher()

    study = run(storage, watcher)

    assert len(watcher.warnings) == 2
    assert watcher.starts[SLOT] == [0]
    assert exported(storage, study) == whole


def test_a_slot_that_goes_back_is_not_lost_when_the_database_is_busy_for_long(
    storage: Storage, whole: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(storage, Watcher(stop_at=3 * CYCLE))
    damage(storage, 3 * CYCLE, 40)
    # What is only tried for a second never gets through.
    monkeypatch.setattr(Storage, "finish", lambda *_, **__: False)
    deadline = time.monotonic() + 30

    class Impatient(Watcher):
        def stop(self) -> bool:
            return time.monotonic() > deadline

    assert exported(storage, run(storage, Impatient())) == whole


def test_every_checkpoint_may_be_damaged_at_once(storage: Storage, whole: str) -> None:
    run(storage, Watcher(stop_at=3 * CYCLE))
    for cell in range(3):
        for cycle in (2, 3):
            damage(storage, cycle * CYCLE, 300 + cell, slot=Slot(cell, 0))
    watcher = Watcher()

    study = run(storage, watcher)

    assert len(watcher.warnings) == 6
    assert exported(storage, study) == whole


def test_a_checkpoint_under_a_wrong_key_is_not_gone_on_from(storage: Storage, whole: str) -> None:
    run(storage, Watcher(stop_at=3 * CYCLE))
    table = tables.checkpoints

    def swap(connection: sa.Connection) -> None:  # cell 0 gets the bytes and hash of cell 1
        row = connection.execute(
            table.select().where(table.c.cell == 1, table.c.n_updates == 3 * CYCLE)
        ).one()
        this = sa.and_(table.c.cell == 0, table.c.n_updates == 3 * CYCLE)
        values = {"content": row.content, "sha256": row.sha256}
        connection.execute(table.update().where(this).values(**values))

    storage.write(swap)
    watcher = Watcher()
    study = run(storage, watcher)

    assert "belong elsewhere" in watcher.warnings[0]
    assert exported(storage, study) == whole


def test_a_checkpoint_of_another_environment_marks_the_result_as_mixed(storage: Storage) -> None:
    run(storage, Watcher(stop_at=2 * CYCLE))
    table = tables.checkpoints
    elsewhere = {"environment": json.dumps({"blas": "another"})}
    storage.write(lambda c: c.execute(table.update().where(table.c.cell == 1).values(elsewhere)))

    study = run(storage, Watcher())

    found = storage.write(
        lambda c: c.execute(sa.select(tables.results.c.cell, tables.results.c.environment)).all()
    )
    assert {row.cell: "mixed" in json.loads(row.environment) for row in found} == {
        0: False,
        1: True,
        2: False,
    }
    assert study.uuid


# --- the same bits, whoever goes on


def go_on(url: str, recipe: str, stop_at: float, width: int) -> None:
    """Train every cell in this process up to ``stop_at``, in stacks of ``width``."""
    storage = Storage(url)
    study, _ = running.submit(Order(RECIPES[recipe], digits()), storage)
    trainer = Trainer(study.experiment, digits())
    width = min(width, trainer.width)
    with Membership(storage) as member:
        stacks = list(iter(lambda: claim(study, width, member.identity), None))
        for held in stacks:
            watcher = Watcher(stop_at)
            resume(study, held, watcher)
            worker._train(study, trainer, held, watcher, watcher.stop, member, Phases(0.0))
            assert watcher.warnings == []
        for held in stacks:
            give_back(study, held)
    storage.close()


def go_on_elsewhere(url: str, recipe: str, stop_at: float, width: int) -> None:
    """Do the same in a process of its own."""
    arguments = [url, recipe, str(stop_at), str(width)]
    root = str(Path(__file__).parents[3])  # where this file's neighbours are found
    done = subprocess.run(
        [sys.executable, __file__, *arguments],
        env=os.environ | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def _final_weights(storage: Storage, study: OpenStudy) -> dict[Slot, list[bytes]]:
    results = storage.write(lambda c: outcomes.results_of(c, study.uuid))

    def weights(slot: Slot) -> list[bytes]:
        found = storage.write(lambda c: looking.final_network(c, study.stored, slot))
        return [getattr(found, field.name).tobytes() for field in dataclasses.fields(Network)]

    return {result.slot: weights(result.slot) for result in results}


STANDARD = dataclasses.replace(FOUR, hidden=50, n_cycles=3)
RECIPES = {
    "standard": STANDARD,
    "flips and feature normalisation": dataclasses.replace(
        STANDARD, flip_probability=0.5, normalisation="feature", train_metrics="full", batch_size=20
    ),
    "notebook": dataclasses.replace(STANDARD, batch_size=50).in_protocol("notebook"),
}


@pytest.mark.long
@pytest.mark.parametrize("recipe", RECIPES)
def test_interrupted_at_every_cycle_and_taken_over_each_time_the_bits_are_the_same(
    tmp_path: Path, recipe: str
) -> None:
    definition = RECIPES[recipe]
    storage = Storage(f"sqlite:///{tmp_path / 'whole.db'}")
    study = run(storage, Watcher(), definition)
    weights, whole = _final_weights(storage, study), exported(storage, study)
    storage.close()
    assert len(weights) == 3

    url = f"sqlite:///{tmp_path / 'parts.db'}"
    for cycle, width in ((1, 3), (2, 1)):
        go_on_elsewhere(url, recipe, cycle * CYCLE, width)
        storage = Storage(url)
        assert {present(storage, Slot(cell, 0))[-1] for cell in range(3)} == {cycle * CYCLE}
        storage.close()
    go_on_elsewhere(url, recipe, math.inf, 2)
    storage = Storage(url)
    study = run(storage, Watcher(), definition)

    assert _final_weights(storage, study) == weights
    assert exported(storage, study) == whole
    attempts = storage.write(lambda c: rows.attempts_of(c, study.uuid))
    assert {attempt.number for attempt in attempts} == {0}
    storage.close()


if __name__ == "__main__":
    address, which, until, n_together = sys.argv[1:]
    go_on(address, which, float(until), int(n_together))


def test_what_decides_a_result_is_hashed_once_for_all_cells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    definition = StudyDefinition(name="many", grid=Logarithmic(-5, -1, 50), n_s=10, n_cycles=1)
    experiment = resolve(definition, facts(digits(), definition))
    calls: list[int] = []
    whole = checkpoints._hash_of
    monkeypatch.setattr(checkpoints, "_hash_of", lambda e: calls.append(1) or whole(e))  # type: ignore[func-returns-value]

    labels = [checkpoints.label("uuid", experiment, Slot(cell, 0), 20) for cell in range(50)]

    assert len({label["experiment"] for label in labels}) == 1
    assert len(calls) == 1
    other = dataclasses.replace(experiment, n_updates=30)
    assert checkpoints.experiment_hash(other) != labels[0]["experiment"]
