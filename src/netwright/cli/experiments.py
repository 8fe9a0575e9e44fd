"""`netwright experiment`: search methods compared on benchmarks."""

from pathlib import Path
from typing import Annotated, Any

import typer

from netwright.cli.comparing import (
    FirstSeed,
    Out,
    RunsIn,
    Seeds,
    Tables,
    Workers,
    as_options,
    carry,
)
from netwright.cli.options import Json, Quiet
from netwright.config.objects import space_of
from netwright.reproductions.experiment import Experiment, slug
from netwright.tables.embedded import located
from netwright.tables.format import Table


def experiment(
    config: Annotated[
        Path | None,
        typer.Argument(metavar="EXPERIMENT.toml", help="The experiment; options win over it."),
    ] = None,
    table: Annotated[Path | None, typer.Option(help="Table to look scores up in.")] = None,
    metric: Annotated[
        str | None, typer.Option(help="Metric of the table to maximise, e.g. cifar100/valid@200.")
    ] = None,
    report: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=COLUMN",
            help="What to report of the best architecture, e.g. 'test error=cifar100/test@200'; "
            "the name ends with accuracy, error, regret or optimum. Repeatable.",
        ),
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option("--method", "-m", help="A method to compare. Repeatable.")
    ] = None,
    budget: Annotated[
        list[int] | None,
        typer.Option("--budget", "-b", help="Evaluations after which to report. Repeatable."),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Proposals per step.")] = None,
    baseline: Annotated[
        str | None, typer.Option(help="The method that the others are compared with.")
    ] = None,
    design: Annotated[
        int | None,
        typer.Option(help="Random architectures that all methods of a seed begin with."),
    ] = None,
    seeds: Seeds = None,
    first_seed: FirstSeed = None,
    workers: Workers = 1,
    tables: Tables = None,
    run: RunsIn = None,
    out: Out = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare search methods on benchmarks, with many seeds.

    From a TOML file (docs/experiments.md), or for one benchmark from options:

        netwright experiment --table nb201.safetensors --metric cifar100/valid@200
        -m random -m local -b 100 --seeds 20 --baseline random

    Every search is a run folder, RUNS/BENCHMARK/METHOD/seed-N. What is interrupted goes on when
    the command is given again; what is finished is only read.
    """
    flags: dict[str, Any] = {
        "seeds": seeds,
        "first_seed": first_seed,
        "baseline": baseline,
        "design": design,
    }
    changes = {name: value for name, value in flags.items() if value is not None}
    inline = _inline(table, metric, report, method, budget, batch_size)
    if config is not None:
        if inline:
            raise ValueError(
                f"--{next(iter(inline)).replace('_', '-')} describes an experiment without a file: "
                f"set it in {config}"
            )
        described, name = Experiment.load(config, changes), config.stem
    else:
        described = Experiment.parse(_from_options(inline) | changes)
        name = slug(described.benchmarks[0].name)
    words = ["netwright", "experiment", *([str(config)] if config else [])]
    command = [*words, *as_options(inline | changes)]
    folder = run or Path("runs") / name
    carry(described, name, folder, tables, out, command, workers=workers, json=json, quiet=quiet)


def _inline(
    table: Path | None,
    metric: str | None,
    report: list[str] | None,
    method: list[str] | None,
    budget: list[int] | None,
    batch_size: int | None,
) -> dict[str, Any]:
    """Return the options that describe an experiment, those that were given."""
    given = {
        "table": table,
        "metric": metric,
        "report": report,
        "method": method,
        "budget": budget,
        "batch_size": batch_size,
    }
    return {name: value for name, value in given.items() if value}


def _from_options(given: dict[str, Any]) -> dict[str, Any]:
    """Return an experiment on one benchmark as its options describe it."""
    for name in ("table", "metric", "method"):
        if name not in given:
            raise ValueError(
                f"no --{name}: give an EXPERIMENT.toml, or --table, --metric and --method"
            )
    table, metric = located(given["table"]).absolute(), given["metric"]
    space = space_of(Table.open(table))
    reports = given.get("report") or [f"{_split(metric)} accuracy={metric}"]
    report = {}
    for text in reports:
        name, equals, column = text.partition("=")
        if not equals:
            raise ValueError(f"--report takes NAME=COLUMN, not {text!r}")
        report[name.strip()] = column.strip()
    benchmark = {
        "name": f"{space['name']}/{metric.partition('/')[0]}",
        "space": space,
        "table": table,
        "metric": metric,
        "report": report,
        "budgets": given.get("budget") or [100],
    }
    size = {"batch_size": given["batch_size"]} if "batch_size" in given else {}
    methods = [{"method": name, **size} for name in given["method"]]
    return {"title": f"Search on {metric}", "benchmarks": [benchmark], "methods": methods}


def _split(metric: str) -> str:
    """Return the split of ``dataset/split@epochs``."""
    return metric.partition("/")[2].partition("@")[0] or "search"
