"""A report put together from the rows of its studies, all of one moment."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hpo.database import rows
from hpo.database.connections import Connection
from hpo.errors import NoResult
from hpo.experiment.records import StoredStudy
from hpo.held_out.verdict import Verdict, verdict
from hpo.judging.judgement import Judgement
from hpo.machine.files import safe_name
from hpo.machine.printable import printable
from hpo.mirror import study as studies
from hpo.views import drawing, report
from hpo.views.reports import alt_texts, provenance, questions, steps, tables
from hpo.views.reports.parts import Chapter, Picture, Report
from hpo.views.subject import Subject
from model.data import Dataset

Finder = Callable[[StoredStudy], Callable[[], Dataset] | None]


@dataclass(frozen=True)
class _Known:
    """What is read of one study."""

    connection: Connection
    study: StoredStudy
    report: report.StudyReport
    judgement: Judgement | None
    verdict: Verdict | None


def read(connection: Connection, names: Sequence[str], images: Finder) -> Report:
    """Return the report of some studies, in their order.

    Args:
        images: Finds the training images of a study, for pictures that need them.

    Raises:
        StudyNotFound: There is none of a name.
        DamagedRow: A row is not what was written.
    """
    found = [studies.stored(connection, name) for name in names]
    chapters = [_chapter(_known(connection, study), images(study)) for study in found]
    told, remarks = steps.of_studies(connection, found)
    return Report(
        title=f"Report on {', '.join(study.name for study in found)}",
        chapters=chapters,
        remarks=_unfinished(connection, found),
        steps=told,
        about_steps=remarks,
    )


def _known(connection: Connection, study: StoredStudy) -> _Known:
    told = report.read(connection, study)
    judgement = report.judged(connection, study, told.results) if study.experiment.cells else None
    return _Known(connection, study, told, judgement, verdict(connection, study))


def _unfinished(connection: Connection, found: Sequence[StoredStudy]) -> list[str]:
    names = [study.name for study in found if not steps.is_over(connection, study)]
    if not names:
        return []
    moment = provenance.moment(rows.now(connection))
    is_one = len(names) == 1
    return [
        f"{', '.join(names)} {'is' if is_one else 'are'} not finished; this is how "
        f"{'it' if is_one else 'they'} stood at {moment}."
    ]


def _chapter(known: _Known, images: Callable[[], Dataset] | None) -> Chapter:
    study, experiment, told = known.study, known.study.experiment, known.report
    results, left_out = list(told.results), list[str]()
    return Chapter(
        name=study.name,
        asked=questions.asked(experiment),
        question=questions.question(experiment),
        short=questions.answer(told, known.verdict),
        answer=_answer(known),
        tables=[
            *tables.of_cells(told),
            *tables.of_contenders(known.judgement, experiment),
        ],
        pictures=list(_pictures(known, images, left_out)),
        left_out=left_out,
        cuts=tables.why_cut(experiment),
        table_of_cuts=tables.of_cuts(experiment, results, known.judgement),
        provenance=provenance.of_study(known.connection, study, results, known.verdict),
        looks=provenance.of_looks(known.connection, study),
        definition=provenance.stored_definition(experiment),
    )


def _answer(known: _Known) -> list[str]:
    try:
        lines = report.best_in_lines(known.report, known.judgement, with_table=False)
    except NoResult as error:
        return [str(error)]
    tested = known.verdict
    if tested is not None:
        lines.append(f"of the test accuracy: {tested.spread()}")
        lines.append(f"looks at the test images: {tested.looks()}")
    return lines


def _pictures(
    known: _Known, images: Callable[[], Dataset] | None, left_out: list[str]
) -> Sequence[Picture]:
    if not known.report.results:
        return []
    subject = Subject(known.connection, known.report, None, images)
    return [
        Picture(
            file=f"{safe_name(known.study.name)}-{kind}.png",
            caption=f"{known.study.name}: {printable(drawing.KINDS[kind].shows)}",
            alt=alt_texts.of_picture(kind, subject),
            png=content,
        )
        for kind, content in drawing.pictures_of(subject, left_out.append)
    ]
