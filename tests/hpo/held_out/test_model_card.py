"""The model card: every figure of it, and its own instructions carried out."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from hpo.commands import running
from hpo.commands.request import Order
from hpo.data.source import Source
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.definition.study import StudyDefinition
from hpo.held_out import final
from hpo.held_out.verdict import Verdict
from hpo.held_out.verdict import verdict as read_verdict
from hpo.views.story import Story
from hpo.weights.file import NPZ, Weights, read
from model.data import digits, digits_test
from model.network import forward
from model.normalisation import Inputs


@dataclass(frozen=True)
class Written:
    """A model on disk, with what the test images said."""

    folder: Path
    card: str
    verdict: Verdict
    weights: Weights


@pytest.fixture(params=["image", "feature", "none"], scope="module")
def written(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Written]:
    """A study on digits, finished and written down."""
    tmp_path = tmp_path_factory.mktemp("card")
    storage = Storage(f"sqlite:///{tmp_path / 'hpo.db'}")
    source, dataset = Source(spec="digits", name="digits"), digits()
    definition = StudyDefinition(
        name="last",
        grid=Values((0.00012345,)),
        n_s=10,
        n_cycles=2,
        replicates=2,
        normalisation=request.param,
        evaluates_test=True,
    )
    study = running.run(Order(definition, dataset), storage, Story(), lambda: False).study
    final.show_test_images(study, dataset, source)
    verdict = storage.write(lambda connection: read_verdict(connection, study.stored))
    final.write_model(study, dataset, tmp_path / "model")
    card = (tmp_path / "model" / "model-card.md").read_text()
    assert verdict is not None
    yield Written(tmp_path / "model", card, verdict, read(tmp_path / "model" / NPZ))
    storage.close()


def test_the_card_says_what_a_reader_must_know(written: Written) -> None:
    card, verdict, about = written.card, written.verdict, written.weights.about

    assert card.startswith("# last-digits: a two-layer classifier of digits\n")
    for told in (
        "64 inputs, 50 hidden units (ReLU)",
        "3,760 parameters in float32",
        "digits: 1,200 training images; the 300 images before them",
        "The 297 test images",
        digits().fingerprint,
        "| lambda (L2 penalty) | 0.00012345, given by hand |",
        "| length | 40 updates, 2 whole cycles |",
        f"| **test, mean** | **{verdict.accuracy:.4f}** | 2 replicates; {verdict.spread()} |",
        f"| validation, this network | {float(about['validation_accuracy']):.4f} | 300 images; the b",
        f"| test, this network | {float(about['test_accuracy']):.4f} | 297 images |",
        "Looks at the test images: 2 for this study.",
        f"Normalisation `{written.weights.normalisation}`",
        "## Intended use and limits",
        f"numpy {np.__version__}",
        f"hpo {about['hpo_version']} wrote it",
    ):
        assert told in " ".join(card.split("\n")), told


def test_the_digests_on_the_card_are_those_of_the_files(written: Written) -> None:
    told = dict(re.findall(r"^\| (\S+) \| `([0-9a-f]{64})` \|$", written.card, re.MULTILINE))

    assert set(told) == {"weights.npz", "weights.safetensors"}
    for name, expected in told.items():
        assert hashlib.sha256((written.folder / name).read_bytes()).hexdigest() == expected
    assert f"| the arrays in it | `{written.weights.about['sha256']}` |" in written.card


def test_the_program_on_the_card_runs_and_predicts_the_same(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", written.card, re.DOTALL)
    monkeypatch.chdir(written.folder)
    test, weights = digits_test(), written.weights
    names = {"images": test.images.astype(float)}

    exec(program, names)  # it is what a reader will do

    inputs = Inputs(test, weights.normalisation, np.float32, weights.statistics).all()
    expected = forward(weights.network, inputs).argmax(axis=1)
    assert (names["classes"] == expected).mean() > 0.99  # in float64 a tie may fall otherwise
    names["stored"].close()  # type: ignore[attr-defined]


def test_lines_are_short_enough_to_read(written: Written) -> None:
    prose = [line for line in written.card.splitlines() if not line.startswith("|")]

    assert max(map(len, prose)) <= 100
