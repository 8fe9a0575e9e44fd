"""The entry point: all commands, and how errors are shown."""

import os
import sqlite3
import sys
from typing import Annotated

import typer

from netwright import __version__
from netwright.cli import networks, runs, spaces, tables
from netwright.cli.compare import compare
from netwright.cli.experiments import experiment
from netwright.cli.export import export
from netwright.cli.fit import fit
from netwright.cli.output import remark, say
from netwright.cli.quickstart import quickstart
from netwright.cli.reproduce import reproduce

app = typer.Typer(
    name="netwright",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Build neural networks by learning distributions over their graphs.

    Start with `netwright quickstart`: it searches a network for scikit-learn's digits in about
    a minute. Then search your own images (`netwright search --dataset folder:PATH`) or a
    benchmark (`netwright table import`, then `netwright search --table FILE --metric NAME`).

    Results go to standard output, progress to standard error; with `--json`, every command prints
    one line for machines. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
    """,
)

_START, _RUNS = "Searching", "Looking at runs"
_LEARN = "Learning a space"
_COMPARE = "Comparing methods"
_NETWORKS, _DATA = "Networks", "Spaces and tables"
app.command(rich_help_panel=_START)(quickstart)
app.command(rich_help_panel=_START)(runs.search)
app.command(rich_help_panel=_START)(runs.resume)
app.command(rich_help_panel=_LEARN)(fit)
app.command(rich_help_panel=_RUNS)(runs.report)
app.command(rich_help_panel=_RUNS)(runs.sample)
app.command(rich_help_panel=_COMPARE)(experiment)
app.command(rich_help_panel=_COMPARE)(compare)
app.command(rich_help_panel=_COMPARE)(reproduce)
app.command(rich_help_panel=_NETWORKS)(networks.evaluate)
app.command(rich_help_panel=_NETWORKS)(networks.train)
app.command(rich_help_panel=_NETWORKS)(export)
app.add_typer(spaces.app, name="space", rich_help_panel=_DATA)
app.add_typer(tables.app, name="table", rich_help_panel=_DATA)


def _version(wanted: bool | None) -> None:
    if wanted:
        say(f"netwright {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool | None,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = None,
) -> None:
    del version


def main() -> None:
    """Run the command line; an expected error is one line, never a traceback.

    Set NETWRIGHT_DEBUG=1 to see the traceback all the same.
    """
    try:
        app()
    except SystemExit as end:
        if end.code == 130:  # what Ctrl-C becomes
            remark(
                "interrupted; what was evaluated is kept: go on with `netwright resume RUN`, "
                "or give the command of an experiment again"
            )
        raise
    except (ValueError, LookupError, OSError, RuntimeError, ImportError, sqlite3.Error) as error:
        if os.environ.get("NETWRIGHT_DEBUG"):
            raise
        text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
        line = " ".join(text.split()) or type(error).__name__
        remark(f"error: {line}", style="red")
        sys.exit(2 if isinstance(error, ValueError) else 1)
