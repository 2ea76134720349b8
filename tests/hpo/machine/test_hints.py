"""Commands that are named in sentences can be typed as they stand."""

from collections.abc import Iterator

import pytest

from hpo.machine import hints


@pytest.fixture(autouse=True)
def nothing_given() -> Iterator[None]:
    yield
    hints.learn([])


def test_a_hint_has_the_data_and_the_storage_as_the_user_gave_them() -> None:
    hints.learn(["run", "fine", "--data", "my images.npz", "--storage=sqlite:///a.db"])

    told = hints.completed("Run `hpo run coarse` or `hpo doctor --repair`, then `hpo predict`.")

    assert told == (
        "Run `hpo run coarse --data 'my images.npz' --storage sqlite:///a.db` or "
        "`hpo doctor --repair --storage sqlite:///a.db`, then `hpo predict`."
    )


def test_what_a_hint_says_already_is_not_said_twice() -> None:
    hints.learn(["run", "x", "--data", "some/where.npz"])

    assert hints.completed("`hpo run x --data where.npz --name y`") == (
        "`hpo run x --name y --data some/where.npz`"
    )


def test_without_options_a_hint_stays_as_it_is() -> None:
    hints.learn(["best", "coarse"])

    assert hints.completed("`hpo run coarse`, `hpo run") == "`hpo run coarse`, `hpo run"


def test_a_password_is_not_repeated() -> None:
    hints.learn(["best", "coarse", "--storage", "postgresql+psycopg://me:secret@host/db"])

    assert "secret" not in hints.completed("`hpo run coarse`")
