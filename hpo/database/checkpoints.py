"""Checkpoints: all that a network needs to go on from the end of a cycle with the same bits.

The bytes are an ``.npz`` without pickle, guarded by a SHA-256, and say which study, slot and
update they belong to. The order of the images and the learning rate follow from the update, and
at a cycle's end the running means are empty and the scale is folded, so the parameters and the
update are everything.
"""

import hashlib
import io
import json
import math
import zipfile
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import sqlalchemy as sa
from sqlalchemy import Connection

from hpo.database import batches, outcomes
from hpo.database.rows import at
from hpo.database.tables import checkpoints, results
from hpo.errors import NoResult
from hpo.experiment import budgets
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Slot
from model.network import Network

KEPT = 2  #: checkpoints of a slot that is being trained
KEPT_WEIGHTS = 3  #: best cells whose final weights are kept, in every replicate
HASH = "_hash"  #: where an experiment keeps its own


@dataclass(frozen=True)
class Checkpoint:
    """A network after so many updates."""

    n_updates: int
    network: Network
    environment: str  #: JSON


class Damaged(NoResult):
    """The bytes of a checkpoint are not those that were written."""


def experiment_hash(experiment: Experiment) -> str:
    """Return a digest of everything that decides a result: what may grow, as replicates, does not.

    It is made once for each object, which takes 10 ms where there are 10,000 cells.
    """
    known: str | None = vars(experiment).get(HASH)
    if known is None:
        known = vars(experiment)[HASH] = _hash_of(experiment)  # no field: a copy has its own
    return known


def _hash_of(experiment: Experiment) -> str:
    experiment = budgets.first(experiment)
    once = replace(experiment.definition, replicates=1)
    same = replace(experiment, definition=once, began_with=None, ties_go_on=False).to_json()
    # Neither does a pruner, which only says when to stop; older definitions have none.
    del same["definition"]["pruner"]
    if experiment.search is not None:  # grows; the number of a cell says which one it is
        del same["search"], same["cells"]
    return hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()


def pack(network: Network, label: Mapping[str, str | int]) -> bytes:
    """Return a network as bytes, with a label that says whose it is."""
    memory = io.BytesIO()
    arrays = {f.name: getattr(network, f.name) for f in fields(Network)}
    np.savez(memory, label=np.array(json.dumps(dict(label), sort_keys=True)), **arrays)
    return memory.getvalue()


def unpack(content: object, sha256: str, label: Mapping[str, str | int] | None = None) -> Network:
    """Return the network in ``content``: bytes, but in a damaged row text, a number or nothing.

    Raises:
        Damaged: The digest or the label is not the expected one.
    """
    if not isinstance(content, bytes) or hashlib.sha256(content).hexdigest() != sha256:
        raise Damaged("Stored weights are damaged: their SHA-256 is not the recorded one.")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            if label is not None and "label" in stored:  # schema 1 had none
                found = json.loads(str(stored["label"]))
                if found != dict(label):
                    raise Damaged(f"Stored weights belong elsewhere: {found}.")
            return Network(**{f.name: stored[f.name] for f in fields(Network)})
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise Damaged(f"Stored weights cannot be read: {error}.") from error


def label(study: str, experiment: Experiment, slot: Slot, n_updates: int) -> dict[str, str | int]:
    """Return what a checkpoint says about itself."""
    return {
        "study": study,
        "experiment": experiment_hash(experiment),
        "cell": slot.cell,
        "replicate": slot.replicate,
        "n_updates": n_updates,
    }


@dataclass(frozen=True)
class Made:
    """A checkpoint that is to be stored."""

    slot: Slot
    content: bytes
    environment: str  #: JSON


def save(
    connection: Connection, study: str, n_updates: int, made: Sequence[Made], *, keep: int
) -> None:
    """Store checkpoints after so many updates.

    Args:
        keep: Of each slot, how many stay with the new one: this one alone, or the one before it.
    """
    if not made:
        return
    table = checkpoints
    gone = batches.at(table, study, [one.slot for one in made])
    if keep > 1:
        gone = sa.and_(
            gone, sa.or_(table.c.n_updates >= n_updates, table.c.n_updates < _before(n_updates))
        )
    connection.execute(table.delete().where(gone))
    rows = [
        {
            "study": study,
            "cell": one.slot.cell,
            "replicate": one.slot.replicate,
            "n_updates": n_updates,
            "sha256": hashlib.sha256(one.content).hexdigest(),
            "content": one.content,
            "environment": one.environment,
        }
        for one in made
    ]
    batches.insert(connection, table, rows)


def _before(n_updates: int | None = None) -> sa.ScalarSelect[int]:
    """Return the update of the last checkpoint at the slot of a row, or of the last before an update."""
    others = checkpoints.alias("others")
    here = (others.c[name] == checkpoints.c[name] for name in ("study", "cell", "replicate"))
    query = sa.select(sa.func.max(others.c.n_updates)).where(*here)
    if n_updates is not None:
        query = query.where(others.c.n_updates < n_updates)
    return query.scalar_subquery().correlate(checkpoints)


def load(
    connection: Connection, study: str, experiment: Experiment, slots: Collection[Slot]
) -> "dict[Slot, Checkpoint | Damaged]":
    """Return the last checkpoints of those slots that have any.

    One is `Damaged` where it is not what was written; `drop_last` leaves the one before it.
    """
    if not slots:
        return {}
    here = batches.at(checkpoints, study, slots)
    query = checkpoints.select().where(here, checkpoints.c.n_updates == _before())
    found: dict[Slot, Checkpoint | Damaged] = {}
    for row in connection.execute(query):
        slot = Slot(row.cell, row.replicate)
        expected = label(study, experiment, slot, row.n_updates)
        try:
            network = unpack(row.content, row.sha256, expected)
        except Damaged as error:
            found[slot] = error
        else:
            found[slot] = Checkpoint(row.n_updates, network, row.environment or "")
    return found


def drop_last(connection: Connection, study: str, slot: Slot) -> None:
    """Delete the last checkpoint of a slot, and the part of its curve that rests on it."""
    mine = at(checkpoints, study, slot)
    query = sa.select(checkpoints.c.n_updates).where(mine)
    present = sorted(connection.execute(query).scalars())
    if present:
        connection.execute(checkpoints.delete().where(mine, checkpoints.c.n_updates == present[-1]))
    before = present[-2] if len(present) > 1 else 0
    outcomes.forget_curves(connection, study, [slot], after=before)


def forget(connection: Connection, study: str, slots: Sequence[Slot]) -> None:
    """Delete every checkpoint of some slots."""
    for batch in batches.split(slots):
        connection.execute(checkpoints.delete().where(batches.at(checkpoints, study, batch)))


def keep_best(
    connection: Connection, study: str, new: Mapping[Slot, float] | None = None
) -> set[Slot]:
    """Delete final weights of cells that are not among the best of their replicate any more.

    The order of results has no say.

    Args:
        new: Values of networks that end now, and have no final weights yet.

    Returns:
        Which of these are among the best.
    """
    # From the few checkpoints to their results, never through the results of the whole study.
    new = new or {}
    table, theirs = checkpoints.c, results.c
    query = (
        sa.select(theirs.cell, theirs.replicate, theirs.value)
        .distinct()
        .join(
            checkpoints,
            sa.and_(
                table.study == theirs.study,
                table.cell == theirs.cell,
                table.replicate == theirs.replicate,
            ),
        )
        .where(table.study == study)
    )
    kept = {Slot(row.cell, row.replicate): row.value for row in connection.execute(query)}
    ranked = sorted(
        ((slot, value) for slot, value in {**kept, **new}.items()),
        key=lambda one: (one[0].replicate, math.inf if one[1] is None else -one[1], one[0].cell),
    )
    seen: Counter[int] = Counter()
    best = set()
    for slot, _ in ranked:
        seen[slot.replicate] += 1
        if seen[slot.replicate] <= KEPT_WEIGHTS:
            best.add(slot)
    forget(connection, study, [slot for slot in kept if slot not in best])
    return best & new.keys()


def environments_at(
    connection: Connection, study: str, reached: Mapping[Slot, int]
) -> dict[Slot, str]:
    """Return, as JSON, in what the checkpoints of slots were made, each at one update."""
    table = checkpoints
    columns = (table.c.cell, table.c.replicate, table.c.n_updates, table.c.environment)
    found = {}
    for batch in batches.split(list(reached)):
        query = sa.select(*columns).where(batches.at(table, study, batch))
        for row in connection.execute(query):
            slot = Slot(row.cell, row.replicate)
            if row.n_updates == reached[slot]:
                found[slot] = row.environment or "{}"
    return found
