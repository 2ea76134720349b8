"""The command line: parse, call, print. Results go to stdout, the story to stderr.

Heavy packages are imported inside the commands, so that ``hpo --help`` answers at once.
"""

import _signal  # type: ignore[import-not-found]  # what `signal` wraps: built in, nothing is read
import os
import sys

if os.path.basename(sys.argv[0]) == "hpo":  # who imports this otherwise keeps his handlers
    for _number in (_signal.SIGINT, _signal.SIGTERM):
        if _signal.getsignal(_number) != _signal.SIG_IGN:
            _signal.signal(_number, lambda number, _: os._exit(128 + number))

import traceback  # from here on a signal ends the program without a word

# One BLAS thread in every process: more are slower here, and several workers would fight.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

from hpo.machine.search_path import OURS, current_folder, keep_to_ours  # noqa: E402

keep_to_ours()  # before anything else is imported

from typing import Annotated  # noqa: E402

import typer  # noqa: E402  # the variables above must be set before NumPy is imported anywhere

from hpo.cli import data, looking, predicting, searching, serving, streams, training, working  # noqa: E402
from hpo.machine import garbage, marks  # noqa: E402
from hpo.machine.hints import completed, learn  # noqa: E402
from hpo.machine.printable import printable_lines  # noqa: E402
from hpo.machine.signals import Interruption  # noqa: E402

app = typer.Typer(
    help="Hyperparameter optimisation of a two-layer NumPy classifier, with Optuna.\n\n"
    "Start with: hpo run coarse, then hpo run fine, then hpo run final.",
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for _module in (searching, working, training, predicting, looking, serving):
    _module.register(app)
app.add_typer(data.app, name="data")


@app.callback()
def _without_command(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    if version:
        import hpo

        typer.echo(f"hpo {hpo.__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def console() -> None:
    """Run the command line as a program, which ends at once.

    Python would spend 0.2 s on taking down what it has imported.
    """
    garbage.collect_seldom()
    streams.secure()
    status: object = 0
    with Interruption() as interruption:
        try:
            main()
        except SystemExit as end:
            status = end.code
    ended = interruption.status or (status if isinstance(status, int) else 1)
    status = streams.ended(ended)
    marks.remove()
    os._exit(status)


def main() -> None:
    """Run the command line; a user's mistake is one sentence and status 1, without a traceback."""
    from hpo.errors import HpoError, SystemFault

    learn(sys.argv[1:])
    try:
        status = app(standalone_mode=False)
    except HpoError as error:
        _fail(str(error))
    except typer.Abort:
        _fail("Aborted; nothing was changed.")
    except KeyboardInterrupt:
        sys.exit(130)
    except MemoryError:
        _fail("Out of memory. Close other programs, or train a smaller network.")
    except ImportError as error:
        if (error.name or "").partition(".")[0] in (*OURS, ""):
            raise
        _fail(
            f"A library that hpo needs cannot be loaded: {error}. `make install` adds what is missing."
        )
    except OSError as error:
        if not current_folder():
            _fail("The current folder is no longer there. Change to one that is.")
        _fail(str(SystemFault(error)))
    except Exception as error:
        sentence = _usage_or_model(error) or _of_database(error)
        if sentence is None:
            raise
        _fail(sentence)
    sys.exit(status if isinstance(status, int) else 0)


def _usage_or_model(error: Exception) -> str | None:
    """Return the sentence of a mistake in the arguments or in the data, or None for our own."""
    usage = typer.BadParameter.__mro__[2]  # Click's base of all mistakes in arguments
    if isinstance(error, usage):
        told = error.format_message().rstrip(". ")  # type: ignore[attr-defined]
        return f"{told}{'' if told.endswith('?') else '.'} Try --help."
    from model.errors import ModelError

    return str(error) if isinstance(error, ModelError) else None


def _of_database(error: Exception) -> str | None:
    """Return the sentence for what the database's libraries raised by themselves, or None.

    Of what they mean to raise `hpo.database.faults` knows more; this is what damaged rows make of them.
    """
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        module = str(frame.f_globals.get("__name__"))
        if module.partition(".")[0] in ("sqlalchemy", "psycopg", "alembic") or module.startswith(
            ("optuna.storages", "optuna.trial", "optuna.distributions")
        ):
            told = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            return (
                f"What the database holds cannot be understood ({told}). `hpo doctor` examines it; "
                "else restore a copy."
            )
        if module.partition(".")[0] in ("hpo", "model"):
            return None
    return None


def _fail(sentence: str) -> None:
    print(f"hpo: {printable_lines(completed(sentence))}", file=sys.stderr)  # noqa: T201  # stderr is where mistakes are told
    sys.exit(1)
