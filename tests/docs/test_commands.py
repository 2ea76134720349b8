"""What README and docs tell a reader to type works, in their order, in a fresh folder."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.docs.blocks import DOCS, ROOT, RUN, SHOWN, Block, blocks, differences, pages, steps
from tests.docs.reader import Reader

README = ROOT / "README.md"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the current one."""
    monkeypatch.delenv("HPO_STORAGE", raising=False)
    monkeypatch.setenv("MPLBACKEND", "agg")
    place = tmp_path / "fresh"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


def quick(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.language in RUN and block.is_quick]


def test_the_readme_works_from_top_to_bottom(folder: Path, tmp_path: Path) -> None:
    reader = Reader(folder, tmp_path / "state")
    for block in quick(README):
        reader.read(block)


def test_the_docs_work_in_the_order_of_their_menu(folder: Path, tmp_path: Path) -> None:
    reader = Reader(folder, tmp_path / "state")
    for page in pages()[1:]:
        for block in quick(page):
            reader.read(block)


@pytest.mark.long
@pytest.mark.parametrize(
    "page",
    [page for page in pages() if any(block.language in RUN for block in blocks(page))],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_a_page_works_by_itself(
    page: Path, folder: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    found = [block for block in blocks(page) if block.language in RUN]
    marks: set[str] = set().union(*(block.marks for block in found))
    if "long" in marks:
        request.getfixturevalue("cifar10_folder")
    server = request.getfixturevalue("postgresql_url") if "postgresql" in marks else None
    reader = Reader(folder, tmp_path / "state", server)
    for block in found:
        if "not run" not in block.marks:
            reader.read(block)


def test_every_page_is_in_the_menu() -> None:
    assert sorted(DOCS.rglob("*.md")) == sorted(pages()[1:])


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_says_what_it_is_and_why_it_is_not_run(page: Path) -> None:
    for block in blocks(page):
        assert block.language in (*RUN, *SHOWN), f"{block}: sh, console, python, sql or text?"
        commands = re.findall(r"^\$ |^hpo [a-z]", block.text, re.MULTILINE)
        assert block.language in RUN or block.page.name == "cli.md" or not commands, block
        if block.language == "console":
            assert steps(block.text), f"{block}: no line begins with `$ `"


def spans() -> list[tuple[str, str]]:
    """Return each `hpo ...` that stands within a sentence, and where."""
    found = []
    for page in [*pages(), ROOT / "CONTRIBUTING.md"]:
        prose = re.sub(r"^ *```.*?^ *```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.M)
        for span in re.findall(r"`(hpo [^`]+)`", prose):
            found.append((str(page.relative_to(ROOT)), span))
    return found


def test_commands_within_sentences_exist_with_their_options() -> None:
    import typer

    from hpo.cli import app

    wrong = []
    for page, span in spans():
        command: Any = typer.main.get_command(app)
        words = [word for word in span.split()[1:] if not word.startswith("<")]
        while words and hasattr(command, "commands") and words[0] in command.commands:
            command = command.commands[words.pop(0)]
        known = {option for p in command.params for option in p.opts} | {"--help"}
        known |= {"--install-completion", "--show-completion", "--version"}
        if "hpo COMMAND" in span:
            continue
        options = {word.partition("=")[0].rstrip(",.") for word in words if word.startswith("-")}
        if options - known or (hasattr(command, "commands") and words and not options):
            wrong.append(f"{page}: `{span}`")
    assert wrong == []


def test_every_target_of_make_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in [*pages(), ROOT / "CONTRIBUTING.md"]:
        text = page.read_text("utf-8")
        named = re.findall(r"`make ([a-z-]+)", text) + re.findall(r"^make ([a-z-]+)", text, re.M)
        assert set(named) <= targets, page


def test_nobody_is_told_to_install_a_stranger() -> None:
    for page in [*pages(), ROOT / "CONTRIBUTING.md"]:
        assert not re.search(r"pip install ['\"]?hpo[\[ '\"\n]", page.read_text("utf-8")), page


@pytest.mark.parametrize(
    ("shown", "came", "is_same"),
    [
        ("cell  best\n0 0.51", "cell best\n  0   0.52\n", True),  # close, and spaced otherwise
        ("0 0.51", "0 0.61", False),  # too far
        ("0 0.51 best", "0 0.51", False),  # a word is missing
        ("a\n...\nd", "a\nb\nc\nd", True),  # lines left out on purpose
        ("a\n...\nd", "a\nb\nc\ne", False),  # what comes after them counts
        ("a", "a\nb", False),  # more than is shown
        ("3,600 updates", "3600 updates", True),  # the same number
    ],
)
def test_an_output_is_compared_by_words_and_near_numbers(
    shown: str, came: str, is_same: bool
) -> None:
    assert (differences(shown, came) == []) is is_same
