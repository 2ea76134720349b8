"""How many cores are used: no more than affinity and every quota around this process allow."""

import os
from pathlib import Path

import pytest

from hpo.machine.cores import usable_cores


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


V2 = "0::/system.slice/hpo.service\n"
V1 = "5:cpu,cpuacct:/docker/1234\n4:memory:/docker/1234\n"


@pytest.mark.parametrize(
    ("groups", "files", "n_cores"),
    [
        ("", {}, 8),  # no control groups at all
        (V2, {}, 8),  # nothing of them can be read
        (V2, {"system.slice/hpo.service/cpu.max": "max 100000\n"}, 8),
        (V2, {"system.slice/hpo.service/cpu.max": "200000 100000\n"}, 2),
        (V2, {"system.slice/hpo.service/cpu.max": "150000 100000\n"}, 2),  # rounded up
        (V2, {"system.slice/hpo.service/cpu.max": "1000 100000\n"}, 1),  # at least one
        (V2, {"system.slice/hpo.service/cpu.max": "75000 25000\n"}, 3),  # of another period
        (V2, {"system.slice/hpo.service/cpu.max": "1600000 100000\n"}, 8),  # more than there are
        (V2, {"system.slice/hpo.service/cpu.max": "max", "system.slice/cpu.max": "300000"}, 8),
        (V2, {"system.slice/cpu.max": "300000 100000"}, 3),  # a limit of the group around it
        (V2, {"system.slice/hpo.service/cpu.max": "400000 100000", "cpu.max": "1 1"}, 1),
        ("0::/\n", {"cpu.max": "200000 100000"}, 2),  # as a container sees itself
        ("0::/../../elsewhere\n", {"cpu.max": "200000 100000"}, 2),
        (V2, {"unified/system.slice/cpu.max": "500000 100000"}, 5),  # both versions are mounted
        (V2, {"cpu.max": ""}, 8),
        (V2, {"cpu.max": "many 100000"}, 8),
        (V2, {"cpu.max": "100000 0"}, 8),
        (V2, {"cpu.max": "-1 100000"}, 8),
    ],
)
def test_a_quota_of_version_2(
    tmp_path: Path, groups: str, files: dict[str, str], n_cores: int
) -> None:
    write(tmp_path, proc__self__cgroup=groups)
    write(tmp_path, **{f"sys/fs/cgroup/{name}": text for name, text in files.items()})
    assert usable_cores(tmp_path) == n_cores


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize("group", ["docker/1234/", "docker/", ""])
@pytest.mark.parametrize(
    ("quota", "period", "n_cores"),
    [("-1", "100000", 8), ("250000", "100000", 3), ("50000", "100000", 1), ("6", "2", 3)],
)
def test_a_quota_of_version_1(
    tmp_path: Path, mount: str, group: str, quota: str, period: str, n_cores: int
) -> None:
    write(tmp_path, proc__self__cgroup=V1)
    for name, text in (("quota", quota), ("period", period)):
        write(tmp_path, **{f"sys/fs/cgroup/{mount}/{group}cpu.cfs_{name}_us": f"{text}\n"})
    assert usable_cores(tmp_path) == n_cores


def test_the_affinity_counts_where_it_is_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, proc__self__cgroup=V2, sys__fs__cgroup__cpu__max="")
    write(tmp_path, **{"sys/fs/cgroup/cpu.max": "400000 100000"})
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert usable_cores(tmp_path) == 1


def test_this_machine_has_a_core() -> None:
    assert usable_cores() >= 1
