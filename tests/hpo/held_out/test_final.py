"""How a study like final ends: looks by all replicates of the best cell, a verdict, and files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from hpo.commands import running
from hpo.commands.doctor import examine
from hpo.commands.request import Order
from hpo.data.source import Source
from hpo.database import digests, outcomes, tables
from hpo.database.looks import looks_of
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.definition.study import StudyDefinition
from hpo.errors import NoResult, OutputError
from hpo.held_out import final
from hpo.held_out.verdict import Verdict
from hpo.held_out.verdict import verdict as read_verdict
from hpo.judging.statistics import mean_accuracy
from hpo.mirror import deleting
from hpo.mirror.study import OpenStudy
from hpo.views.story import Story
from hpo.weights.file import NPZ, SAFETENSORS, read
from hpo.weights.prediction import Pictures, predict
from model.data import Dataset, digits, digits_test

DIGITS = Source(spec="digits", name="digits")
LAST = StudyDefinition(
    name="last", grid=Values((1e-3,)), n_s=10, n_cycles=1, replicates=3, evaluates_test=True
)
Run = Callable[..., OpenStudy]


@pytest.fixture
def run(storage: Storage) -> Run:
    """Run a study to its end: ``run(hidden=10)``."""

    def finish(dataset: Dataset | None = None, **fields: object) -> OpenStudy:
        definition = replace(LAST, **fields)  # type: ignore[arg-type]
        return running.run(
            Order(definition, dataset or digits()), storage, Story(), lambda: False
        ).study

    return finish


def looks(storage: Storage, study: OpenStudy) -> list[sa.Row]:
    return storage.write(lambda connection: looks_of(connection, study.uuid))


def verdict(storage: Storage, study: OpenStudy) -> Verdict:
    found = storage.write(lambda connection: read_verdict(connection, study.stored))
    assert found is not None
    return found


def changed(storage: Storage, table: sa.Table, statement: sa.Executable) -> None:
    """Change rows on purpose, so that they are not taken for damaged ones."""

    def change(connection: sa.Connection) -> None:
        connection.execute(statement)
        digests.seal(connection, table, table.select())

    storage.write(change)


def test_every_replicate_is_shown_the_test_images_once(storage: Storage, run: Run) -> None:
    study = run()

    first, second = (final.show_test_images(study, digits(), DIGITS) for _ in range(2))

    found = looks(storage, study)
    assert first == second
    assert [row.replicate for row in found] == [0, 1, 2]
    assert [row.n_right for row in found] == [look.n_right for look in first]
    assert {row.what for row in found} == {
        f"the final weights of last-digits, cell 0, replicate {i}" for i in range(3)
    }
    assert len({look.n_right for look in first}) > 1  # other seeds are other networks
    assert min(look.accuracy for look in first) > 0.3


def test_a_second_look_is_taken_on_purpose_and_is_a_row_more(storage: Storage, run: Run) -> None:
    study = run()
    first = final.show_test_images(study, digits(), DIGITS)

    second = final.show_test_images(study, digits(), DIGITS, again=True)

    assert second == first  # the same networks and the same images
    assert [row.replicate for row in looks(storage, study)] == [0, 1, 2, 0, 1, 2]
    found = verdict(storage, study)
    assert found.n_looks == 6
    assert len(found.by_replicate) == 3


def test_the_bits_say_which_images_were_right(storage: Storage, run: Run) -> None:
    study = run()
    taken = final.show_test_images(study, digits(), DIGITS)

    for row, look in zip(looks(storage, study), taken, strict=True):
        bits = np.unpackbits(np.frombuffer(row.hits, np.uint8), count=row.n_images)
        assert bits.sum() == look.n_right


def test_the_verdict_is_the_mean_with_its_interval(storage: Storage, run: Run) -> None:
    study = run()
    taken = final.show_test_images(study, digits(), DIGITS)
    bits = np.array(
        [
            np.unpackbits(np.frombuffer(row.hits, np.uint8), count=297).astype(bool)
            for row in looks(storage, study)
        ]
    )

    found = verdict(storage, study)

    expected = mean_accuracy(bits)
    assert found.accuracy == pytest.approx(np.mean([look.accuracy for look in taken]))
    assert found.accuracy == pytest.approx(expected.value)
    assert found.interval == expected
    assert found.spread() == (
        f"95 % interval: {expected.low:.4f} to {expected.high:.4f}, over 297 images and 3 seeds"
    )
    assert found.looks() == "3 for this study"


def test_with_one_replicate_the_interval_is_over_the_images_alone(
    storage: Storage, run: Run
) -> None:
    study = run(replicates=1)
    final.show_test_images(study, digits(), DIGITS)

    found = verdict(storage, study)

    assert found.spread().endswith(", over 297 images alone, as there is only one seed")
    assert looks(storage, study)[0].what == "the final weights of last-digits, cell 0"


def test_looks_of_an_older_hpo_have_no_interval(storage: Storage, run: Run) -> None:
    study = run()
    final.show_test_images(study, digits(), DIGITS)
    old = tables.test_looks.update().where(tables.test_looks.c.replicate == 1).values(hits=None)
    changed(storage, tables.test_looks, old)

    found = verdict(storage, study)

    assert found.interval is None
    assert found.spread().startswith("No 95 % interval: an older hpo kept no bits of its looks; --")
    final.show_test_images(study, digits(), DIGITS, again=True)
    assert verdict(storage, study).interval is not None


def test_looks_of_other_studies_are_told(storage: Storage, run: Run) -> None:
    study, other = run(), run(name="other", seed=1)
    for shown in (study, other):
        final.show_test_images(shown, digits(), DIGITS)

    told = verdict(storage, study).looks()

    assert told == "3 for this study, and 3 for other studies in the same database"


@pytest.mark.parametrize("forgotten", [False, True])
def test_looks_of_a_deleted_study_count_unless_they_are_deleted_on_purpose(
    storage: Storage, run: Run, forgotten: bool
) -> None:
    study = run()
    final.show_test_images(study, digits(), DIGITS)
    deleting.delete(storage, study.stored.name, looks=forgotten)

    again = run()
    final.show_test_images(again, digits(), DIGITS)

    others = "" if forgotten else ", and 3 for other studies in the same database"
    assert verdict(storage, again).looks() == f"3 for this study{others}"
    assert all(not finding.is_open for finding in examine(storage.url))


def test_replicates_that_come_later_are_shown_the_images_then(storage: Storage, run: Run) -> None:
    first = run(replicates=1)
    final.show_test_images(first, digits(), DIGITS)

    grown = run(replicates=3)
    final.show_test_images(grown, digits(), DIGITS)

    assert [row.replicate for row in looks(storage, grown)] == [0, 1, 2]
    assert len(verdict(storage, grown).by_replicate) == 3


def test_the_weights_of_any_number_of_replicates_are_kept(storage: Storage, run: Run) -> None:
    study = run(replicates=5)

    assert len(final.show_test_images(study, digits(), DIGITS)) == 5


def test_the_best_cell_is_that_of_the_highest_mean(storage: Storage, run: Run) -> None:
    study = run(grid=Values((0.9, 1e-3, 4.0)), replicates=2)

    final.show_test_images(study, digits(), DIGITS)

    results = storage.write(lambda connection: outcomes.results_of(connection, study.uuid))
    means = [np.mean([r.value or 0.0 for r in results if r.slot.cell == c]) for c in range(3)]
    assert {row.cell for row in looks(storage, study)} == {int(np.argmax(means))}
    assert len(looks(storage, study)) == 2


def test_a_study_that_diverged_shows_and_writes_nothing(
    storage: Storage, run: Run, tmp_path: Path
) -> None:
    study = run(grid=Values((0.0,)), eta_max=1e12)

    assert final.show_test_images(study, digits(), DIGITS) == []
    assert storage.write(lambda connection: read_verdict(connection, study.stored)) is None
    assert final.write_model(study, digits(), tmp_path / "model") == []
    assert not (tmp_path / "model").exists()


def test_nothing_is_written_before_there_was_a_look(
    storage: Storage, run: Run, tmp_path: Path
) -> None:
    assert final.write_model(run(), digits(), tmp_path / "model") == []


@pytest.mark.parametrize("normalisation", ["image", "feature", "none"])
@pytest.mark.parametrize("loss", ["cross-entropy", "binary-cross-entropy"])
def test_the_files_give_the_predictions_that_were_tested(
    storage: Storage, run: Run, tmp_path: Path, normalisation: str, loss: str
) -> None:
    study = run(normalisation=normalisation, loss=loss)
    final.show_test_images(study, digits(), DIGITS)

    written = final.write_model(study, digits(), tmp_path / "model")

    assert [path.name for path in written] == [NPZ, SAFETENSORS, "model-card.md"]
    test = digits_test()
    given = Pictures([str(i) for i in range(297)], test.images, test.labels)
    for path in written[:2]:
        weights = read(path)
        replicate = int(weights.about["replicate"])
        row = next(r for r in looks(storage, study) if r.replicate == replicate)
        right = predict(weights, given).classes[:, 0] == test.labels
        expected = np.unpackbits(np.frombuffer(row.hits, np.uint8), count=297).astype(bool)
        np.testing.assert_array_equal(right, expected)


def test_the_network_of_the_best_validation_accuracy_is_written(
    storage: Storage, run: Run, tmp_path: Path
) -> None:
    study = run()
    taken = final.show_test_images(study, digits(), DIGITS)
    results = storage.write(lambda connection: outcomes.results_of(connection, study.uuid))
    best = max(results, key=lambda r: (r.value or 0, -r.slot.replicate))

    about = read(final.write_model(study, digits(), tmp_path)[0]).about

    assert about["study"] == "last-digits"
    assert (about["cell"], about["replicate"]) == ("0", str(best.slot.replicate))
    assert float(about["lambda"]) == 1e-3
    assert float(about["validation_accuracy"]) == best.value
    assert float(about["test_accuracy"]) == taken[best.slot.replicate].accuracy
    assert float(about["mean_test_accuracy"]) == verdict(storage, study).accuracy
    assert about["dataset_fingerprint"] == digits().fingerprint
    assert about["normalisation_statistics"].startswith("mean and population deviation of each im")
    assert about["test_looks"] == "3"


def test_of_equal_replicates_the_first_is_written(
    storage: Storage, run: Run, tmp_path: Path
) -> None:
    study = run()
    final.show_test_images(study, digits(), DIGITS)
    changed(storage, tables.results, tables.results.update().values(value=0.5))

    about = read(final.write_model(study, digits(), tmp_path)[0]).about

    assert about["replicate"] == "0"


def test_the_files_are_the_same_bytes_every_time(
    storage: Storage, run: Run, tmp_path: Path
) -> None:
    study = run()
    final.show_test_images(study, digits(), DIGITS)

    one, two = (final.write_model(study, digits(), tmp_path / n) for n in ("a", "b"))

    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def test_weights_that_are_gone_are_a_sentence(storage: Storage, run: Run, tmp_path: Path) -> None:
    study = run()
    final.show_test_images(study, digits(), DIGITS)
    storage.write(lambda connection: connection.execute(tables.checkpoints.delete()))

    with pytest.raises(NoResult, match=r"The weights of cell 0, replicate \d, are not stored"):
        final.write_model(study, digits(), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_folder_that_cannot_be_made_is_a_sentence_and_loses_nothing(
    storage: Storage, run: Run, tmp_path: Path
) -> None:
    study = run()
    final.show_test_images(study, digits(), DIGITS)
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError, match=r"Cannot write .*file/model"):
        final.write_model(study, digits(), tmp_path / "file/model")
    assert len(final.write_model(study, digits(), tmp_path / "model")) == 3


def test_without_safetensors_there_is_a_line_about_it(
    storage: Storage, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = run()
    final.show_test_images(study, digits(), DIGITS)
    monkeypatch.setattr(final, "safetensors_bytes", lambda weights: None)
    told: list[str] = []

    written = final.write_model(study, digits(), tmp_path, told.append)

    assert [path.name for path in written] == [NPZ, "model-card.md"]
    assert len(told) == 1
    assert told[0].startswith("safetensors is not installed, so there is no weights.safetensors")
