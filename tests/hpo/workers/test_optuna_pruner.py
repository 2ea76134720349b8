"""Optuna's pruners cut cells at the ends of cycles."""

import dataclasses
from typing import Any

import pytest

from hpo.commands import doctor
from tests.hpo.planning.halved import HALVED, entries, run

pytestmark = pytest.mark.sqlite_first


@pytest.mark.parametrize(
    "pruner",
    [
        "median:n_startup_trials=1",
        "percentile:percentile=50,n_startup_trials=1",
        "async-halving:reduction_factor=2",
        "hyperband:max_resource=3,reduction_factor=2",
        "threshold:lower=1.0",
        "patient:patience=0",
        "wilcoxon",
    ],
)
def test_optunas_pruners_cut_at_cycle_ends(tmp_path: Any, pruner: str) -> None:
    url = f"sqlite:///{tmp_path / 'hpo.db'}"
    study = run(url, dataclasses.replace(HALVED, pruner=pruner))
    found = entries(url, study)
    assert len(found) == 10
    for entry in found:
        assert (entry["state"] == "complete") == (entry["cycles"] == 3)
        assert entry["state"] in ("complete", "pruned")
    if pruner.startswith("threshold"):  # no accuracy is above 1
        assert {entry["cycles"] for entry in found} == {1}
    assert [f.text for f in doctor.examine(url) if f.is_wrong] == []
