"""Put what commands print now into the pages that show it: ``python -m tests.docs.refresh PAGE...``.

Runs each page from top to bottom in a fresh folder. A line that is shown becomes the next line of the
output that is like it but for its numbers; ``...`` stays. What has no such line is told, and left.
Blocks on CIFAR-10 are run where HPO_DATA names it.
"""

import os
import sys
import tempfile
from pathlib import Path

from tests.docs.blocks import Block, blocks, differences, steps
from tests.docs.reader import Reader


def refreshed(shown: str, came: str) -> tuple[str, list[str]]:
    """Return what is shown with the lines that came, and the lines that nothing came for."""
    lines, rest, lost = [], came.splitlines(), []
    for line in shown.splitlines():
        found = _like(line, rest) if line.strip() and line != "..." else None
        lines.append(line if found is None else rest[found])
        if found is not None:
            rest = rest[found + 1 :]
        elif line.strip() and line != "...":
            lost.append(line)
    return "\n".join(lines), lost


def _like(line: str, among: list[str]) -> int | None:
    """Return the place of the first line that is like this one, of the same row if there is one."""
    like = [i for i, other in enumerate(among) if not differences(line, other, roughly=True)]
    same = (i for i in like if among[i].split()[0] == line.split()[0])
    return next(same, like[0] if like else None)


def refresh(page: Path, folder: Path) -> None:
    """Run a page and write it again."""
    reader = Reader(folder, folder.with_name("state"))
    text = page.read_text("utf-8")
    for block in blocks(page):
        if not block.is_run or ("cifar10" in block.marks and not os.environ.get("HPO_DATA")):
            continue
        if block.language != "console":
            reader.read(block)
            continue
        text = text.replace(block.text, _printed(reader, block), 1)
    page.write_text(text, encoding="utf-8")


def _printed(reader: Reader, block: Block) -> str:
    parts = []
    for step in steps(block.text):
        shown, lost = refreshed(step.shown, reader.output(block, step.command))
        for line in lost:
            print(f"{block}: nothing came that is like: {line}", file=sys.stderr)
        command = step.command.replace("\n", "\n> ")
        parts.append(f"$ {command}\n{shown}" if shown else f"$ {command}")
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for given in [Path(name).resolve() for name in sys.argv[1:]]:
        with tempfile.TemporaryDirectory() as place:
            fresh = Path(place) / "fresh"
            fresh.mkdir()
            os.chdir(fresh)
            refresh(given, fresh)
            os.chdir("/")
