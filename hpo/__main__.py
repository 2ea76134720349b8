"""``python -m hpo`` is ``hpo``."""

from hpo.cli import console

console()
