"""What a dashboard says of a study: the winner in words, and what Optuna has no place for."""

import re
import textwrap

from hpo.database.connections import Connection
from hpo.errors import NoResult
from hpo.experiment import budgets
from hpo.experiment.records import StoredStudy
from hpo.held_out.verdict import verdict
from hpo.machine.printable import printable
from hpo.mirror.dashboard_storage import Remarks
from hpo.views import report

WIDTH = 90  #: characters in a line of a note
MARKED = re.compile(r"([\\`*_{}\[\]()#+\-!|~&<>:@])")  #: what Markdown or HTML takes for a mark


def of_study(connection: Connection, study: StoredStudy) -> Remarks:
    """Return the note of a study, in Markdown, and its attributes."""
    found = report.read(connection, study)
    experiment = study.experiment
    definition, space = experiment.definition, experiment.definition.space
    attributes = {"pruner": str(definition.pruner), "replicates": str(experiment.replicates)}
    if experiment.parent is not None:
        attributes["parent"] = f"cell {experiment.parent.cell} of {experiment.parent.study}"
    if space is not None:
        attributes["budget"] = f"{budgets.largest(experiment):,} updates for {space.sampler}"
    tested = verdict(connection, study)
    if tested is not None:
        n = len(tested.by_replicate)
        attributes["test accuracy"] = f"{tested.accuracy:.4f}, the mean of {n} networks"
        attributes["test accuracy, how sure"] = tested.spread()
        attributes["looks at the test images"] = tested.looks()
    try:
        first, *more = report.best(
            found, report.judged(connection, study, found.results)
        ).splitlines()
    except NoResult:
        n, n_all = len(found.results), found.n_slots
        waiting = f"No cell is complete yet: {n} of {n_all} results are there."
        return Remarks(waiting, attributes)
    winner = first.removeprefix(printable(f"{study.name}: "))
    attributes = {"winner": winner, **attributes}
    note = f"**The winner is {_plain(winner)}.**"
    if experiment.replicates > 1:
        note += (
            " The value of a trial is the mean of its cell; networks of cells that cannot be compared "
            "are not complete here."
        )
    if more:
        wrapped = [part for line in more for part in _wrapped(line)]
        fenced = "\n".join(wrapped).replace("```", "'''")
        note += f"\n\n```text\n{fenced}\n```"
    return Remarks(note, {key: printable(value) for key, value in attributes.items()})


def _wrapped(line: str) -> list[str]:
    """Return a line in pieces that the page shows whole; the lines of a table are short."""
    if len(line) <= WIDTH:
        return [line]
    return textwrap.wrap(line, WIDTH, subsequent_indent="    ")


def _plain(text: str) -> str:
    """Return a text in which nothing is a mark."""
    return MARKED.sub(r"\\\1", text)
