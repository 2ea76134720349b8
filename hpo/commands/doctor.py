"""Is a database sound? Its integrity, every checkpoint's hash, cells against trials, orphans.

Examining changes nothing; repairing does what a finding says. What is looked at, and how each
thing is mended, stands in `hpo.health`.
"""

from collections.abc import Callable
from dataclasses import replace

from hpo.database import fleet, housekeeping
from hpo.database.connections import Connection
from hpo.database.locations import checked_url, sqlite_path
from hpo.database.reader import read_once
from hpo.database.storage import Storage
from hpo.errors import is_of_one_study
from hpo.health import attempts, cells, database, digests, studies, trials, workers
from hpo.health.finding import Finding
from hpo.machine.console import say
from hpo.machine.printable import printable
from hpo.mirror import shelf


def examine(
    url: str,
    *,
    repair: bool = False,
    stop: Callable[[], bool] = lambda: False,
    notify: Callable[[str], None] = say,
) -> list[Finding]:
    """Examine the database at ``url`` and, if asked to, mend what can be mended.

    Args:
        notify: Is told whom a long wait is for.

    Raises:
        StorageError: It cannot be opened at all.
    """
    path = sqlite_path(checked_url(url))
    if repair and (path is None or path.is_file()):
        Storage(url, stop, makes=False, notify=notify).close()  # brings an older schema up to date
    fleet.settle(lambda look: read_once(url, look, notify=notify), stop)
    if repair:
        with Storage(url, stop, makes=False, notify=notify) as storage:
            storage.write(housekeeping.sweep)
    findings = read_once(url, _look, stop, notify)
    if repair and any(finding.is_open or finding.remedy for finding in findings):
        _mend(url, stop, notify)
        after = read_once(url, _look, stop, notify)
        still = {finding.text for finding in after if finding.is_wrong}
        mended = [
            replace(finding, is_mended=finding.text not in still)
            for finding in findings
            if finding.is_wrong
        ]
        known = {finding.text for finding in mended}
        findings = [f for f in after if not f.is_wrong or f.text not in known] + mended
    return [*database.versions(url), *findings]


def report(findings: list[Finding], form: str = "text") -> str:
    """Return a line for every finding and a verdict, or the same as JSON."""
    if form == "json":
        from hpo.views import numbers

        is_sound = not any(finding.is_open for finding in findings)
        return numbers.written({"sound": is_sound, "findings": [vars(f) for f in findings]})
    lines = []
    for finding in findings:
        mark = "mended" if finding.is_mended else "WRONG" if finding.is_wrong else "ok"
        mark = "note" if finding.is_note else mark
        remedy = f" {finding.remedy}" if finding.remedy and not finding.is_mended else ""
        lines.append(f"{mark:<7}{finding.text}{remedy}")
    n_open = sum(finding.is_open for finding in findings)
    lines.append("Everything is sound." if not n_open else f"{n_open} things are wrong.")
    return "\n".join(map(printable, lines))


def _look(connection: Connection) -> list[Finding]:
    findings = [database.integrity(connection)]
    findings += studies.findings(connection)
    for study in shelf.look(connection).studies:
        try:
            findings += digests.look(connection, study)
            findings += attempts.strange(connection, study)
            findings += cells.damage(connection, study)
            findings.append(cells.surplus(connection, study))
            findings += trials.record(connection, study)
        except Exception as error:
            if not is_of_one_study(error):
                raise
            findings.append(studies.unexamined(study.name, error))
    findings += [database.orphans(connection), workers.dead(connection)]
    return findings


def _mend(url: str, stop: Callable[[], bool], notify: Callable[[str], None]) -> None:
    with Storage(url, stop, makes=False, notify=notify) as storage:
        for action in (
            digests.mend,
            attempts.end_strange,
            cells.delete_damaged,
            database.delete_orphans,
            cells.fail_surplus,
        ):
            storage.write(action)
        studies.plan_all(storage)
