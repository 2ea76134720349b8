"""Checkpoints: all that a network needs to go on from the end of a cycle with the same bits.

The bytes are an ``.npz`` without pickle, guarded by a SHA-256, and say which study, slot and
update they belong to. The order of the images and the learning rate follow from the update, and
at a cycle's end the running means are empty and the scale is folded, so the parameters and the
update are everything.
"""

import hashlib
import io
import json
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
import sqlalchemy as sa
from sqlalchemy import Connection

from hpo.database import outcomes
from hpo.database.rows import at
from hpo.database.tables import checkpoints, results
from hpo.errors import NoResult
from hpo.experiment import budgets
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Slot
from model.network import Network

KEPT = 2  #: checkpoints of a slot that is being trained
KEPT_WEIGHTS = 3  #: best cells whose final weights are kept, in every replicate


@dataclass(frozen=True)
class Checkpoint:
    """A network after so many updates."""

    n_updates: int
    network: Network
    environment: str  #: JSON


class Damaged(NoResult):
    """The bytes of a checkpoint are not those that were written."""


def experiment_hash(experiment: Experiment) -> str:
    """Return a digest of everything that decides a result: what may grow, as replicates, does not."""
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


def save(
    connection: Connection,
    study: str,
    slot: Slot,
    n_updates: int,
    content: bytes,
    made_in: str,
    keep: int,
) -> None:
    """Store a checkpoint; of the slot's earlier ones all but ``keep - 1`` are deleted."""
    table = checkpoints
    mine = at(table, study, slot)
    connection.execute(table.delete().where(mine, table.c.n_updates >= n_updates))
    connection.execute(
        table.insert().values(
            study=study,
            cell=slot.cell,
            replicate=slot.replicate,
            n_updates=n_updates,
            sha256=hashlib.sha256(content).hexdigest(),
            content=content,
            environment=made_in,
        )
    )
    query = sa.select(table.c.n_updates).where(mine).order_by(table.c.n_updates.desc())
    stale = connection.execute(query.offset(keep)).scalars().all()
    if stale:
        connection.execute(table.delete().where(mine, table.c.n_updates.in_(stale)))


def load(
    connection: Connection, study: str, experiment: Experiment, slot: Slot
) -> Checkpoint | None:
    """Return the last checkpoint of a slot, or None.

    Raises:
        Damaged: It is not what was written; `drop_last` leaves the one before it.
    """
    row = connection.execute(
        checkpoints.select()
        .where(at(checkpoints, study, slot))
        .order_by(checkpoints.c.n_updates.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    expected = label(study, experiment, slot, row.n_updates)
    network = unpack(row.content, row.sha256, expected)
    return Checkpoint(row.n_updates, network, row.environment or "")


def drop_last(connection: Connection, study: str, slot: Slot) -> None:
    """Delete the last checkpoint of a slot, and the part of its curve that rests on it."""
    mine = at(checkpoints, study, slot)
    query = sa.select(checkpoints.c.n_updates).where(mine)
    present = sorted(connection.execute(query).scalars())
    if present:
        connection.execute(checkpoints.delete().where(mine, checkpoints.c.n_updates == present[-1]))
    outcomes.forget_curve(connection, study, slot, after=present[-2] if len(present) > 1 else 0)


def forget(connection: Connection, study: str, slot: Slot) -> None:
    """Delete every checkpoint of a slot."""
    connection.execute(checkpoints.delete().where(at(checkpoints, study, slot)))


def keep_best(connection: Connection, study: str) -> None:
    """Keep the final weights of each replicate's best cells; the order of results has no say."""
    # From the few checkpoints to their results, never through the results of the whole study.
    table = checkpoints.c
    there = sa.select(table.cell, table.replicate).where(table.study == study).distinct()
    slots = [(row.cell, row.replicate) for row in connection.execute(there)]
    query = (
        sa.select(results.c.cell, results.c.replicate)
        .where(results.c.study == study, sa.tuple_(results.c.cell, results.c.replicate).in_(slots))
        .order_by(results.c.replicate, results.c.value.desc(), results.c.cell)
    )
    seen: Counter[int] = Counter()
    for row in connection.execute(query).all():
        seen[row.replicate] += 1
        if seen[row.replicate] > KEPT_WEIGHTS:
            forget(connection, study, Slot(row.cell, row.replicate))


def environment_at(connection: Connection, study: str, slot: Slot, n_updates: int) -> str | None:
    """Return, as JSON, in what the checkpoint of a slot was made; None where there is none."""
    kept = checkpoints
    query = sa.select(kept.c.environment).where(
        at(kept, study, slot), kept.c.n_updates == n_updates
    )
    found: str | None = connection.execute(query).scalar_one_or_none()
    return found
