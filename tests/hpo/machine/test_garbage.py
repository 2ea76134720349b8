"""What a program imports is not searched for garbage again and again."""

import subprocess
import sys

IMPORTED = """
import gc
from hpo.machine.garbage import collect_seldom

collect_seldom()
before = [kind["collections"] for kind in gc.get_stats()]
import hpo.commands.running
after = [kind["collections"] for kind in gc.get_stats()]
print(sum(after) - sum(before))
"""


def test_an_import_is_hardly_interrupted() -> None:
    told = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True)

    assert told.stderr == ""
    assert int(told.stdout) <= 5
