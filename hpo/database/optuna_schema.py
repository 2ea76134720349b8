"""Optuna's tables, made and checked on one connection, in one transaction.

Optuna makes them in dozens of transactions, and looks at their revision through a second connection
while it holds the first: behind a pooler, as many processes as it has connections wait for each
other for ever. Whoever finds them there does without importing Optuna.
"""

import re
from collections.abc import Collection, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection

from hpo.database import optuna_tables, tables
from hpo.errors import StorageError


def are_made(connection: Connection, where: str) -> bool:
    """Tell whether they are all there; the row of their revision comes last.

    Raises:
        StorageError: They are of another revision than the installed Optuna's.
    """
    there = sa.inspect(connection)
    if not there.has_table(optuna_tables.revision.name):
        return False
    found = connection.execute(sa.select(optuna_tables.revision.c.version_num)).scalars().first()
    known = revisions()
    if found is None or found == known[-1]:
        return found is not None
    if not there.has_table(optuna_tables.studies.name):  # others keep their revision there, too
        raise _of_others(where, there.get_table_names())
    advice = (
        f"Bring them up to date with `optuna storage upgrade --storage {where}`, after a backup"
        if found in known
        else "Upgrade optuna"
    )
    raise StorageError(
        f"{where} has Optuna's tables in revision {str(found)[:40]!r}, and the optuna that is installed "
        f"needs {known[-1]!r}. {advice}, or use another --storage."
    )


def refuse_foreign(there: Mapping[str, Collection[str]], where: str) -> None:
    """Refuse a file that another program keeps its tables in, before there are ours between them.

    Args:
        there: The columns of all tables and views there.

    Raises:
        StorageError: It is one.
    """
    ours = {*optuna_tables.metadata.tables, *tables.metadata.tables}
    if there and (ours.isdisjoint(there) or _unlike_optunas(there)):
        raise _of_others(where, there)


def _unlike_optunas(there: Mapping[str, Collection[str]]) -> list[str]:
    """Return the tables that have the name of one of Optuna's, and not its columns.

    Where Optuna has left its version, its tables may be older; their revision is looked at.
    """
    about = optuna_tables.version_info
    if about.c.version_info_id.name in there.get(about.name, ()):
        return []
    declared = optuna_tables.metadata.tables
    return [
        name
        for name, columns in there.items()
        if name in declared and not set(declared[name].columns.keys()) <= set(columns)
    ]


def _of_others(where: str, names: Collection[str]) -> StorageError:
    told = ", ".join(sorted(names)[:3]) + (", ..." if len(names) > 3 else "")
    return StorageError(
        f"{where} is a database of another program (it holds {told[:200]}). Name another one with "
        "--storage; a file that is not there is made."
    )


def make(connection: Connection, where: str) -> None:
    """Make those that are missing, and mark their revision as Optuna does.

    Raises:
        StorageError: There is one of another program that has the name of one of them.
    """
    newest, schema = revisions()[-1], optuna_tables.SCHEMA_VERSION
    metadata = optuna_tables.metadata
    _refuse_unlike(connection, where)
    if newest != optuna_tables.REVISION:  # Optuna has other tables than we have declared
        from optuna.storages._rdb import models

        metadata, schema = models.BaseModel.metadata, models.SCHEMA_VERSION
    metadata.create_all(connection)
    about = optuna_tables.version_info
    if connection.execute(sa.select(about.c.version_info_id)).first() is None:
        told = {"schema_version": schema, "library_version": version("optuna")}
        connection.execute(about.insert().values(version_info_id=1, **told))
    mark = optuna_tables.revision
    mark.create(connection, checkfirst=True)
    connection.execute(mark.insert().values(version_num=newest))


def _refuse_unlike(connection: Connection, where: str) -> None:
    look = sa.inspect(connection)
    named_alike = set(optuna_tables.metadata.tables).intersection(look.get_table_names())
    unlike = _unlike_optunas(
        {name: [c["name"] for c in look.get_columns(name)] for name in named_alike}
    )
    if unlike:
        raise StorageError(
            f"{where} has a table with the name of one of hpo's that is not as hpo makes it "
            f"({', '.join(sorted(unlike))}). Use another --storage; if hpo made it, restore a copy."
        )


def revisions() -> list[str]:
    """Return the revisions that the installed Optuna knows, oldest first; it is not imported."""
    spec = find_spec("optuna")
    assert spec is not None  # we depend on it
    assert spec.origin is not None
    after: dict[str, str] = {}
    for file in (Path(spec.origin).parent / "storages/_rdb/alembic/versions").glob("*.py"):
        told = dict(re.findall(r'^(\w+) = "(.+)"$', file.read_text(), re.MULTILINE))
        after[told.get("down_revision", "")] = told["revision"]
    found = [after[""]]
    while found[-1] in after:
        found.append(after[found[-1]])
    return found
