"""The rooms of ``hpo/``: its folders, which may import which, in how many layers, without circles.

``python tests/rooms.py`` prints what the code does; `tests/test_layers.py` holds it to what is
written here. A room is a folder, or a file that stands beside them.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

#: Who comes in from outside: they see what they need, and nobody in the rooms sees them.
DOORS = (("hpo", "__init__"), ("hpo", "__main__"), ("hpo", "testing"))
#: Lower rooms first; each may import the rooms that are named, and no other.
MAY_IMPORT = {
    "errors": "",
    "machine": "errors",
    "definition": "errors machine",
    "data": "errors machine",
    "weights": "errors machine",
    "experiment": "errors definition",
    "judging": "experiment",
    "training": "errors machine definition experiment",
    "database": "errors machine experiment",
    "search": "errors definition experiment judging",
    "mirror": "errors definition experiment judging database",
    "planning": "errors definition experiment judging database search mirror",
    "held_out": "errors machine data weights experiment judging training database mirror",
    "workers": "errors machine definition data experiment training database search mirror planning",
    "health": "errors machine experiment database mirror planning",
    "views": "errors machine definition data experiment judging training database search mirror "
    "planning held_out",
    "commands": "errors machine definition data weights experiment judging training database search mirror "
    "planning held_out workers health views",
    "cli": "errors machine views commands",
}


def room_of(module: str) -> str:
    """Return ``database`` for ``hpo.database.rows``."""
    return module.split(".")[1]


def modules() -> dict[str, Path]:
    """Return the file of every module in the rooms; the doors, before them, see them all."""
    found = {}
    for path in sorted((ROOT / "hpo").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts in DOORS:
            continue
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Yield the modules of ours that a file imports: in functions, and for annotations, too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield from (name for name in (inner, str(node.module)) if name in known)


def arrows() -> dict[tuple[str, str], set[str]]:
    """Return which modules make each arrow from one room to another."""
    known = modules()
    found: dict[tuple[str, str], set[str]] = {}
    for module, path in known.items():
        for target in imported(path, known):
            ends = (room_of(module), room_of(target))
            if ends[0] != ends[1]:
                found.setdefault(ends, set()).add(f"{module} imports {target}")
    return found


def layers(ends: set[tuple[str, str]]) -> list[set[str]]:
    """Return the nodes of a graph from the bottom up, each above all that it points to.

    Raises:
        ValueError: They stand in a circle, whose members are named.
    """
    left = {node for pair in ends for node in pair}
    found: list[set[str]] = []
    while left:
        free = {node for node in left if not any(a == node and b in left for a, b in ends)}
        if not free:
            raise ValueError(f"a circle among {', '.join(sorted(left))}")
        found.append(free)
        left -= free
    return found


def between_modules() -> set[tuple[str, str]]:
    """Return the arrows between single modules."""
    known = modules()
    return {
        (module, target)
        for module, path in known.items()
        for target in imported(path, known)
        if module != target and known[target].name != "__init__.py"
    }


def main() -> None:
    """Print the rooms with what they import, the layers, and the circles."""
    found = arrows()
    for room in MAY_IMPORT:
        targets = sorted(b for a, b in found if a == room)
        n_files = sum(room_of(module) == room for module in modules())
        print(f"{room:<11}{n_files:>3} files  imports {', '.join(targets) or 'nothing of ours'}")
    for number, layer in enumerate(layers(set(found)), start=1):
        print(f"layer {number}: {', '.join(sorted(layer))}")
    n_layers = len(layers(between_modules()))
    print(
        f"{len(MAY_IMPORT)} rooms; {n_layers} layers of single modules; no circle in either graph"
    )


if __name__ == "__main__":
    main()
