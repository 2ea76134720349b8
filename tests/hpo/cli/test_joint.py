"""``hpo run joint`` as its user meets it, on digits with a budget of a second."""

import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studies import joint

SCRIPT = Path(sys.executable).with_name("hpo")
Command = Callable[..., Any]
RUN = ("run", "joint", "--data", "digits", "--budget", "12000")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose hpo.db holds a joint study that is done."""
    folder = tmp_path_factory.mktemp("joint")
    done = subprocess.run([SCRIPT, *RUN], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (folder / "out").write_text(done.stdout)
    (folder / "err").write_text(done.stderr)
    return folder


@pytest.fixture
def storage(finished: Path) -> str:
    return f"sqlite:///{finished / 'hpo.db'}"


def test_a_search_prints_its_ten_best_cells_the_best_first(finished: Path) -> None:
    told = (finished / "out").read_text().splitlines()
    heading, columns, *cells, more, best = [s for s in told if not s.endswith("was taken")]

    assert re.fullmatch(
        r"joint-digits: (\d+) of \1 done, 1\d,\d{3} of 12,000 updates by curves, 1200 training and "
        r"300 validation images",
        heading,
    )
    assert columns.split() == [
        "cell", "lambda", "eta_max", "n_s", "normalisation", "flip_probability", "updates",
        "seeds", "validation", "accuracy",
    ]  # fmt: skip
    assert [line.endswith("best") for line in cells] == [True] + 9 * [False]
    accuracies = [line.split()[8] for line in cells if "  pruned after cycle " not in line]
    assert accuracies == sorted(accuracies, reverse=True)
    n_more = int(re.findall(r"\d+ of (\d+) done", heading)[0]) - 10
    assert more == f"and {n_more} more: `hpo export joint-digits --format csv-trials`"
    assert best.startswith("Best: lambda 0.")
    assert f"normalisation {cells[0].split()[4]}," in best


def test_a_search_spends_its_budget_and_cuts_more_than_half_of_its_cells(storage: str) -> None:
    exported = subprocess.run(
        [SCRIPT, "export", "joint-digits", "--storage", storage], capture_output=True, check=True
    )
    trials = json.loads(exported.stdout)["trials"]
    cut = [trial for trial in trials if trial["state"] == "pruned"]
    assert len(trials) / 2 < len(cut) < len(trials)
    assert 0.97 * 12_000 < sum(trial["curve"]["update"][-1] for trial in trials) <= 12_000


def test_a_search_tells_its_story(finished: Path) -> None:
    told = (finished / "err").read_text()

    assert "joint-digits: 8 more proposals, 16 in all" in told
    assert re.search(r"joint-digits: cell \d+ \(lambda .*\): pruned", told)
    shares = [int(share) for share in re.findall(r"of 12,000 updates \((\d+)%\)", told)]
    assert all(share <= 100 for share in shares)


def test_run_again_it_trains_nothing(finished: Path, storage: str, process: Command) -> None:
    answer = process(*RUN, "--storage", storage)

    assert (
        answer.out.replace(f" --storage {shlex.quote(storage)}", "")
        == (finished / "out").read_text()
    )
    assert "were done before; nothing was trained" in answer.err


def test_a_dry_run_of_a_finished_search_has_nothing_to_make(storage: str, command: Command) -> None:
    told = command(*RUN, "--dry-run", "--storage", storage).out

    assert "updates: 0 to make, within a budget of 12,000" in told


def test_every_reader_knows_searches(storage: str, command: Command, tmp_path: Path) -> None:
    best = command("best", "joint-digits", "--storage", storage).out
    assert re.search(r"^joint-digits: cell \d+ \(lambda [\d.e-]+, eta_max ", best)
    assert re.search(r"corrected for having been chosen from \d+ cells: 0\.", best)
    assert re.search(r"not compared, and never the winner: cells \d+ \(pruned\)", best)
    assert "largest lambda" not in best
    status = command("status", "--storage", storage).out
    assert re.search(r"^joint-digits .* 0\.\d{4} at cell \d+$", status, re.MULTILINE)
    listed = command("list", "--storage", storage).out
    assert " a budget of 12,000 updates for curves, standard protocol" in listed
    exported = json.loads(command("export", "joint-digits", "--storage", storage).out)
    assert {trial["state"] for trial in exported["trials"]} == {"complete", "pruned"}
    header, *rows = command(
        "export", "joint-digits", "--format", "csv", "--storage", storage
    ).out.splitlines()
    assert header.startswith(
        "cell,replicate,lambda,eta_max,n_s,normalisation,flip_probability,state,update,"
    )
    assert rows[0].split(",")[5] in ("image", "feature")
    assert "Everything is sound." in command("doctor", "--storage", storage).out


def test_final_takes_over_the_recipe(storage: str, command: Command) -> None:
    answer = command(
        "run", "final", "--from", "joint-digits", "--data", "digits", "--storage", storage
    )

    assert answer.status == 0, answer.err
    table = command("best", "joint-digits", "--storage", storage).out
    (cell,) = re.findall(r"^joint-digits: cell (\d+)", table)
    assert f"Recipe of cell {cell} of joint-digits: 3 cycles of n_s " in answer.out
    assert "Test accuracy: 0." in answer.out
    card = Path("final-digits-model/model-card.md").read_text()
    assert f"cell {cell} of the study joint-digits" in card
    normalisation = re.findall(r"normalisation (\w+), flip", answer.out)[0]
    assert f"Normalisation\n`{normalisation}`" in card or f"`{normalisation}`" in card


def test_a_dry_run_says_what_would_be_searched(command: Command) -> None:
    told = command(*RUN, "--sampler", "qmc", "--dry-run").out

    assert "  lambda: 0.0003 to 0.01, on a logarithmic scale" in told
    assert "  n_s: 24 to 96 in steps of 12" in told
    assert (
        "search:  qmc, 8 proposals at a time, of which one in 2 goes on after each cycle\n" in told
    )
    assert "updates: 12,000 to make, within a budget of 12,000; 3 cycles for a cell" in told
    assert not Path("hpo.db").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("coarse", "--sampler", "curves"), "A sampler is for a study that searches a space"),
        (
            ("coarse", "--budget", "9"),
            "A budget is for a study that searches a space, as joint does",
        ),
        (
            ("joint", "--sampler", "luck"),
            "must be one of curves, tpe, random, qmc, grid, gp, cmaes; got 'luck'",
        ),
        (
            ("joint", "--budget", "9000", "--budget-minutes", "1"),
            "A study has one budget; give one of --budget, --budget-epochs and --budget-minutes",
        ),
        (("coarse", "--budget-minutes", "9"), "A budget is for a study that searches a space"),
        (("joint", "--budget", "200"), "A budget of 200 updates is too small for 'joint'"),
        (
            ("joint", "--sampler", "cmaes"),
            "must be left out for the sampler cmaes, which is for numbers",
        ),
        (("joint", "--protocol", "notebook"), "which the notebook did not do"),
    ],
)
def test_a_mistake_is_one_sentence(
    command: Command, arguments: tuple[str, ...], sentence: str
) -> None:
    answer = command("run", *arguments, "--data", "digits")

    assert sentence in answer.sentence
    assert not Path("hpo.db").exists()


def test_a_race_is_said_where_the_budget_has_one(command: Command) -> None:
    told = command("run", "joint", "--data", "digits", "--budget", "600000", "--dry-run").out

    assert "after each cycle; the best 4 get more seeds from 30% of the budget" in told


def test_a_smaller_budget_is_refused(storage: str, command: Command) -> None:
    answer = command("run", "joint", "--data", "digits", "--budget", "5000", "--storage", storage)

    assert "'joint-digits' has a budget of 12,000 updates, asked for are 5,000" in answer.sentence
    unsaid = command("run", "joint", "--data", "digits", "--storage", storage).sentence
    assert "its definition one of 8,000. Say --budget 12000 to go on with what is stored" in unsaid


def test_a_search_that_says_no_budget_fits_the_data_and_keeps_one_of_before(
    command: Command,
) -> None:
    run = ("run", "joint", "--data", "digits", "--dry-run")
    assert "within a budget of 8,000;" in command(*run).out

    command("submit", "joint", "--data", "digits", "--budget", "300000")

    assert "within a budget of 300,000;" in command(*run).out


def test_a_joint_of_before_goes_on_with_its_validation_images_and_their_budget(
    command: Command, write_npz: Callable[..., str]
) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (1000, 4, 4), dtype=np.uint8), rng.integers(0, 3, 1000)
    data = ("--data", write_npz(images=images, labels=labels))
    before = Path(joint.__file__).read_text().replace("n_validation=0.2", "n_validation=5000")
    Path("before").mkdir()
    Path("before/joint.py").write_text(before)
    dry_run = ("run", "joint", *data, "--dry-run")
    assert "within a budget of 5,333;" in command(*dry_run).out  # 2000 / 3 epochs of 8 updates
    assert command("submit", "before/joint.py", *data).status == 0

    assert "within a budget of 6,000;" in command(*dry_run).out  # of 9
    assert command("submit", "joint", *data).status == 0
    assert "within a budget of 6,300;" in command(*dry_run, "--budget-epochs", "700").out
    export = json.loads(command("export", "joint-mine").out)
    assert (export["data"]["n_train"], export["data"]["n_validation"]) == (900, 100)
    Path("before/joint.py").write_text(before.replace("5000", "0.3"))
    answer = command("run", "before/joint.py", *data)
    assert "n_validation: stored 5000, asked for 0.3" in answer.sentence


@pytest.mark.parametrize("value", ["0", "-3", "many", "1e30", "nan"])
@pytest.mark.parametrize("option", ["--budget", "--budget-epochs", "--budget-minutes"])
def test_a_budget_that_is_none_is_one_sentence(command: Command, option: str, value: str) -> None:
    answer = command("run", "joint", "--data", "digits", f"{option}={value}")

    assert re.match(r"hpo: A budget in (updates|epochs|minutes) must be a ", answer.sentence)
    assert not Path("hpo.db").exists()


def test_the_start_says_about_how_long_it_takes(finished: Path) -> None:
    told = (finished / "err").read_text()

    assert re.search(r"joint: 12,000 updates at most, which take about \d+ s with \d worker", told)


def test_epochs_are_updates_of_the_data(command: Command) -> None:
    told = command("run", "joint", "--data", "digits", "--budget-epochs", "100", "--dry-run").out

    assert "within a budget of 1,200;" in told


@pytest.mark.long
def test_interrupted_it_says_what_is_left_and_goes_on(workplace: Path, finished: Path) -> None:
    with subprocess.Popen(
        [SCRIPT, *RUN], cwd=workplace, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "16 in all" in line:
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(timeout=30) == 130
    assert re.search(r"Interrupted: \d+ of 16 cells of joint-digits are done, \d+ are left", rest)
    assert re.search(r"and [\d,]+ updates for more\. Run the same command to go on\.", rest)

    done = subprocess.run([SCRIPT, *RUN], cwd=workplace, capture_output=True, text=True)

    assert done.stdout == (finished / "out").read_text()


@pytest.mark.long
def test_submitted_it_waits_for_workers(workplace: Path, process: Command, finished: Path) -> None:
    told = process("submit", "joint", "--data", "digits", "--budget", "12000").out
    assert told == "joint-digits: 8 of 8 trials are waiting or running.\n"

    answer = process("worker", "--data", "digits")

    assert answer.status == 0, answer.err
    shown = process(*RUN)
    assert shown.out == (finished / "out").read_text()
    assert "nothing was trained" in shown.err
