"""Commands that look at what is stored: results on stdout, the story on stderr; and delete."""

import csv
import io
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest

import hpo

Command = Callable[..., Any]


@pytest.fixture
def searched(command: Command, write_study: Command) -> Command:
    """A study of three cells on digits, finished."""
    assert command("run", write_study(), "--data", "digits").status == 0
    return command


def tables_with_rows(workplace: Path) -> dict[str, int]:
    """Return how many rows there are in every table but those that every database has."""
    with closing(sqlite3.connect(workplace / "hpo.db")) as connection:
        names = connection.execute("select name from sqlite_master where type = 'table'").fetchall()
        counts = {
            name: connection.execute(f"select count(*) from {name}").fetchone()[0]
            for (name,) in names
        }
    constant = ("alembic_version", "version_info", "hpo_meta", "hpo_workers", "sqlite_sequence")
    return {name: n for name, n in counts.items() if n and name not in constant}


def test_best_begins_with_the_winner_and_says_how_sure_that_is(searched: Command) -> None:
    answer = searched("best", "tiny-digits")

    assert (answer.status, answer.err) == (0, "")
    told = [line for line in answer.out.splitlines() if " tie; the first, cell " not in line]
    first, second, third, *rest = told
    assert first.startswith("tiny-digits: lambda 0.0")
    assert "with validation accuracy 0." in first
    assert second.startswith("corrected for having been chosen from 3 cells: 0.")
    assert third.startswith("95 % interval 0.")
    assert third.endswith("other images only: one replicate says nothing of other seeds")
    assert rest


def test_the_best_of_the_table_is_the_best(searched: Command) -> None:
    table = searched("run", "tiny.py", "--data", "digits").out

    (line,) = [line for line in table.splitlines() if line.endswith("best")]
    cell, value, accuracy, _ = line.split()
    assert searched("best", "tiny-digits").out.startswith(
        f"tiny-digits: lambda {value} (cell {cell}) with validation accuracy {accuracy}\n"
    )


def test_status_has_a_line_a_study(searched: Command, write_study: Command) -> None:
    searched("run", write_study("other"), "--data", "digits")

    answer = searched("status")

    assert (answer.status, answer.err) == (0, "")
    assert [line.split()[:6] for line in answer.out.splitlines()[1:]] == [
        ["tiny-digits", "3", "3", "0", "0", "0"],
        ["other-digits", "3", "3", "0", "0", "0"],
    ]


def test_list_says_what_the_studies_are_about(searched: Command) -> None:
    assert searched("list").out == (
        "tiny-digits: 3 cells, 40 updates each, standard protocol, digits\n"
    )


def test_export_is_json_by_default(searched: Command) -> None:
    answer = searched("export", "tiny-digits")

    assert (answer.status, answer.err) == (0, "")
    assert answer.out.endswith("}\n")
    document = json.loads(answer.out)
    assert [len(trial["curve"]["update"]) for trial in document["trials"]] == [40, 40, 40]


def test_export_is_csv_when_asked(searched: Command) -> None:
    answer = searched("export", "tiny-digits", "--format", "csv")

    rows = list(csv.reader(io.StringIO(answer.out)))
    assert len(rows) == 1 + 3 * 40
    assert rows[0][:5] == ["cell", "replicate", "lambda", "state", "update"]


def test_export_is_csv_of_trials_when_asked(searched: Command) -> None:
    answer = searched("export", "tiny-digits", "--format", "csv-trials")

    rows = list(csv.DictReader(io.StringIO(answer.out)))
    results = [(r.value, r.n_updates) for r in hpo.load("tiny-digits").results]
    assert [(float(row["value"]), int(row["updates"])) for row in rows] == results
    assert {row["study"] for row in rows} == {"tiny-digits"}
    assert hpo.load("tiny-digits").to_csv(trials=True) == answer.out


def test_another_format_is_refused(searched: Command) -> None:
    answer = searched("export", "tiny-digits", "--format", "xml")

    assert "--format must be json, csv or csv-trials, got 'xml'." in answer.sentence
    assert answer.out == ""


def test_plot_writes_pictures(searched: Command, workplace: Path) -> None:
    answer = searched("plot", "tiny-digits", "--out", "pictures")

    assert answer.out == ""
    assert len(list((workplace / "pictures").glob("*.png"))) == 6
    assert answer.err.count("Wrote pictures/") == 6


def test_plot_into_a_file_is_a_sentence(searched: Command, workplace: Path) -> None:
    (workplace / "file").write_text("")

    told = searched("plot", "tiny-digits", "--out", "file").sentence

    assert told.startswith("hpo: Cannot write file")


def test_plot_needs_a_folder_with_a_name(searched: Command, workplace: Path) -> None:
    before = sorted(workplace.iterdir())

    told = searched("plot", "tiny-digits", "--out", "").sentence

    assert told == (
        "hpo: Invalid value for '--out': a folder has a name, got ''; the current one is '.'. "
        "Try --help."
    )
    assert sorted(workplace.iterdir()) == before


def test_plot_writes_one_kind_in_one_format_into_a_folder_of_the_study(
    searched: Command, workplace: Path
) -> None:
    answer = searched("plot", "tiny-digits", "lambda", "--format", "svg")

    assert answer.err == "Wrote tiny-digits-plots/lambda.svg\n"
    assert (workplace / "tiny-digits-plots/lambda.svg").read_text().startswith("<?xml")


def test_a_hostile_name_that_another_tool_gave_a_study_stays_in_this_folder(
    searched: Command, workplace: Path
) -> None:
    name = "../<script>$x_{"
    with closing(sqlite3.connect(workplace / "hpo.db")) as connection, connection:
        connection.execute("update studies set study_name = ?", (name,))
    before = sorted(workplace.parent.iterdir())

    assert searched("plot", name, "learning-rate").status == 0
    (folder,) = workplace.glob("*-plots")
    assert folder.name.startswith("script_x_")
    assert sorted(workplace.parent.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nonsense"], "hpo: There is no picture 'nonsense'; choose one of lambda, parameters, "),
        (
            ["--format", "gif"],
            "hpo: There is no picture format 'gif'; choose one of png, svg, pdf.",
        ),
        (["--cell", "9"], "hpo: 'tiny-digits' has no cell 9; it has 0 to "),
    ],
)
def test_what_cannot_be_plotted_is_one_sentence(
    searched: Command, arguments: list[str], sentence: str
) -> None:
    assert searched("plot", "tiny-digits", *arguments).sentence.startswith(sentence)


def test_plot_writes_into_the_current_folder_where_it_is_named(
    searched: Command, workplace: Path
) -> None:
    assert searched("plot", "tiny-digits", "--out", ".").status == 0
    assert len(list(workplace.glob("*.png"))) == 6


def test_looking_writes_nothing(searched: Command, workplace: Path) -> None:
    before = (workplace / "hpo.db").read_bytes()
    for arguments in (["best", "tiny-digits"], ["status"], ["list"], ["export", "tiny-digits"]):
        assert searched(*arguments).status == 0

    assert (workplace / "hpo.db").read_bytes() == before


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])  # no; nothing; nobody there
def test_delete_asks_first(answer: str, searched: Command, workplace: Path) -> None:
    before = tables_with_rows(workplace)

    told = searched("delete", "tiny-digits", answer=answer)

    assert (told.status, told.out.strip()) == (1, "")
    assert "Delete the study 'tiny-digits' with its trials and curves? [y/N]" in told.err
    assert "Aborted; nothing was changed." in told.err
    assert tables_with_rows(workplace) == before


@pytest.mark.parametrize(("options", "answer"), [(["--yes"], ""), ([], "y\n")])
def test_delete_takes_everything_along(
    options: list[str], answer: str, searched: Command, workplace: Path
) -> None:
    assert tables_with_rows(workplace)

    told = searched("delete", "tiny-digits", *options, answer=answer)

    assert (told.status, told.out.strip()) == (0, "")
    assert "Deleted tiny-digits." in told.err
    assert tables_with_rows(workplace) == {}
    assert searched("list").out == "No studies yet. `hpo run coarse` starts one.\n"


@pytest.mark.parametrize(("options", "n_looks"), [((), 1), (("--looks",), 0)])
def test_delete_leaves_other_studies_whole(
    searched: Command,
    write_study: Command,
    workplace: Path,
    options: tuple[str, ...],
    n_looks: int,
) -> None:
    before = {name: searched(name, "tiny-digits").out for name in ("best", "export")}
    study = write_study("other", evaluates_test=True)
    searched("run", study, "--data", "digits")

    searched("delete", "other-digits", "--yes", *options)

    assert {name: searched(name, "tiny-digits").out for name in ("best", "export")} == before
    assert tables_with_rows(workplace).get("hpo_test_looks", 0) == n_looks
    assert tables_with_rows(workplace)["studies"] == 1


def test_a_deleted_study_can_be_run_again(searched: Command) -> None:
    before = searched("export", "tiny-digits").out
    searched("delete", "tiny-digits", "--yes")

    again = searched("run", "tiny.py", "--data", "digits")

    assert "training cells 0, 1, 2" in again.err
    assert searched("export", "tiny-digits").out == before


def test_a_stock_optuna_sees_the_study(searched: Command) -> None:
    study = optuna.load_study(storage="sqlite:///hpo.db", study_name="tiny-digits")

    document = json.loads(searched("export", "tiny-digits").out)
    assert [trial.params for trial in study.trials] == [t["params"] for t in document["trials"]]
    assert [trial.value for trial in study.trials] == [t["value"] for t in document["trials"]]
    assert all(list(trial.intermediate_values) == [1, 2] for trial in study.trials)
    assert study.user_attrs["data"] == "digits (1200 training images, 300 validation images)"
    study._storage._backend.engine.dispose()
