"""Is a database sound? Its integrity, every checkpoint's hash, cells against trials, orphans.

Examining changes nothing; repairing does what a finding says.
"""

import platform
from dataclasses import dataclass, replace

import sqlalchemy as sa
from sqlalchemy import Connection

from hpo import checkpoints, fleet, leases, rows, tables
from hpo import study as studies
from hpo.environment import environment
from hpo.errors import HpoError
from hpo.locations import checked_url, shown, sqlite_path
from hpo.plan import plan
from hpo.reader import read_once
from hpo.storage import Storage
from hpo.tables import Slot, StoredStudy


@dataclass(frozen=True)
class Finding:
    """Something that was looked at."""

    text: str
    is_wrong: bool = False
    remedy: str = ""  #: what mends it
    is_mended: bool = False

    @property
    def is_open(self) -> bool:
        """Whether something is wrong and stays so."""
        return self.is_wrong and not self.is_mended


def examine(url: str, *, repair: bool = False) -> list[Finding]:
    """Examine the database at ``url`` and, if asked to, mend what can be mended.

    Raises:
        StorageError: It cannot be opened at all.
    """
    path = sqlite_path(checked_url(url))
    if repair and (path is None or path.is_file()):
        Storage(url).close()  # brings an older schema up to date
    findings = read_once(url, _look)
    if repair and any(finding.is_open for finding in findings):
        _mend(url)
        after = read_once(url, _look)
        still = {finding.text for finding in after if finding.is_wrong}
        mended = [
            replace(finding, is_mended=finding.text not in still)
            for finding in findings
            if finding.is_wrong
        ]
        findings = [f for f in after if not f.is_wrong] + mended
    return [*_versions(url), *findings]


def report(findings: list[Finding]) -> str:
    """Return a line for every finding, and a verdict."""
    lines = []
    for finding in findings:
        mark = "mended" if finding.is_mended else "WRONG" if finding.is_wrong else "ok"
        remedy = f" {finding.remedy}" if finding.is_open else ""
        lines.append(f"{mark:<7}{finding.text}{remedy}")
    n_open = sum(finding.is_open for finding in findings)
    lines.append("Everything is sound." if not n_open else f"{n_open} things are wrong.")
    return "\n".join(lines)


def _versions(url: str) -> list[Finding]:
    import optuna
    import sqlalchemy

    here = environment()
    blas = f"BLAS {here['blas']}, {_threads()} threads in this process, one in each worker"
    return [
        Finding(
            f"Python {platform.python_version()}, NumPy {here['numpy']}, SciPy {here['scipy']}, "
            f"Optuna {optuna.__version__}, SQLAlchemy {sqlalchemy.__version__}"
        ),
        Finding(blas),
        Finding(f"database {shown(url)}, our schema {tables.SCHEMA_VERSION}"),
    ]


def _threads() -> int:
    import threadpoolctl

    pools = [p for p in threadpoolctl.threadpool_info() if p.get("user_api") == "blas"]
    return max((int(pool["num_threads"]) for pool in pools), default=1)


def _look(connection: Connection) -> list[Finding]:
    findings = [_integrity(connection)]
    for study in rows.all_studies(connection):
        findings += _checkpoints(connection, study)
        findings.append(_slots(connection, study))
        findings += _record(connection, study)
    findings += [_orphans(connection), _dead_workers(connection)]
    return findings


def _integrity(connection: Connection) -> Finding:
    if connection.dialect.name != "sqlite":
        return Finding(str(connection.execute(sa.text("show server_version")).scalar_one()))
    answers = connection.execute(sa.text("PRAGMA integrity_check")).scalars().all()
    if list(answers) == ["ok"]:
        return Finding("SQLite finds its file sound")
    first = "; ".join(answers[:3])
    return Finding(f"SQLite finds its file damaged: {first}.", True, "Restore a copy.")


def _checkpoints(connection: Connection, study: StoredStudy) -> list[Finding]:
    table = tables.checkpoints
    query = table.select().where(table.c.study == study.uuid)
    damaged, n = [], 0
    for row in connection.execute(query):
        n += 1
        slot = Slot(row.cell, row.replicate)
        expected = checkpoints.label(study.uuid, study.experiment, slot, row.n_updates)
        try:
            checkpoints.unpack(row.content, row.sha256, expected)
        except checkpoints.Damaged as error:
            damaged.append(
                Finding(
                    f"{study.name}, cell {row.cell}, replicate {row.replicate}, update "
                    f"{row.n_updates}: {error}",
                    True,
                    "`hpo doctor --repair` deletes it.",
                )
            )
    return damaged or [Finding(f"{study.name}: {n} checkpoints have their recorded hash")]


def _slots(connection: Connection, study: StoredStudy) -> Finding:
    """Compare results and live attempts with the grid: one of either for every slot."""
    experiment = study.experiment
    n_slots = experiment.n_slots
    counted = {r.slot for r in rows.results_of(connection, study.uuid)}
    live = [a.slot for a in rows.attempts_of(connection, study.uuid, states=tables.LIVE)]
    twice = len(live) - len(set(live)) + len(counted & set(live))
    if twice:
        text = f"{study.name}: {twice} slots are counted or planned twice."
        return Finding(text, True, "`hpo doctor --repair` keeps the result, or the last plan.")
    left = n_slots - len(counted)
    return Finding(f"{study.name}: {len(counted)} of {n_slots} results, {left} to go")


def _record(connection: Connection, study: StoredStudy) -> list[Finding]:
    """Compare our attempts with Optuna's trials."""
    found = _optuna_id(connection, study)
    if found is None:
        text = f"{study.name}: Optuna has no study for our rows ({study.uuid})."
        return [Finding(text, True, "`hpo doctor --repair` deletes them.")]
    behind = rows.attempts_of(connection, study.uuid, in_optuna=False)
    if behind:
        return [
            Finding(
                f"{study.name}: Optuna does not show {len(behind)} trials as they are.",
                True,
                "`hpo run` or `hpo doctor --repair` brings it up to date.",
            )
        ]
    states = {
        row[0]: row[1]
        for row in connection.execute(
            sa.text("select trial_id, state from trials where study_id = :id"), {"id": found}
        )
    }
    expected = {
        "waiting": {"WAITING"},
        "paused": {"WAITING"},
        "running": {"RUNNING"},
        "ended": {"COMPLETE", "FAIL", "PRUNED"},
        "failed": {"FAIL"},
    }
    wrong = [
        attempt
        for attempt in rows.attempts_of(connection, study.uuid)
        if states.get(attempt.trial_id or -1) not in expected[attempt.state]
    ]
    if wrong:
        text = f"{study.name}: {len(wrong)} trials have another state in Optuna than in our rows."
        return [Finding(text, True, "`hpo doctor --repair` shows ours.")]
    return [Finding(f"{study.name}: Optuna's {len(states)} trials agree with our rows")]


def _optuna_id(connection: Connection, study: StoredStudy) -> int | None:
    """Return the id of Optuna's study that carries our uuid, whatever its name is by now."""
    query = sa.text(
        "select study_id from study_user_attributes where key = :key and value_json = :value"
    )
    values = {"key": studies.UUID_ATTRIBUTE, "value": f'"{study.uuid}"'}
    return connection.execute(query, values).scalars().first()


def _orphans(connection: Connection) -> Finding:
    known = sa.select(tables.studies.c.uuid)
    n = 0
    for table in tables.OF_SEARCH:
        query = sa.select(sa.func.count()).select_from(table).where(table.c.study.not_in(known))
        n += connection.execute(query).scalar_one()
    if n:
        return Finding(f"{n} rows belong to no study.", True, "`hpo doctor --repair` deletes them.")
    return Finding("every row belongs to a study")


def _dead_workers(connection: Connection) -> Finding:
    dead = [worker for worker in fleet.living(connection) if not worker.is_alive]
    if dead:
        return Finding(
            f"{len(dead)} workers died without leaving.",
            True,
            "`hpo run` or `hpo doctor --repair` frees what they held.",
        )
    return Finding("no worker died without leaving")


def _mend(url: str) -> None:
    storage = Storage(url)
    try:
        with leases.held(storage, "open studies"):  # one that is being created is not lost
            storage.write(_delete_lost)
        for action in (_delete_damaged, _delete_orphans, _fail_surplus, _show_again):
            storage.write(action)
        for name in studies.names(storage):
            try:
                study = studies.find(storage, name)
            except HpoError:
                continue  # a study that is not ours is not ours to mend
            if study is not None:
                plan(storage, study)
        storage.write(_close_dead)
    finally:
        storage.close()


def _delete_damaged(connection: Connection) -> None:
    table = tables.checkpoints
    for study in rows.all_studies(connection):
        for row in connection.execute(table.select().where(table.c.study == study.uuid)).all():
            slot = Slot(row.cell, row.replicate)
            expected = checkpoints.label(study.uuid, study.experiment, slot, row.n_updates)
            try:
                checkpoints.unpack(row.content, row.sha256, expected)
            except checkpoints.Damaged:
                this = sa.and_(rows.at(table, study.uuid, slot), table.c.n_updates == row.n_updates)
                connection.execute(table.delete().where(this))


def _delete_orphans(connection: Connection) -> None:
    known = sa.select(tables.studies.c.uuid)
    for table in tables.OF_SEARCH:
        connection.execute(table.delete().where(table.c.study.not_in(known)))


def _delete_lost(connection: Connection) -> None:
    """Delete our rows of the studies that Optuna does not have."""
    for study in rows.all_studies(connection):
        if _optuna_id(connection, study) is None:
            rows.delete_study(connection, study.uuid)


def _fail_surplus(connection: Connection) -> None:
    """Leave no live attempt where there is a result, and elsewhere only the last one."""
    for study in rows.all_studies(connection):
        taken = {result.slot for result in rows.results_of(connection, study.uuid)}
        live = rows.attempts_of(connection, study.uuid, states=tables.LIVE)
        for attempt in reversed(live):
            if attempt.slot in taken:
                rows.update_attempt(
                    connection,
                    study.uuid,
                    attempt,
                    state="failed",
                    reason="planned twice",
                    ended_at=rows.now(connection),
                    token=None,
                )
            taken.add(attempt.slot)


def _show_again(connection: Connection) -> None:
    connection.execute(tables.attempts.update().values(in_optuna=False))


def _close_dead(connection: Connection) -> None:
    table = tables.workers
    dead = [worker.id for worker in fleet.living(connection) if not worker.is_alive]
    if dead:
        closed = table.update().where(table.c.id.in_(dead))
        connection.execute(closed.values(ended_at=rows.now(connection)))
