"""The measures as a table for a terminal, as Markdown, and as JSON."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from goals import Row

HEADER = ("measure", "goal", "measured (median and spread)", "verdict")


Accuracies = Mapping[str, Sequence[float]]  #: of the grid's cells, by side


def text(rows: Sequence[Row], about: Mapping[str, str], accuracies: Accuracies) -> str:
    """Return a table in columns, with the notes of a row beneath it."""
    cells = [HEADER, *((r.measure, _goal(r), r.measured, r.verdict) for r in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(HEADER))]
    lines = [
        "  ".join(part.ljust(width) for part, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    table = lines[:1]
    for line, row in zip(lines[1:], rows, strict=True):
        table += [line, f"    {row.note}"] if row.note else [line]
    width = max(map(len, about))
    lines = [*(f"{key:<{width}}  {value}" for key, value in about.items()), "", *table]
    if accuracies:
        lines += ["", "Validation accuracies of the grid"]
    for side, values in accuracies.items():
        lines.append(f"{side:<40}{' '.join(f'{value:.4f}' for value in values)}")
    return "\n".join(lines)


def markdown(rows: Sequence[Row], about: Mapping[str, str], accuracies: Accuracies) -> str:
    """Return what the README can take over."""
    lines = [f"- {key}: {value}" for key, value in about.items()]
    measured = (
        (r.measure, _goal(r), f"{r.measured}; {r.note}" if r.note else r.measured, r.verdict)
        for r in rows
    )
    lines += ["", *_table(HEADER, measured)]
    if accuracies:
        lines += ["", "Validation accuracies of the grid:", ""]
        cells = (str(cell) for cell in range(max(map(len, accuracies.values()))))
        values = ((side, *(f"{a:.4f}" for a in found)) for side, found in accuracies.items())
        lines += _table(("side", *cells), values)
    return "\n".join(lines) + "\n"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]


def _goal(row: Row) -> str:
    return str(row.goal) if row.goal else ""


def as_json(
    rows: Sequence[Row],
    about: Mapping[str, str],
    accuracies: Accuracies,
    seconds: Mapping[str, Sequence[float]],
) -> str:
    """Return everything, with every single value."""
    measures = [
        {
            "measure": row.measure,
            "goal": str(row.goal) if row.goal else None,
            "values": list(row.values),
            "unit": row.unit.strip(),
            "measured": row.measured,
            "note": row.note,
            "verdict": row.verdict,
        }
        for row in rows
    ]
    whole = {
        "about": dict(about),
        "measures": measures,
        "accuracies": dict(accuracies),
        "seconds": dict(seconds),
    }
    return json.dumps(whole, indent=2) + "\n"


def write(folder: Path, name: str, **forms: str) -> list[Path]:
    """Write one file for each form, for example ``md=...``, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for suffix, content in forms.items():
        path = folder / f"{name}.{suffix}"
        path.write_text(content)
        paths.append(path)
    return paths
