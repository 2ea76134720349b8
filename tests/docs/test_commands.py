"""What README and docs tell a reader to type works, in their order, in a fresh folder."""

import ast
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

import hpo
from hpo.cli import app
from tests.docs.blocks import DOCS, ROOT, RUN, SHOWN, Block, blocks, differences, pages, steps
from tests.docs.reader import Reader
from tests.docs.refresh import refreshed

README = ROOT / "README.md"
#: Options of every command.
COMMON = {"--help", "--version", "--install-completion", "--show-completion"}


def without_cifar10(block: Block) -> bool:
    return block.is_run and "cifar10" not in block.marks


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the current one, with hpo on the path as the README says."""
    monkeypatch.delenv("HPO_STORAGE", raising=False)
    monkeypatch.setenv("MPLBACKEND", "agg")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    monkeypatch.setenv("PATH", path)
    place = tmp_path / "fresh"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


def test_the_readme_works_from_top_to_bottom_on_digits(folder: Path, tmp_path: Path) -> None:
    reader = Reader(folder, tmp_path / "state")
    for block in filter(without_cifar10, blocks(README)):
        reader.read(block)


@pytest.mark.long
@pytest.mark.parametrize(
    "page",
    [page for page in pages()[1:] if any(map(without_cifar10, blocks(page)))],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_a_page_works_from_top_to_bottom(
    page: Path, folder: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    found = list(filter(without_cifar10, blocks(page)))
    needs_server = any("postgresql" in block.marks for block in found)
    server = request.getfixturevalue("postgresql_url") if needs_server else None
    reader = Reader(folder, tmp_path / "state", server)
    for block in found:
        reader.read(block)


@pytest.mark.exhaustive  # a quarter of an hour on two cores
@pytest.mark.timeout(7200)
def test_what_is_trained_on_cifar10_works_in_the_order_of_the_pages(
    folder: Path, tmp_path: Path, cifar10_folder: Path
) -> None:
    reader = Reader(folder, tmp_path / "state")  # what an earlier page has trained is there
    for page in pages():
        for block in blocks(page):
            if block.is_run and "cifar10" in block.marks:
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


def typed() -> list[tuple[str, str]]:
    """Return each ``hpo ...`` within a sentence or a block, and where it is."""
    found = []
    for page in [*pages(), ROOT / "CONTRIBUTING.md"]:
        text = page.read_text("utf-8")
        prose = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)
        in_blocks = re.findall(r"^(?:\$ )?(hpo [^|>#\n]+)", text, re.MULTILINE)
        for command in [*re.findall(r"`(hpo [^`]+)`", prose), *in_blocks]:
            found.append((str(page.relative_to(ROOT)), command))
    return found


def test_every_command_that_is_named_exists_with_its_options() -> None:
    wrong = []
    for page, written in typed():
        command: Any = typer.main.get_command(app)
        words = written.split()[1:]
        while words and hasattr(command, "commands") and words[0] in command.commands:
            command = command.commands[words.pop(0)]
        if hasattr(command, "commands") and words and words[0].islower() and words[0].isalpha():
            wrong.append(f"{page}: `{written}`: no such command")
        known = {option for p in command.params for option in p.opts} | COMMON
        options = {word.partition("=")[0].rstrip(",.") for word in words if word.startswith("--")}
        wrong += [f"{page}: `{written}`: {option}" for option in options - known]
    assert wrong == []


def test_every_python_block_names_what_there_is() -> None:
    for page in pages():
        for block in blocks(page):
            if block.language == "python":
                tree = ast.parse(block.text)
                for node in ast.walk(tree):
                    if isinstance(node, ast.ImportFrom) and node.module == "hpo":
                        assert {name.name for name in node.names} <= set(hpo.__all__), block


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


def test_what_is_shown_is_refreshed_line_by_line() -> None:
    shown = "cell accuracy\n 0 0.51 best\n...\n 7 0.40\nEnd: now"
    came = "cell accuracy\n 0 0.52\n 1 0.53 best\n 7 0.41"

    text, lost = refreshed(shown, came)

    assert text == "cell accuracy\n 0 0.52\n...\n 7 0.41\nEnd: now"
    assert lost == ["End: now"]
