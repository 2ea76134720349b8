"""What a dashboard is shown is ours: the winner, means, curves, a note; and nothing is written for it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from hpo.database import outcomes, shown_storage, tables
from hpo.database.reader import Reader
from hpo.database.storage import Storage
from hpo.judging import ranking
from hpo.mirror import dashboard_storage
from hpo.mirror.dashboard_storage import DashboardStorage, Remarks
from hpo.mirror.study import OpenStudy
from hpo.views import remarks
from tests.hpo import small_grid

RunGrid = Callable[..., Any]
SEVERAL = replace(small_grid.SMALL, replicates=3, pruner="none")


@pytest.fixture
def shown(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> Iterator[DashboardStorage]:
    monkeypatch.setattr(dashboard_storage, "KEPT_FOR", -1.0)  # each look is a new one
    reader = Reader(storage.url)
    yield DashboardStorage(shown_storage.opened(reader), reader, remarks.of_study)
    reader.close()


def study_of(shown: DashboardStorage, name: str = "small-digits") -> optuna.Study:
    return optuna.load_study(study_name=name, storage=shown)


def trial_of(study: optuna.Study, cell: int, replicate: int) -> optuna.trial.FrozenTrial:
    wanted = {"cell": cell, "replicate": replicate}
    [found] = [t for t in study.trials if wanted.items() <= t.user_attrs.items()]
    return found


def note_of(study: optuna.Study) -> str:
    from optuna_dashboard import get_note

    return str(get_note(study))


def set_values(storage: Storage, study: OpenStudy, values: dict[tuple[int, int], float]) -> None:
    """Give results other values, as if the networks had been as good as that."""

    def write(connection: Any) -> None:
        for (cell, replicate), value in values.items():
            table = tables.results
            this = (table.c.cell == cell) & (table.c.replicate == replicate)
            row = connection.execute(table.select().where(this)).one()._mapping
            connection.execute(table.delete().where(this))  # and insert: its digest is made anew
            kept = {key: row[key] for key in row if key not in ("digest", "value")}
            connection.execute(table.insert().values(**kept, value=value))

    storage.write(write)


def lucky(storage: Storage) -> OpenStudy:
    """Let cell 0 have the best network, and cell 2 the best mean."""
    study = small_grid.opened(storage)
    means = {0: (0.9, 0.5, 0.5), 1: (0.6, 0.6, 0.6), 2: (0.7, 0.8, 0.75), 3: (0.1, 0.1, 0.1)}
    set_values(
        storage, study, {(c, r): v for c, values in means.items() for r, v in enumerate(values)}
    )
    return study


def test_the_best_trial_is_of_the_cell_with_the_best_mean(
    storage: Storage, run_grid: RunGrid, shown: DashboardStorage
) -> None:
    run_grid(SEVERAL)
    study = lucky(storage)
    results = storage.read(lambda c: outcomes.results_of(c, study.uuid))
    assert ranking.best_cell(results, study.experiment) == 2

    best = study_of(shown).best_trial

    assert (best.user_attrs["cell"], best.user_attrs["replicate"]) == (2, 1)
    assert best.value == pytest.approx(0.75)
    assert best.user_attrs["accuracy of this network"] == 0.8
    top = max(study_of(shown).trials, key=lambda trial: trial.value or 0)
    assert top.user_attrs["cell"] == 2


def test_a_value_is_the_mean_of_its_cell(
    storage: Storage, run_grid: RunGrid, shown: DashboardStorage
) -> None:
    run_grid(SEVERAL)
    lucky(storage)

    trial = trial_of(study_of(shown), 0, 0)

    assert trial.value == trial.user_attrs["mean of its cell"] == pytest.approx(1.9 / 3)
    assert trial.user_attrs["accuracy of this network"] == 0.9


def test_a_lucky_seed_does_not_lead_before_the_others_of_its_cell_are_there(
    storage: Storage, run_grid: RunGrid, shown: DashboardStorage
) -> None:
    run_grid(SEVERAL)
    lucky(storage)
    lost = (tables.results.c.cell == 0) & (tables.results.c.replicate == 2)
    storage.write(lambda c: c.execute(tables.results.delete().where(lost)))

    study = study_of(shown)
    trial = trial_of(study, 0, 0)

    assert (trial.state, trial.value) == (TrialState.RUNNING, None)
    assert trial.user_attrs["waits for"] == "the other replicates of its cell"
    assert study.best_trial.user_attrs["cell"] == 2


def test_a_study_without_replicates_is_shown_as_it_is(
    storage: Storage, run_grid: RunGrid, shown: DashboardStorage
) -> None:
    run_grid()
    ours = optuna.load_study(study_name="small-digits", storage=storage.optuna)

    theirs = study_of(shown)

    assert [(t.state, t.value, t.params) for t in theirs.trials] == [
        (t.state, t.value, t.params) for t in ours.trials
    ]
    assert theirs.best_trial.number == ours.best_trial.number


def test_a_trial_has_its_whole_curve(
    storage: Storage, run_grid: RunGrid, shown: DashboardStorage
) -> None:
    run_grid()

    curve = trial_of(study_of(shown), 0, 0).intermediate_values

    assert len(curve) == 40  # 20 log points a cycle
    assert max(curve) == 2 * 2 * 20
    # Optuna's own pruners go on seeing the ends of cycles alone.
    kept = optuna.load_study(study_name="small-digits", storage=storage.optuna).trials[0]
    assert set(kept.intermediate_values) == {1, 2}


def test_the_note_says_the_winner_in_words_and_attributes_what_optuna_has_no_place_for(
    storage: Storage, run_grid: RunGrid, shown: DashboardStorage
) -> None:
    pytest.importorskip("optuna_dashboard")
    run_grid(SEVERAL)
    lucky(storage)

    study = study_of(shown)

    assert note_of(study).startswith("**The winner is lambda 0.01 \\(cell 2\\)")
    assert "mean of 3 replicates" in note_of(study)
    said = {"pruner": "none", "replicates": "3"}
    assert said.items() <= study.user_attrs.items()
    assert "lambda 0.01 (cell 2)" in study.user_attrs["winner"]


def test_a_note_of_somebody_stays_below_ours(
    storage: Storage, run_grid: RunGrid, shown: DashboardStorage
) -> None:
    dashboard = pytest.importorskip("optuna_dashboard")
    run_grid()
    theirs = optuna.load_study(study_name="small-digits", storage=storage.optuna)
    dashboard.save_note(theirs, "Seen by me. " * 400)

    note = note_of(study_of(shown))

    assert note.startswith("**The winner is")
    assert note.endswith("---\n\n" + "Seen by me. " * 400)


def test_the_note_is_of_the_present_moment(
    storage: Storage, run_grid: RunGrid, shown: DashboardStorage
) -> None:
    pytest.importorskip("optuna_dashboard")
    small_grid.created(storage)
    before = note_of(study_of(shown))
    run_grid()

    assert before == "No cell is complete yet: 0 of 4 results are there."
    assert "The winner is" in note_of(study_of(shown))


def test_what_somebody_told_in_a_dashboard_leads_nowhere(
    storage: Storage, run_grid: RunGrid, shown: DashboardStorage
) -> None:
    run_grid(SEVERAL)
    ours = optuna.load_study(study_name="small-digits", storage=storage.optuna)
    ours.add_trial(optuna.trial.create_trial(value=0.999))

    best = study_of(shown).best_trial

    assert best.value != 0.999
    assert "cell" in best.user_attrs


def test_a_copy_and_a_study_of_somebody_are_shown_as_they_are(
    storage: Storage, run_grid: RunGrid, shown: DashboardStorage
) -> None:
    run_grid(SEVERAL)
    theirs = optuna.create_study(study_name="theirs", storage=storage.optuna)
    theirs.add_trial(optuna.trial.create_trial(value=1.0))
    optuna.copy_study(
        from_study_name="small-digits",
        from_storage=storage.optuna,
        to_storage=storage.optuna,
        to_study_name="copy",
    )

    assert study_of(shown, "theirs").best_value == 1.0
    assert not study_of(shown, "theirs").user_attrs
    copy = study_of(shown, "copy")
    kept = optuna.load_study(study_name="copy", storage=storage.optuna)
    assert [t.value for t in copy.trials] == [t.value for t in kept.trials]
    assert "winner" not in copy.user_attrs


def test_a_damaged_study_is_said_to_be_and_harms_no_other(
    storage: Storage, run_grid: RunGrid, shown: DashboardStorage
) -> None:
    pytest.importorskip("optuna_dashboard")
    run_grid()
    run_grid(replace(small_grid.SMALL, name="other"))
    this = tables.results.c.study == small_grid.opened(storage).uuid
    storage.write(lambda c: c.execute(tables.results.update().where(this).values(value=0.999)))

    assert note_of(study_of(shown)).startswith("This study cannot be read: ")
    assert len(study_of(shown).trials) == 4
    assert "The winner is" in note_of(study_of(shown, "other-digits"))


def test_nothing_that_is_named_is_taken_for_a_mark(storage: Storage, run_grid: RunGrid) -> None:
    run_grid()
    study = replace(small_grid.opened(storage).stored, name="<script>alert(1)</script> `x` **y**")

    found = storage.read(lambda c: remarks.of_study(c, study))

    assert "<script>" not in found.note
    assert isinstance(found, Remarks)


def test_showing_writes_nothing(
    storage: Storage, run_grid: RunGrid, shown: DashboardStorage
) -> None:
    run_grid(SEVERAL)
    version = "PRAGMA data_version"
    before = storage.read(lambda c: c.exec_driver_sql(version).scalar())

    study_of(shown).trials  # noqa: B018
    shown.get_all_studies()

    assert storage.read(lambda c: c.exec_driver_sql(version).scalar()) == before
