"""The example notebook runs from top to bottom, and its types are right."""

import runpy
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "notebook.py"


def test_the_notebook_runs_from_coarse_to_final(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    made = runpy.run_path(str(NOTEBOOK))

    assert made["final"].is_complete
    assert made["study"].name == "mine-digits"
    told = capsys.readouterr()
    assert f"test accuracy: {made['final'].verdict().accuracy:.4f}" in told.out
    for name in ("coarse-digits", "final-digits", "fine-digits", "mine-digits"):
        assert f"\n{name} Status(n_slots=" in told.out
    assert told.err == ""
