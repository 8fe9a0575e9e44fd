"""`netwright compare`: runs that are there, compared by method."""

from pathlib import Path
from typing import Annotated

import typer

from netwright.cli.comparing import show
from netwright.cli.options import Json, Quiet
from netwright.runs.run import Run


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Run folders, or folders that hold some."),
    ],
    budget: Annotated[
        list[int] | None,
        typer.Option(
            "--budget",
            "-b",
            help="Evaluations after which to compare; by default as many as all have. Repeatable.",
        ),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="The method that the others are compared with, by name.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The results, less .json; comparison.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare runs by method: means, intervals, ranks and paired tests.

        netwright compare runs/nasbench201-* --baseline "random search"

    Runs that differ in nothing but their seeds are one method; runs that maximise the same metric
    of the same table, or train on the same data, are one benchmark. `netwright experiment` makes
    such runs, `netwright report RUN...` draws what they found.
    """
    from netwright.reproductions.compared import compared  # statistics take a while to import

    folders = [folder for path in runs for folder in _runs_in(path)]
    described, outcomes = compared(
        [Run.open(f) for f in folders], budgets=budget, baseline=baseline
    )
    given = [str(path) for path in runs]
    for value in budget or ():
        given += ["--budget", str(value)]
    if baseline is not None:
        given += ["--baseline", baseline]
    path = out or Path("comparison")
    path = path.with_name(path.name.removesuffix(".json"))
    command = ["netwright", "compare", *given]
    show(path, described, outcomes, command=command, runs=None, json=json, quiet=quiet)


def _runs_in(path: Path) -> list[Path]:
    """List the run folders at or below a path.

    Raises:
        ValueError: If there is none.
    """
    if (path / "ledger.sqlite").is_file():
        return [path]
    found = sorted(ledger.parent for ledger in path.rglob("ledger.sqlite"))
    if not found:
        raise ValueError(f"{path} is no run folder and holds none: make some with netwright search")
    return found
