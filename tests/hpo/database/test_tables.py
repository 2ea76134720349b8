"""Our tables as they are made, on both databases."""

import subprocess
import sys
from pathlib import Path

import sqlalchemy as sa

from hpo.database.storage import Storage

PARTIAL = {
    "hpo_attempts_waiting",
    "hpo_attempts_running",
    "hpo_attempts_paused",
    "hpo_attempts_unshown",
}


def test_indexes_of_a_few_rows_have_these_alone(url: str) -> None:
    with Storage(url) as storage:
        indexes = storage.read(lambda c: sa.inspect(c).get_indexes("hpo_attempts"))

    conditions = {
        index["name"]
        for index in indexes
        for options in [index.get("dialect_options", {})]
        if any(name.endswith("_where") and "=" in str(told) for name, told in options.items())
    }
    assert conditions == PARTIAL


def test_a_process_on_sqlite_imports_no_dialect_of_postgresql(tmp_path: Path) -> None:
    code = (
        "import sys, hpo.workers.worker; from hpo.database.storage import Storage; "
        "Storage('sqlite:///' + sys.argv[1] + '/hpo.db').close(); "
        "sys.exit('sqlalchemy.dialects.postgresql' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    assert subprocess.run(command, check=False).returncode == 0
