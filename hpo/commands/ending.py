"""What a run came to, in words and files; each is asked for while its database is open."""

from collections.abc import Callable
from pathlib import Path

from hpo.commands.request import Order
from hpo.commands.running import Outcome
from hpo.errors import CellsFailed
from hpo.machine.files import check_folder, safe_name
from hpo.views import report


def model_folder(order: Order, out: Path | None) -> Path:
    """Return the folder for weights and model card.

    Raises:
        OutputError: There will be some, and nothing can be written there.
    """
    folder = out or Path(f"{safe_name(order.study_name)}-model")
    if order.definition.evaluates_test:
        check_folder(folder)
    return folder


def failed(outcome: Outcome) -> CellsFailed | None:
    """Return the error that names the cells that failed again and again; None where none did."""
    if not outcome.after.failed:
        return None
    stored = outcome.study.stored
    return CellsFailed(stored.name, report.failures(stored.experiment, outcome.after))


def left(outcome: Outcome) -> str:
    """Return what is left of a study after an interruption."""
    after = outcome.after
    missing = f"{outcome.n_missing} are left"
    if not after.is_over:
        missing += f", and {after.n_unplanned:,} updates for more"
    return (
        f"Interrupted: {outcome.n_counted} of {after.n_slots} cells of {outcome.study.stored.name} are "
        f"done, {missing}. Run the same command to go on."
    )


def table(outcome: Outcome) -> str:
    """Return the results of a study, and its best cell."""
    stored, storage = outcome.study.stored, outcome.study.storage
    return storage.read(lambda connection: report.table(report.read(connection, stored)))


def verdict(outcome: Outcome) -> list[str]:
    """Return what the test images say, in lines; none where no cell was shown them."""
    from hpo.held_out.verdict import verdict as of_looks  # of few runs

    stored, storage = outcome.study.stored, outcome.study.storage
    found = storage.read(lambda connection: of_looks(connection, stored))
    if found is None:
        return []
    return [found.spread(), f"Looks at the test images: {found.looks()}"]


def write_model(
    outcome: Outcome, order: Order, folder: Path, notify: Callable[[str], None]
) -> list[Path]:
    """Write the best network with its model card; return the files.

    Raises:
        OutputError: The files cannot be written.
        NoResult: The weights are not stored any more.
    """
    from hpo.held_out import final  # of few runs

    return final.write_model(outcome.study, order.dataset, folder, notify)
