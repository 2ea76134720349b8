"""The reference is whole: what there is stands on its page, and what is generated is current."""

import importlib.util
import re
from dataclasses import MISSING, fields
from types import ModuleType
from typing import Any

import pytest

import hpo
from hpo.database import tables
from hpo.definition import pruning
from hpo.definition.spaces import Space
from hpo.definition.study import StudyDefinition
from tests.docs.blocks import DOCS, pages

REFERENCE = DOCS / "reference"


def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("commands", DOCS / "commands.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_commands_is_what_they_say_of_themselves() -> None:
    written = (REFERENCE / "cli.md").read_text("utf-8")

    assert written == writer().page(), "run `make docs`, and commit docs/reference/cli.md"


def rows(page: str, section: str) -> dict[str, str]:
    """Return the second column of the table under a heading, by what stands in the first."""
    text = (REFERENCE / page).read_text("utf-8").partition(f"\n## {section}\n")[2]
    table = text.partition("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| ?`?([^|`]*?)`? \|", table, re.MULTILINE))


@pytest.mark.parametrize("kind", [StudyDefinition, Space])
def test_every_field_of_a_study_file_is_there_with_its_default(kind: Any) -> None:
    def default(field: Any) -> str:
        if field.default is MISSING:
            return ""
        if field.name == "n_s" and kind is StudyDefinition:
            return "Epochs(2, at_least=240)"
        return str(field.default) if not isinstance(field.default, str) else f'"{field.default}"'

    assert rows("study-file.md", kind.__name__) == {f.name: default(f) for f in fields(kind)}


def test_every_table_and_column_is_there() -> None:
    text = (REFERENCE / "tables.md").read_text("utf-8")
    for table in tables.metadata.sorted_tables:
        heading = next(h for h in text.split("\n## ") if table.name in h.partition("\n")[0])
        missing = {c.name for c in table.columns} - set(re.findall(r"`(\w+)`", heading))
        if table is tables.curves or "`digest`" in heading:
            missing.discard("digest")
        assert missing == set(), table.name


def test_every_name_of_the_api_is_there() -> None:
    text = (REFERENCE / "python.md").read_text("utf-8")
    described = set(re.findall(r"^::: hpo\.(\w+)$", text, re.MULTILINE))

    assert described - {"testing"} == set(hpo.__all__) - {"__version__"}


def test_every_pruner_is_there_with_its_parameters() -> None:
    text = (DOCS / "howto" / "prune.md").read_text("utf-8")
    for name, parameters in pruning.KNOWN.items():
        told = ", ".join(f"`{key}={value}`" for key, value in parameters.items())
        assert f"| `{name}` | {told} |".replace("|  |", "| |") in text


def test_nothing_that_users_read_names_another_folder_of_ours_by_a_broken_link() -> None:
    for page in pages():
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page}: {target}"
