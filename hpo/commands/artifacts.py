"""Files of a study that the dashboard offers: report, pictures, weights, model card.

Each is made of the rows when somebody opens it. Nothing is stored, so nothing can be half written,
damaged, or left behind by a study that is gone.
"""

import importlib.util
import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from hpo.commands import images
from hpo.database import outcomes, rows
from hpo.database.connections import Connection
from hpo.database.reader import Reader
from hpo.errors import HpoError, MissingPackage, NoResult, StorageError
from hpo.experiment.records import StoredStudy
from hpo.held_out import model_card
from hpo.held_out.verdict import verdict
from hpo.weights.file import NPZ, SAFETENSORS
from model.data import Dataset
from model.errors import ModelError

if TYPE_CHECKING:
    from hpo.mirror.dashboard_storage import DashboardStorage

REPORT, PICTURE = "report.html", ".png"
#: Files that are kept, as a page asks for them again and again, and bytes of the largest of them.
KEPT, LARGEST = 64, 4 << 20
ELSEWHERE = "This file is kept by whoever put it here, not by hpo; or the study has gone on."


def names(
    connection: Connection, study: StoredStudy, environ: Mapping[str, str]
) -> tuple[str, ...]:
    """Return the names of the files that can be made of a study here.

    Args:
        environ: The environment, for HPO_DATA and HPO_CACHE.
    """
    from hpo.views import drawing

    if not outcomes.results_of(connection, study.uuid):
        return ()
    has_images = images.are_here(study.experiment.data.name, environ)
    kinds = [
        name
        for name, kind in drawing.KINDS.items()
        if kind.is_for(study)
        and (has_images or not kind.needs_images)
        and (len(study.experiment.cells) > 1 or not kind.several)
    ]
    found = [REPORT, *(f"{kind}{PICTURE}" for kind in kinds)]
    if has_images and verdict(connection, study) is not None:
        is_safe = importlib.util.find_spec("safetensors") is not None
        found += [model_card.NAME, NPZ, *([SAFETENSORS] if is_safe else [])]
    return tuple(found)


def _picture(
    connection: Connection, study: StoredStudy, kind: str, found: Callable[[], Dataset]
) -> bytes:
    """Return a picture, or one of the reason why there is none."""
    from hpo.views import drawing, figures

    try:
        return drawing.picture_of_study(connection, study, kind, found)
    except (MissingPackage, NoResult) as error:
        reason = str(error)
    return figures.picture(lambda: figures.figure_of_words(reason), "png") or b""


class Artifacts:
    """A store of Optuna's that holds nothing, and makes what is asked for; it takes nothing in."""

    def __init__(
        self, storage: "DashboardStorage", reader: Reader, environ: Mapping[str, str]
    ) -> None:
        self._storage, self._reader, self._environ = storage, reader, environ
        self._made: OrderedDict[str, bytes] = OrderedDict()
        self._one_at_a_time = threading.Lock()  # a page asks for all its pictures at once

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Return a file; the dashboard answers with the reason if there is none."""
        from bottle import HTTPResponse

        file = self._storage.file(artifact_id)
        try:
            if file is None:
                raise NoResult(ELSEWHERE)
            with self._one_at_a_time:
                content = self._made.pop(artifact_id, None)
                if content is None:
                    content = self._reader.read(lambda connection: self._make(connection, *file))
                if len(content) <= LARGEST:
                    self._made[artifact_id] = content
                if len(self._made) > KEPT:
                    self._made.popitem(last=False)
        except (HpoError, ModelError) as error:
            raise HTTPResponse(
                f"{error}\n", 404, {"Content-Type": "text/plain; charset=utf-8"}
            ) from error
        return io.BytesIO(content)

    def write(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse."""
        raise StorageError("This dashboard only shows studies; nothing was changed.")

    remove = write

    def _make(self, connection: Connection, uuid: str, name: str) -> bytes:
        study = rows.study_by_uuid(connection, uuid)
        if study is None:
            raise NoResult("The study is gone.")
        found = self._images(study)
        if name == REPORT:
            from hpo.views.reports import chapters, pages

            return pages.html(chapters.read(connection, [study.name], self._images)).encode()
        if name.endswith(PICTURE):
            return _picture(connection, study, name.removesuffix(PICTURE), found)
        from hpo.held_out import final

        files = final.model_files(connection, study, found())
        if name not in files:
            raise NoResult("The test images were not seen yet, so there is no model.")
        return files[name]

    def _images(self, study: StoredStudy) -> Callable[[], Dataset]:
        name = study.experiment.data.name
        return images.of_study(name, None, self._environ, lambda _: None)
