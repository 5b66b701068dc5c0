"""Command-line program: its commands, and one line for every error."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from pareto_rec.cli.adapt import adapt
from pareto_rec.cli.check import check
from pareto_rec.cli.compare import compare
from pareto_rec.cli.confirm import confirm
from pareto_rec.cli.data import data_app
from pareto_rec.cli.export import export
from pareto_rec.cli.pick import pick
from pareto_rec.cli.recommend import recommend
from pareto_rec.cli.report import report
from pareto_rec.cli.search import search
from pareto_rec.cli.serve import serve
from pareto_rec.cli.update import update
from pareto_rec.core.errors import BadRequestError, InterruptedRunError, RunFailedError

DONE, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130  # exit codes; 130: as a shell has it for Ctrl-C

_MOST_SAID = 2_000  # characters; what is longer is cut in the middle
_WRONG_PATHS = {errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EACCES, errno.ELOOP}
_PLAIN = tuple(  # what a validator of the command line says, and what people say
    (re.compile(pattern), words)
    for pattern, words in (
        (r"Input should be a valid integer\b.*", "it must be a whole number"),
        (r"Input should be a valid number\b.*", "it must be a number"),
        (r"Input should be a valid boolean\b.*", "it must be true or false"),
        (r"Input should be a valid string\b.*", "it must be UTF-8 text"),
        (r"Input should be greater than or equal to", "it must be at least"),
        (r"Input should be less than or equal to", "it must be at most"),
        (r"Input should be greater than", "it must be above"),
        (r"Input should be less than", "it must be below"),
        (r"Input should be", "it must be"),
    )
)

app = typer.Typer(
    name="pareto-rec",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data_app, name="data")
for command in (
    *(search, adapt, confirm, compare, report, check, pick, serve, export, recommend, update),
):
    app.command()(command)


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[  # noqa: ARG001  # taken out by `main`, wherever it stands; here for the help
        bool, typer.Option("--debug", help="Show a traceback when something goes wrong.")
    ] = False,
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            "--plugin",
            metavar="MODULE",
            help="Import a plugin first, a module or a file.py; repeatable.",
        ),
    ] = None,
) -> None:
    """Search, inspect and ship Pareto fronts of recommenders.

    Exit codes: 0 done, 1 it failed, 2 the request was wrong, 130 interrupted.

    Example: pareto-rec search experiments/movielens_accuracy_diversity_fairness --smoke
    """
    if plugin:
        from pareto_rec.experiment.plugins import load_plugins

        load_plugins(plugin)
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"pareto_rec {installed('pareto_rec')}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _fail(kind: str, message: object, code: int) -> NoReturn:
    """Print one line on standard error and end the program."""
    line = f"{kind}: {' '.join(str(message).split())}"
    if len(line) > _MOST_SAID:
        line = f"{line[: _MOST_SAID // 2]} ... {line[-_MOST_SAID // 2 :]}"
    typer.echo(
        line.encode(errors="backslashreplace").decode(), err=True
    )  # names need not be valid text
    raise SystemExit(code)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run `pareto-rec`; see :func:`run_program`."""
    run_program(app, "pareto-rec", arguments)


def run_program(
    program: typer.Typer, name: str, arguments: Sequence[str] | None = None
) -> NoReturn:
    """Run a command line: one line for every error, a traceback only with --debug.

    Args:
        program: Its commands.
        name: What its usage line says.
        arguments: Those of the command line; None for ``sys.argv``.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"]
    if any("\x00" in argument for argument in given):
        _fail("error", "an argument holds a NUL; no name does", WRONG)
    try:
        code = program(args=given, prog_name=name, standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(FAILED) from None
    except Exception as error:
        if debug:
            raise
        _explain(error)
    if code == INTERRUPTED:  # typer makes this of a KeyboardInterrupt, without a word
        _fail("interrupted", "stopped before the end", INTERRUPTED)
    raise SystemExit(code if isinstance(code, int) else DONE)


def _explain(error: Exception) -> NoReturn:
    if isinstance(error, BadRequestError):
        _fail("error", error, WRONG)
    if isinstance(error, InterruptedRunError):
        _fail("interrupted", error, INTERRUPTED)
    if isinstance(error, RunFailedError):
        _fail("failed", error, FAILED)
    if hasattr(error, "format_message"):  # the command line itself was wrong: an option, a value
        _fail("error", f"{_plain(error.format_message())}; see pareto-rec --help", WRONG)
    if isinstance(error, OSError) and error.errno in _WRONG_PATHS:
        _fail("error", f"{error.strerror}: {error.filename}", WRONG)
    if isinstance(error, RecursionError):
        _fail("error", "a file that was named is nested too deeply to be read", WRONG)
    reason = f"{type(error).__name__}: {error}"
    _fail("failed", f"{reason} (unforeseen: the same command with --debug shows where)", FAILED)


def _plain(message: str) -> str:
    """Return what is wrong with the command line, in plain words."""
    for pattern, words in _PLAIN:
        message = pattern.sub(words, message)
    return message.rstrip(".")
