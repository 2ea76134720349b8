"""``hpo run`` of a study that is stored with other settings: refused with the difference, or grown."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.hpo.cli.remains import stored

Command = Callable[..., Any]


def test_another_seed_under_the_same_name_is_refused_with_the_difference(
    command: Command, write_study: Command, workplace: Path
) -> None:
    command("run", write_study(), "--data", "digits")
    before = stored(workplace, "select * from hpo_studies")

    told = command("run", "tiny.py", "--data", "digits", "--seed", "7").sentence

    assert told.splitlines() == [
        "hpo: The stored study 'tiny-digits' is a different experiment; nothing was run:",
        "  seed: stored 0, asked for 7",
        "Run it as it was stored, give the new one a name with --name, or remove the old one with "
        "`hpo delete tiny-digits`.",
    ]
    assert stored(workplace, "select * from hpo_studies") == before


def test_another_seed_under_another_name_gives_other_results(
    command: Command, write_study: Command
) -> None:
    study = write_study()
    for name, seed in (("zero", "0"), ("seven", "7"), ("again", "7")):
        command("run", study, "--data", "digits", "--name", name, "--seed", seed)

    curves = [
        json.loads(command("export", name).out)["trials"] for name in ("zero", "seven", "again")
    ]

    assert curves[1] == curves[2]
    assert curves[0] != curves[1]


def test_other_data_under_the_same_name_is_refused(
    command: Command, write_study: Command, write_npz: Command
) -> None:
    study = write_study(batch_size=10)
    command("run", study, "--data", "digits", "--name", "it")

    told = command("run", study, "--data", write_npz(), "--name", "it").sentence

    assert "\n  data fingerprint: stored " in told
    assert "\n  data name: stored digits, asked for mine\n" in told


def test_a_changed_study_file_is_refused(command: Command, write_study: Command) -> None:
    command("run", write_study(), "--data", "digits")

    told = command("run", write_study(n_s=12, hidden=20), "--data", "digits").sentence

    assert "\n  hidden: stored 50, asked for 20\n  n_s: stored 10, asked for 12\n" in told


def test_more_replicates_may_be_asked_for_later(
    command: Command, write_study: Command, workplace: Path
) -> None:
    command("run", write_study(), "--data", "digits")
    before = json.loads(command("export", "tiny-digits").out)["trials"]

    answer = command("run", write_study(replicates=2), "--data", "digits")

    assert answer.out.startswith("tiny-digits: 6 of 6 done")
    after = json.loads(command("export", "tiny-digits").out)["trials"]
    assert [t for t in after if t["replicate"] == 0] == before
    assert [(t["cell"], t["replicate"]) for t in after] == [
        (cell, replicate) for cell in range(3) for replicate in range(2)
    ]
