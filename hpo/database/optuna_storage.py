"""Optuna's storage, opened so that a failure leaves no connection behind."""

from typing import Any

from optuna.storages import RDBStorage


def opened(url: str, options: dict[str, Any]) -> RDBStorage:
    """Open a database that has its tables as Optuna's storage, without making or upgrading any.

    Args:
        options: What its engine is made with.
    """
    template = url.replace("{", "{{").replace("}", "}}")  # Optuna fills braces in
    return _Storage(template, options, skip_compatibility_check=True, skip_table_creation=True)


class _Storage(RDBStorage):
    def __init__(self, template: str, options: dict[str, Any], **more: Any) -> None:
        try:
            super().__init__(template, options, **more)
        except BaseException:
            if "engine" in vars(self):
                self.engine.dispose()
            raise
