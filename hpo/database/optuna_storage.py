"""Optuna's storage, opened so that a failure leaves no connection behind."""

from typing import Any

from optuna.storages import RDBStorage


def opened(url: str, options: dict[str, Any]) -> RDBStorage:
    """Open a database as Optuna's storage; what is missing of its tables is made.

    Args:
        options: What its engine is made with.
    """
    return _Storage(url.replace("{", "{{").replace("}", "}}"), options)  # Optuna fills braces in


class _Storage(RDBStorage):
    def __init__(self, template: str, options: dict[str, Any]) -> None:
        try:
            super().__init__(template, options)
        except BaseException:
            if "engine" in vars(self):
                self.engine.dispose()
            raise
