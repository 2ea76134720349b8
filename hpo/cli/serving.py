"""The command that shows stored studies in a browser."""

import os
from typing import Annotated

import typer

from hpo.cli.options import DEFAULT_STORAGE, StorageUrl
from hpo.machine.console import say


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(dashboard)


def dashboard(
    storage: StorageUrl = DEFAULT_STORAGE,
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Where it is served; 0 finds a free one.")
    ] = 8080,
    allow_edit: Annotated[
        bool, typer.Option("--allow-edit", help="Let it change what is stored.")
    ] = False,
) -> None:
    """Show the stored studies in Optuna's dashboard, on this machine alone and only to look at.

    Example: hpo dashboard --port 8081
    """
    from hpo.commands import dashboard as showing

    showing.serve(storage, port, say, allow_edit=allow_edit, environ=os.environ)
