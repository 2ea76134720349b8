"""What ``hpo launcher`` prints is what others' programs take, and does what it says."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hpo
from hpo.commands import launchers, looking
from hpo.errors import HpoError

SCRIPT = Path(sys.executable).with_name("hpo")


def test_systemd_finds_no_fault_in_the_unit(tmp_path: Path) -> None:
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("systemd-analyze is not on this machine")
    unit = tmp_path / "hpo.service"
    unit.write_text(launchers.text("systemd", 2, "cifar10"))
    done = subprocess.run([verify, "verify", unit], capture_output=True, text=True, timeout=60)
    about_it = [line for line in done.stderr.splitlines() if "hpo.service" in line]
    assert (done.returncode, about_it) == (0, []), done.stderr


def test_a_path_with_a_blank_is_one_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "a folder" / "hpo")])
    assert f'ExecStart="{tmp_path}/a folder/hpo" serve' in launchers.text("systemd", 1, "digits")
    assert f"'{tmp_path}/a folder/hpo' worker" in launchers.text("slurm", 1, "digits")


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Start the script as Slurm would, with an `scontrol` that writes down what it is told."""
    settings = tmp_path / ".config" / "hpo"
    settings.mkdir(parents=True)
    url = f"sqlite:///{tmp_path / 'hpo.db'}"
    (settings / "environment").write_text(f"export HPO_STORAGE='{url}'\n")
    control = tmp_path / "bin" / "scontrol"
    control.parent.mkdir()
    control.write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/requeued"\n')
    control.chmod(0o755)
    script = tmp_path / "hpo.sbatch"
    monkeypatch.setattr(sys, "argv", [str(SCRIPT)])
    text = launchers.text("slurm", 2, "digits")
    script.write_text(text.replace("--idle-exit 300", "--idle-exit 1"))

    def start() -> "subprocess.Popen[str]":
        environ = os.environ | {
            "HOME": str(tmp_path),
            "PATH": f"{control.parent}:{os.environ['PATH']}",
            "SLURM_ARRAY_JOB_ID": "77",
            "SLURM_ARRAY_TASK_ID": "2",
            "HPO_CACHE": str(tmp_path / "cache"),
        }
        return subprocess.Popen(
            ["bash", script], env=environ, cwd=tmp_path, stderr=subprocess.PIPE, text=True
        )

    return start


@pytest.mark.long
def test_the_slurm_script_works_until_nothing_waits(slurm: Any, tmp_path: Path) -> None:
    study = hpo.submit("coarse", data="digits", storage=f"sqlite:///{tmp_path / 'hpo.db'}")
    process = slurm()
    _, told = process.communicate(timeout=120)
    assert process.returncode == 0, told
    assert study.is_complete
    assert not (tmp_path / "requeued").exists()


@pytest.mark.long
def test_the_slurm_script_gives_back_and_queues_again_when_its_time_is_up(
    slurm: Any, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'hpo.db'}"
    endless = hpo.StudyDefinition(
        name="endless", grid=hpo.Values((1e-3, 1e-2)), n_s=200_000, n_cycles=1
    )
    hpo.submit(endless, data="digits", storage=url)
    process = slurm()
    for line in process.stderr:
        if "in one stack" in line:
            break
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 143, told
    assert (tmp_path / "requeued").read_text() == "requeue 77_2\n"
    told = json.loads(looking.waiting(url, print, "json"))["queue"]
    assert [(one["waiting"], one["running"]) for one in told] == [(2, 0)]


def test_kubernetes_finds_no_fault_in_its_objects() -> None:
    validate = pytest.importorskip("kubernetes_validate")
    yaml = pytest.importorskip("yaml")
    found = list(yaml.safe_load_all(launchers.text("kubernetes", 3, "digits")))
    assert [one["kind"] for one in found] == [
        "Deployment", "Job", "TriggerAuthentication", "ScaledObject",
    ]  # fmt: skip
    for one in found[:2]:
        validate.validate(one, validate.latest_version(), strict=True)
    query = found[3]["spec"]["triggers"][0]["metadata"]["query"]
    assert "hpo_attempts" in query
    assert "password" not in str(found)


def test_the_query_for_the_scaler_counts_stacks(postgresql_url: str) -> None:
    import sqlalchemy as sa
    import yaml

    hpo.submit("coarse", data="digits", storage=postgresql_url, replicates=3)
    found = list(yaml.safe_load_all(launchers.text("kubernetes", 3, "digits")))
    query = found[3]["spec"]["triggers"][0]["metadata"]["query"]
    engine = sa.create_engine(postgresql_url)
    with engine.connect() as connection:
        assert connection.execute(sa.text(query)).scalar_one() == 2  # 24 trials
    engine.dispose()


@pytest.mark.parametrize("data", ["", 'x"y', "a\nb", "50%", "$HOME/x"])
def test_data_that_cannot_stand_in_such_a_file_is_refused(data: str) -> None:
    with pytest.raises(HpoError, match="--data must be"):
        launchers.text("systemd", 1, data)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(HpoError, match="systemd, slurm, kubernetes"):
        launchers.text("cron", 1, "digits")
