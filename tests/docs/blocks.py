"""The code blocks of README and docs/ as they stand there, and which of them can be run in a test.

A block is a fence of three backticks. Comments right above it say what a reader need not see:

- ``<!-- not run: REASON -->``: it cannot be run in a test.
- ``<!-- cifar10: REASON -->``: where CIFAR-10 is there, and with the long tests alone.
- ``<!-- postgresql: REASON -->``: with the address of a real server in place of the one shown.
- ``<!-- status: N -->``: it ends with this status, and what is shown is both outputs.
- ``<!-- roughly: REASON -->``: its numbers may be any, and who is best or pruned another one.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)(?P<more>.*)$")
MARK = re.compile(
    r"^ *<!-- (?P<kind>not run|cifar10|postgresql|status|roughly): (?P<reason>.+) -->$"
)
TITLE = re.compile(r'title="(?P<title>[^"]+)"')
RUN = ("sh", "console", "python", "sql")  #: languages of blocks that are run
SHOWN = ("text",)  #: of those that are only looked at: no command is among them
#: What a table says at the end of a line of the cells that are distinguished.
VERDICT = re.compile(r" (best|pruned after cycle \d+)$")


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: Path
    line: int  #: of its opening fence, from 1
    language: str
    text: str
    title: str | None = None  #: name of the file that it is the content of
    marks: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def is_run(self) -> bool:
        """Whether a test runs it."""
        return self.language in RUN and "not run" not in self.marks


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page in their order."""
    found: list[Block] = []
    marks: dict[str, str] = {}
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), 1))
    for number, line in lines:
        mark, fence = MARK.match(line), FENCE.match(line)
        if mark:
            marks[mark["kind"]] = mark["reason"]
        elif fence:
            inside: list[str] = []
            for _, content in lines:
                if content.strip() == "```":
                    break
                inside.append(content)
            title = TITLE.search(fence["more"])
            text = dedent("\n".join(inside)) + "\n"
            found.append(
                Block(page, number, fence["language"], text, title and title["title"], marks)
            )
        if line.strip() and not mark:
            marks = {}
    return found


def pages() -> list[Path]:
    """Return README and the pages in the order in which a reader meets them: that of the menu."""
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    return [ROOT / "README.md", *(DOCS / name for name in re.findall(r"[\w/-]+\.md", menu))]


@dataclass(frozen=True)
class Step:
    """A command of a ``console`` block and what it is shown to print."""

    command: str
    shown: str


def steps(text: str) -> list[Step]:
    """Take a ``console`` block apart: ``$`` begins a command, ``>`` goes on with it."""
    found: list[tuple[list[str], list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append(([line[2:]], []))
        elif line.startswith("> ") and not found[-1][1]:
            found[-1][0].append(line[2:])
        elif found:
            found[-1][1].append(line)
    return [Step("\n".join(command), "\n".join(shown)) for command, shown in found]


def differences(shown: str, came: str, *, roughly: bool = False) -> list[str]:
    """Return how an output differs from what the page shows.

    Words and their order are the same; a number may differ by 2 % or by 0.02, because other
    processors round differently; spaces do not count; a line ``...`` stands for any lines.
    With ``roughly`` any number is like any other, because what is chosen may differ, too.
    """
    return _differ(_lines(shown, roughly), _lines(came, roughly), roughly)


def _lines(text: str, roughly: bool) -> list[str]:
    lines = (" ".join(line.split()) for line in text.splitlines() if line.strip())
    return [VERDICT.sub("", line) if roughly else line for line in lines]


def _differ(shown: list[str], came: list[str], roughly: bool) -> list[str]:
    if not shown:
        return [f"not shown: {line}" for line in came]
    if shown == ["..."]:
        return []
    if shown[0] == "...":
        places = range(len(came) + 1)
        return min((_differ(shown[1:], came[place:], roughly) for place in places), key=len)
    if not came:
        return [f"did not come: {line}" for line in shown if line != "..."]
    is_like = _alike(shown[0], came[0], roughly)
    here = [] if is_like else [f"shown: {shown[0]}", f"came:  {came[0]}"]
    return here + _differ(shown[1:], came[1:], roughly)


def _alike(shown: str, came: str, roughly: bool) -> bool:
    ours, theirs = shown.split(" "), came.split(" ")
    pairs = zip(ours, theirs, strict=False)
    return len(ours) == len(theirs) and all(_same_word(a, b, roughly) for a, b in pairs)


def _same_word(shown: str, came: str, roughly: bool) -> bool:
    if shown == came:
        return True
    try:
        a, b = (float(word.strip("(),.:;%").replace(",", "")) for word in (shown, came))
    except ValueError:
        return False
    return roughly or abs(a - b) <= max(0.02, 0.02 * abs(a))
