"""The arrows between the rooms, and the one way to the test images, from the syntax tree."""

import ast
import runpy
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[1]
rooms = SimpleNamespace(**runpy.run_path(str(ROOT / "tests" / "rooms.py")))
FILES = sorted(
    path.relative_to(ROOT)
    for room in ("model", "hpo", "studies")
    for path in (ROOT / room).rglob("*.py")
)


def tree(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text())


def imported(path: Path) -> Iterator[str]:
    """Yield the modules that a file names in imports, inside functions too, and by importlib."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are written out here"
            yield node.module or ""
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "importlib.import_module",
            "import_module",
            "__import__",
        ):
            yield from (a.value for a in node.args if isinstance(a, ast.Constant))


def calls(path: Path) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, ast.Call))


def names(path: Path) -> set[str]:
    """Return every name and attribute that a file uses."""
    nodes = list(ast.walk(tree(path)))
    found = {node.id for node in nodes if isinstance(node, ast.Name)}
    return found | {node.attr for node in nodes if isinstance(node, ast.Attribute)}


def test_the_rooms_are_not_empty() -> None:
    assert {path.parts[0] for path in FILES} == {"model", "hpo", "studies"}
    assert len(FILES) > 30


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [
        ("model", {"hpo", "studies"}),  # the model knows NumPy and SciPy and nothing of ours
        ("model", {"optuna", "sqlalchemy", "typer", "rich", "matplotlib"}),
        ("hpo", {"studies"}),  # found by name with importlib, never imported
        ("studies", {"model", "studies"}),  # a study file talks to hpo, and stands alone
        ("studies", {"numpy", "optuna", "sqlalchemy"}),  # and computes nothing at import
    ],
)
def test_arrows_point_one_way(room: str, forbidden: set[str]) -> None:
    wrong = [
        f"{path} imports {module}"
        for path in FILES
        if path.parts[0] == room
        for module in imported(path)
        if module.split(".")[0] in forbidden
    ]

    assert not wrong


def test_each_room_imports_what_it_may() -> None:
    wrong = [
        reason
        for (room, target), reasons in rooms.arrows().items()
        if target not in rooms.MAY_IMPORT[room].split()
        for reason in reasons
    ]

    assert not wrong


def test_no_arrow_is_allowed_that_nothing_needs() -> None:
    allowed = {(a, b) for a, named in rooms.MAY_IMPORT.items() for b in named.split()}

    assert allowed == set(rooms.arrows())


def test_rooms_and_modules_stand_in_layers_without_a_circle() -> None:
    assert len(rooms.MAY_IMPORT) <= 18
    assert len(rooms.layers(set(rooms.arrows()))) <= 10
    assert rooms.layers(rooms.between_modules())  # raises where there is a circle


def test_nobody_in_the_rooms_uses_what_is_there_for_tests() -> None:
    known = {"hpo.testing": ROOT / "hpo" / "testing.py"}
    users = [str(path) for path in FILES if list(rooms.imported(ROOT / path, known))]

    assert users == ["hpo/__init__.py"]  # which names it for type checkers, and is in no room


def test_every_room_says_what_it_is_for() -> None:
    for folder in {path.parent for path in FILES if path.parts[0] == "hpo"}:
        assert ast.get_docstring(tree(folder / "__init__.py")), folder


@pytest.mark.parametrize(
    ("library", "admitted"),
    [
        ("optuna", {"search", "mirror", "database", "workers"}),  # database/ opens its storage
        ("sqlalchemy", {"database", "mirror"}),  # who writes statements
        ("matplotlib", {"views"}),
        ("typer", {"cli"}),
        ("jinja2", {"views"}),
        ("pytest", set()),  # nor does hpo/testing.py need it
    ],
)
def test_a_library_is_known_to_some_rooms_only(library: str, admitted: set[str]) -> None:
    users = {
        path.parts[1]
        for path in FILES
        if path.parts[0] == "hpo" and any(m.split(".")[0] == library for m in imported(path))
    }

    assert users <= admitted


def test_the_model_imports_nothing_but_numpy_scipy_and_the_standard_library() -> None:
    import sys

    admitted = {"model", "numpy", "scipy"} | sys.stdlib_module_names
    modules = {
        m.split(".")[0] for path in FILES if path.parts[0] == "model" for m in imported(path)
    }

    assert modules <= admitted


def test_the_model_does_not_print_or_read_the_environment() -> None:
    wrong = [str(p) for p in FILES if p.parts[0] == "model" and names(p) & {"print", "environ"}]

    assert not wrong


def test_of_the_workers_only_two_adapters_know_optuna() -> None:
    users = {
        path.stem
        for path in FILES
        if path.parts[1] == "workers" and any(m.split(".")[0] == "optuna" for m in imported(path))
    }

    assert users == {
        "grid_sampler",
        "objective",
        "optuna_pruner",
    }  # the second is half of the first


@pytest.mark.parametrize(("folder", "most"), [("hpo", 300), ("model", 300), ("tests", 400)])
def test_a_file_is_read_in_one_sitting(folder: str, most: int) -> None:
    sizes = {p: len(p.read_text().splitlines()) for p in (ROOT / folder).rglob("*.py")}

    assert {str(path): n for path, n in sizes.items() if n > most} == {}


def test_every_function_belongs_to_a_noun() -> None:
    nouns = [path for path in FILES if path.stem in ("utils", "util", "helpers", "common", "misc")]

    assert not nouns


def test_studies_hold_no_loops_and_one_study_each() -> None:
    for path in FILES:
        if path.parts[0] != "studies" or path.stem == "__init__":
            continue
        body = tree(path).body
        assigned = [ast.unparse(n.targets[0]) for n in body if isinstance(n, ast.Assign)]
        loops = (ast.For, ast.While, ast.ListComp, ast.GeneratorExp, ast.With, ast.FunctionDef)
        assert assigned == ["STUDY"], path
        assert not any(isinstance(node, loops) for node in ast.walk(tree(path))), path


def test_only_one_function_shows_the_test_images_to_a_network() -> None:
    users = {
        str(path)
        for path in FILES
        for call in calls(path)
        if isinstance(call.func, ast.Attribute) and call.func.attr == "test" and not call.args
    }

    # held_out evaluates, and each look is a row; `hpo data verify` only hashes
    assert users == {"hpo/held_out/looking.py", "hpo/commands/images.py"}


def test_the_test_part_is_read_through_a_source_only() -> None:
    users = {
        str(path)
        for path in FILES
        if path.parts[0] != "model" and names(path) & {"digits_test", "npz_parts", "TEST_BATCH"}
    }

    assert users == {"hpo/data/source.py"}


def test_only_final_and_reproduce_look_at_the_test_images() -> None:
    lookers = {
        str(p) for p in FILES if any(ast.unparse(c.func) == "looking.look" for c in calls(p))
    }
    showers = {str(p) for p in FILES if "show_test_images" in names(p)}

    assert lookers == {"hpo/held_out/final.py", "hpo/commands/reproduce.py"}
    assert showers == {"hpo/commands/reproduce.py", "hpo/commands/running.py"}


def test_of_the_command_line_only_run_shows_the_test_images() -> None:
    def users(file: Path, name: str) -> set[str]:
        functions = (node for node in tree(file).body if isinstance(node, ast.FunctionDef))
        return {f.name for f in functions if name in ast.unparse(f) and f.name != name}

    way = Path("hpo/cli/searching.py")
    assert {p for p in FILES if p.parts[1] == "cli" and "to_the_end" in names(p)} == {way}
    assert users(way, "to_the_end") == {"_carried_out"}
    assert users(way, "_carried_out") == {"run"}


def test_a_command_parses_calls_and_prints_and_its_body_fits_fifteen_lines() -> None:
    for path in FILES:
        if path.parts[1] != "cli" or path.stem in ("__init__", "streams", "options"):
            continue
        for node in tree(path).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                body = node.body[bool(ast.get_docstring(node)) :]
                length = (body[-1].end_lineno or 0) - body[0].lineno + 1
                assert length <= 15, f"{path}: {node.name} has {length} lines"


def test_the_map_of_the_rooms_names_every_file_or_says_that_there_are_more() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = [
        line for line in text.split("```text\n")[1].partition("```")[0].splitlines() if line.strip()
    ]
    assert {row.split()[0] for row in rows} == set(rooms.MAY_IMPORT)
    for row in rows:
        room, named = row.split()[0], row[61:].split()
        files = {path.stem for path in (ROOT / "hpo" / room).glob("*.py")} - {"__init__"}
        assert set(named) - {"..."} <= files, row
        assert "..." in named or not named or set(named) == files, row


def test_the_command_line_knows_little_beside_the_commands() -> None:
    known = rooms.modules()
    files = [path for path in FILES if path.parts[1] == "cli"]
    modules = {module for path in files for module in rooms.imported(ROOT / path, known)}
    of_machine = {m.split(".")[2] for m in modules if m.startswith("hpo.machine.")}

    assert {m for m in modules if m.startswith("hpo.views")} == {"hpo.views.story"}
    known = {"console", "cores", "garbage", "hints", "marks", "printable", "search_path", "signals"}
    assert of_machine == known


def test_a_prediction_needs_no_data_set_and_no_database() -> None:
    commands = ("cli/predicting", "commands/classes", "commands/predicting")
    for name in (*commands, "weights/prediction", "weights/pictures", "weights/file"):
        modules = set(imported(Path(f"hpo/{name}.py")))
        forbidden = {
            "hpo.data.sources",
            "hpo.held_out.looking",
            "hpo.database.storage",
            "hpo.database.rows",
            "sqlalchemy",
        }

        assert not modules & forbidden, name


def test_verifying_the_data_evaluates_nothing() -> None:
    ways = ("cli/data.py", "commands/images.py")
    modules = {m for way in ways for m in imported(Path("hpo") / way)} - {"model.data"}

    assert not any(
        m.startswith(("model", "hpo.training.trainer", "hpo.training.single")) for m in modules
    )
