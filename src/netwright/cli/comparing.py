"""What `netwright experiment`, `compare` and `reproduce` have in common."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netwright.cli.output import bar, print_json, remark, say
from netwright.reproductions.execute import carry_out
from netwright.reproductions.experiment import Experiment, default_tables
from netwright.results import Difference, Row

if TYPE_CHECKING:
    from netwright.reproductions.outcomes import Outcome

Seeds = Annotated[
    int | None,
    typer.Option("--seeds", "-n", help="Searches, or fits, per method."),
]
FirstSeed = Annotated[
    int | None, typer.Option(help="The first seed; take others than those used for choosing.")
]
Tables = Annotated[
    Path | None,
    typer.Option(help="Folder of the tables; by default $NETWRIGHT_TABLES, or tables."),
]
RunsIn = Annotated[
    Path | None,
    typer.Option("--run", "-r", help="Folder of the runs; by default runs/NAME."),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="The results, less .json; by default docs/results/NAME."),
]


Workers = Annotated[
    int,
    typer.Option("--workers", "-w", min=1, help="Processes that share methods and benchmarks."),
]


def carry(
    described: Experiment,
    name: str,
    folder: Path,
    tables: Path | None,
    out: Path | None,
    command: list[str],
    *,
    workers: int,
    json: bool,
    quiet: bool,
) -> None:
    """Carry an experiment out, publish what came of it, and show it."""
    from netwright.reproductions.outcomes import read_outcomes  # statistics take a while to import

    path = out or Path("docs") / "results" / name
    path = path.with_name(path.name.removesuffix(".json"))
    tables = tables or default_tables()
    events = carry_out(described, folder, tables=tables, workers=workers)
    begin = next(events)
    if not quiet:
        cells, seeds = len(described.cells), described.seeds
        remark(f"{described.title}: {cells} x {seeds} searches -> {folder}")
    with bar(begin.total, "evaluations", first=begin.done, quiet=quiet) as progress:
        progress.update(begin.done, begin.what)
        for event in events:
            progress.update(event.done, event.what)
    outcomes = read_outcomes(described, folder, tables=tables)
    show(path, described, outcomes, command=command, runs=folder, json=json, quiet=quiet)


def show(
    path: Path,
    described: Experiment,
    outcomes: "Sequence[Outcome]",
    *,
    command: list[str],
    runs: Path | None,
    json: bool,
    quiet: bool,
) -> None:
    """Publish what came of runs, and print it."""
    from netwright.reproductions.publish import publish  # statistics take a while to import

    rows, differences = publish(path, described, outcomes, command=shlex.join(command))
    if json:
        print_json(
            {
                "results": f"{path}.json",
                "runs": None if runs is None else str(runs),
                "rows": [asdict(row) for row in rows],
                "differences": [asdict(difference) for difference in differences],
            }
        )
        return
    for row in rows:
        say(line(row))
    for difference in differences:
        say(compared(difference))
    if not quiet:
        say(f"wrote {path}.html, to be opened in a browser, {path.name}.md, .svg and .json")
    if not quiet and runs is not None:
        say("look at one run with")
        say(f"  netwright report {runs}/BENCHMARK/METHOD/seed-{described.first_seed}")


def line(row: Row) -> str:
    """Write a result in a line."""
    spread = "" if row.sd is None else f" +- {row.sd:.3f}"
    paper = "" if row.paper is None or row.preset == "quoted" else f"   paper {row.paper}"
    preset = "" if row.preset is None else f", {row.preset}"
    budget = "" if row.budget is None else f" @{row.budget}"
    what = f"{row.benchmark}{budget}  {row.method}{preset}: {row.metric}"
    return f"{what} {row.mean:.3f}{spread}{paper}"


def compared(found: Difference) -> str:
    """Write a difference in a line."""
    ends = "" if found.low is None else f" [{found.low:.3f}, {found.high:.3f}]"
    p = "" if found.p_holm is None else f", p {found.p_holm:.3g}"
    return (
        f"{found.benchmark} @{found.budget}  {found.metric}: {found.method} minus {found.baseline} "
        f"{found.mean:+.3f}{ends}{p}"
    )


def as_options(given: dict[str, Any]) -> list[str]:
    """Write settings as the options that set them."""
    words = []
    for name, value in given.items():
        for one in value if isinstance(value, list | tuple) else [value]:
            words += [f"--{name.replace('_', '-')}", str(one)]
    return words
