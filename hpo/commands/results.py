"""What a stored study holds, asked for from Python; each question is answered as things are then."""

from collections.abc import Callable
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hpo.commands import frames
from hpo.database import outcomes, tables, tally
from hpo.database.connections import Connection
from hpo.database.reader import read_once
from hpo.definition.numbers import plain, shown
from hpo.errors import HpoError
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Outcome, Point, Result, Slot, State, StoredStudy
from hpo.judging import ranking
from hpo.mirror import study as stored_studies

if TYPE_CHECKING:
    import pandas as pd

    from hpo.held_out.verdict import Verdict
    from hpo.judging.judgement import Judgement
    from hpo.views.page import Figure
    from model.data import Dataset

T = TypeVar("T")


@dataclass(frozen=True)
class Cell:
    """One cell of a study.

    >>> import hpo
    >>> hpo.Cell(3, {"lambda": 0.001}, accuracy=0.5, replicates=1).parameters["lambda"]
    0.001
    """

    index: int
    parameters: dict[str, Any] = field(hash=False)  #: lambda, and what else was searched
    accuracy: float  #: mean over the replicates, on the validation images
    replicates: int


@dataclass(frozen=True)
class Status:
    """How far a study is, in the numbers of `hpo status`; each counts (cell, replicate) pairs.

    >>> import hpo
    >>> status = hpo.Status(
    ...     n_slots=8, n_counted=5, n_running=2, n_waiting=1, n_pruned=4, n_diverged=0
    ... )
    >>> status.n_slots - status.n_counted
    3
    """

    n_slots: int  #: results that it has when what is known now is done
    n_counted: int  #: results that it has
    n_running: int  #: in training
    n_waiting: int  #: for a worker, or for the others of a rung
    n_pruned: int  #: of those that are counted
    n_diverged: int  #: of those that are counted


@dataclass(frozen=True)
class Study:
    """A stored study; it holds its name and looks into the database when it is asked.

    >>> import hpo, tempfile
    >>> quick = hpo.StudyDefinition(name="quick", grid=hpo.Values((1e-3, 1e-2)), n_s=5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     url = f"sqlite:///{folder}/hpo.db"
    ...     study = hpo.run(quick, data="digits", storage=url)
    ...     study.is_complete, study.best.replicates, len(study.curves(0)) > 0
    (True, 1, True)
    """

    name: str
    storage: str  #: SQLAlchemy URL

    def _read(self, action: Callable[[Connection, StoredStudy], T]) -> T:
        def look(connection: Connection) -> T:
            return action(connection, stored_studies.stored(connection, self.name))

        return read_once(self.storage, look, notify=lambda _: None)

    @property
    def experiment(self) -> Experiment:
        """The definition with every number settled."""
        return self._read(lambda _, study: study.experiment)

    @property
    def results(self) -> tuple[Result, ...]:
        """What counts for each (cell, replicate), in their order."""
        return tuple(self._read(lambda c, study: outcomes.results_of(c, study.uuid)))

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to train."""

        def look(connection: Connection, study: StoredStudy) -> bool:
            experiment = study.experiment
            is_over = experiment.search is None or experiment.search.is_over
            return (
                is_over and len(outcomes.results_of(connection, study.uuid)) >= experiment.n_slots
            )

        return self._read(look)

    def status(self) -> Status:
        """Return how far the study is, as ``hpo status`` shows it."""

        def look(connection: Connection, study: StoredStudy) -> Status:
            found = [result.outcome for result in outcomes.results_of(connection, study.uuid)]
            states = tally.count_attempts(connection, study.uuid)
            return Status(
                n_slots=study.experiment.n_slots,
                n_counted=len(found),
                n_running=states.get(State.RUNNING, 0),
                n_waiting=states.get(State.WAITING, 0) + states.get(State.PAUSED, 0),
                n_pruned=found.count(Outcome.PRUNED),
                n_diverged=found.count(Outcome.DIVERGED),
            )

        return self._read(look)

    @property
    def best(self) -> Cell | None:
        """The cell with the highest mean over its replicates; None while there is none."""

        def look(connection: Connection, study: StoredStudy) -> Cell | None:
            results, experiment = outcomes.results_of(connection, study.uuid), study.experiment
            index = ranking.best_cell(results, experiment)
            if index is None:
                return None
            _, replicates = ranking.compared(results, experiment)
            accuracy = ranking.cell_means(results, experiment)[index]
            if replicates == 1:  # a mean is rounded, so that equal ones tie; a value is what it is
                accuracy = next(
                    result.value
                    for result in results
                    if result.slot == Slot(index, 0) and result.value is not None
                )
            return Cell(index, dict(experiment.cells[index]), accuracy, replicates)

        return self._read(look)

    def judgement(self) -> "Judgement | None":
        """Return how sure the best cell is; None where there is nothing to compare."""
        from hpo.views.report import judged

        return self._read(judged)

    def verdict(self) -> "Verdict | None":
        """Return what the test images say of a study that looked at them; None where it did not."""
        from hpo.held_out.verdict import verdict

        return self._read(verdict)

    def curves(self, cell: int, replicate: int = 0) -> list[Point]:
        """Return the log points of one network, none while it has not got to the first.

        Their values are in the order of ``hpo_curves``.

        Raises:
            HpoError: There is no such cell, or it has no such replicate.
        """
        experiment = self.experiment
        cell = _one_of("cell", cell, len(experiment.cells), f"{self.name!r}")
        n_replicates = experiment.replicates_of(cell)
        replicate = _one_of("replicate", replicate, n_replicates, f"Cell {cell} of {self.name!r}")
        return self._curves().get(Slot(cell, replicate), [])

    def _curves(self) -> dict[Slot, list[Point]]:
        def look(connection: Connection, study: StoredStudy) -> dict[Slot, list[Point]]:
            return {
                slot: [
                    Point(row.n_updates, tuple(getattr(row, name) for name in tables.CURVE_COLUMNS))
                    for row in found
                ]
                for slot, found in outcomes.curves_of(connection, study.uuid).items()
            }

        return self._read(look)

    def trials(self) -> "pd.DataFrame":
        """Return a row for each counted (cell, replicate), with its parameters.

        Raises:
            MissingPackage: pandas is not installed.
        """
        cells = self.experiment.cells
        return frames.frame(
            {
                "cell": result.slot.cell,
                "replicate": result.slot.replicate,
                **cells[result.slot.cell],
                "outcome": result.outcome.value,
                "value": result.value,
                "cycles": result.cycles,
                "updates": result.n_updates,
            }
            for result in self.results
        )

    def curves_frame(self) -> "pd.DataFrame":
        """Return a row for each log point of each network.

        Raises:
            MissingPackage: pandas is not installed.
        """
        return frames.frame(
            {"cell": slot.cell, "replicate": slot.replicate, "updates": point.n_updates}
            | dict(zip(tables.CURVE_COLUMNS, point.values, strict=True))
            for slot, points in self._curves().items()
            for point in points
        )

    def to_json(self) -> str:
        """Return results and curves in canonical form, as ``hpo export`` prints them."""
        from hpo.views import export

        return self._read(export.to_json)

    def to_csv(self, *, trials: bool = False) -> str:
        """Return a row for each log point, or for each trial, as ``hpo export --format csv`` does."""
        from hpo.views import export

        return self._read(export.trials_to_csv if trials else export.to_csv)

    def plot(
        self,
        folder: str | Path | None = None,
        kind: str | None = None,
        *,
        cell: int | None = None,
        format: str = "png",
        data: str | Path | None = None,
    ) -> list[Path]:
        """Draw the study into a folder, by default ``<study>-plots``; return the files.

        Args:
            kind: One kind of picture, as ``hpo plot`` names them; all that suit the study if None.
            cell: Whose network is shown, instead of the best one's.
            format: png, svg or pdf.
            data: Where the images are, for pictures that need them; without it those are left out.
        """
        from hpo.machine.files import safe_name
        from hpo.views import drawing

        if folder is not None and not isinstance(folder, str | PathLike):
            raise TypeError(f"folder must be a path, not {type(folder).__name__}")
        place = Path(f"{safe_name(self.name)}-plots" if folder is None else folder)
        asked: Any = {"kind": kind, "cell": cell, "form": format, "images": _images(data)}
        return list(self._read(lambda c, study: drawing.of_study(c, study, place, **asked)))

    def report(
        self, folder: str | Path | None = None, *, data: str | Path | None = None
    ) -> list[Path]:
        """Write a report of this study alone, as `hpo.report` does of several; return the files."""
        from hpo.commands import reporting

        return reporting.report(self.name, storage=self.storage, folder=folder, data=data)

    def figure(
        self, kind: str = "lambda", *, cell: int | None = None, data: str | Path | None = None
    ) -> "Figure":
        """Return one picture as a matplotlib Figure, which a notebook shows.

        Args: As of `plot`.

        Raises:
            NoResult: There is nothing to draw.
            HpoError: There is no such kind or cell.
        """
        from hpo.views import drawing

        images = _images(data)
        return self._read(lambda c, study: drawing.figure_of_study(c, study, kind, cell, images))


def _images(data: str | Path | None) -> "Callable[[], Dataset] | None":
    from hpo.commands import images

    return None if data is None else images.of_study("", str(data), {}, lambda _: None)


def _one_of(what: str, asked: Any, n: int, whose: str) -> int:
    """Return which of ``n`` is asked for.

    Raises:
        HpoError: There is none of this number.
    """
    number = plain(asked)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < n:
        there = "none yet" if n == 0 else f"0 to {n - 1}" if n > 1 else "0 alone"
        raise HpoError(f"{whose} has no {what} {shown(asked)}; it has {there}.")
    return number
