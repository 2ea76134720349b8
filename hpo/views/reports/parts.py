"""What a report is made of. It holds text as it is stored; who renders it makes that harmless."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Table:
    """A table whose first row and, as far as it says, first column are headers."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    marked: int | None = None  #: the row that stands out


@dataclass(frozen=True)
class Picture:
    """A picture of a study."""

    file: str  #: its name beside the Markdown
    caption: str
    alt: str  #: what it shows, for who does not see it
    png: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """What there is to say of one study."""

    name: str
    asked: str  #: the question in a sentence
    question: str  #: with how it was answered
    short: str  #: the answer in a sentence
    answer: Sequence[str]  #: what `hpo best` says, without its table
    tables: Sequence[Table]
    pictures: Sequence[Picture]
    left_out: Sequence[str]  #: why pictures are
    cuts: Sequence[str]  #: why cells were cut; none where none can be
    table_of_cuts: Table | None
    provenance: Table
    looks: Table | None  #: at the test images
    definition: str  #: as it is stored, in JSON


@dataclass(frozen=True, kw_only=True)
class Report:
    """Chapters in the order in which they were asked for, and how to do it all again."""

    title: str
    chapters: Sequence[Chapter]
    remarks: Sequence[str]  #: what a reader should know first
    steps: str  #: commands, a line each
    about_steps: Sequence[str]
