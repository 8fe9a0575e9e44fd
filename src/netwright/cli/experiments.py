"""`netwright experiment` and `netwright reproduce`: methods compared on benchmarks."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from netwright.cli import gnn2gnn as cli_gnn2gnn
from netwright.cli import svge
from netwright.cli.options import Json, Quiet, settings
from netwright.cli.output import bar, print_json, remark, say
from netwright.files import write_atomic
from netwright.reproductions import gnn2gnn
from netwright.reproductions.execute import carry_out
from netwright.reproductions.experiment import Experiment, default_tables, run_folder, slug
from netwright.reproductions.gnn2gnn_search import comparison
from netwright.reproductions.graphpnas import ITEMS, SCALES, reproduction, runs_of
from netwright.reproductions.latent_path import latent_path
from netwright.reproductions.svge import Cell
from netwright.reproductions.svge_search import shown_path, spaces_of, table3
from netwright.results import Difference, Row
from netwright.runs.run import Run
from netwright.tables.format import Table

Seeds = Annotated[
    int | None,
    typer.Option("--seeds", "-n", help="Searches per method; of svge table1, fits per row."),
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
    seeds: Seeds = None,
    first_seed: FirstSeed = None,
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
    command = [*words, *_options(inline | changes)]
    _do(described, name, run or Path("runs") / name, tables, out, command, json=json, quiet=quiet)


def reproduce(
    paper: Annotated[str, typer.Argument(metavar="PAPER", help="graphpnas, svge or gnn2gnn.")],
    item: Annotated[
        str,
        typer.Argument(
            metavar="ITEM",
            help=f"Of graphpnas: {', '.join(ITEMS)}. Of svge: {', '.join(svge.ITEMS)}. Of gnn2gnn: "
            f"{', '.join(gnn2gnn.ITEMS)}.",
        ),
    ],
    seeds: Seeds = None,
    first_seed: FirstSeed = None,
    scale: Annotated[
        str,
        typer.Option(
            help="paper: as published, with 20 seeds (svge: for days, or on a GPU); laptop: what "
            "takes hours left out or shorter; smoke: seconds, to see that it works."
        ),
    ] = "laptop",
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Of svge tables 1 to 3, and gnn2gnn: rows with this in their name, as enas/dvae. "
            "Repeatable."
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Of svge: any setting of the fits, e.g. --set device=cuda. Repeatable.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="KIND:PATH",
            help="Of svge table4 and table5: images to train on, cifar10:FOLDER or idx:FOLDER.",
        ),
    ] = None,
    tables: Tables = None,
    run: RunsIn = None,
    out: Out = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a paper's table or figure again, beside the published values.

        netwright reproduce graphpnas table5 --seeds 20

        netwright reproduce svge table1 --only nasbench201

    It reads SPACE.safetensors in the folder of tables (`netwright table import`). What is
    interrupted goes on when the command is given again.
    """
    if paper not in ("graphpnas", "svge", "gnn2gnn"):
        raise ValueError(f"unknown paper {paper!r}: use graphpnas, svge or gnn2gnn")
    if scale not in SCALES:
        raise ValueError(f"unknown scale {scale!r}: use {', '.join(SCALES)}")
    if paper == "svge":
        shown = {
            "seeds": seeds,
            "first_seed": first_seed,
            "only": only or None,
            "scale": None if scale == "laptop" else scale,
            "set": option or None,
            "data": data,
        }
        plan = svge.Plan(
            item,
            svge.scale_of(scale),
            seeds=seeds,
            first_seed=first_seed,
            only=only or (),
            changes=settings(option),
            tables=tables,
            run=run,
            data=data,
            out=out,
            options=_options({name: value for name, value in shown.items() if value is not None}),
            quiet=quiet,
        )
        if item == "table3":
            _table3(plan, json=json)
        else:
            svge.reproduce(plan, json=json)
        return
    if option or data:
        raise ValueError("--set and --data are for svge")
    if paper == "gnn2gnn" and item != "search":
        shown = {
            "seeds": seeds,
            "first_seed": first_seed,
            "only": only or None,
            "scale": None if scale == "laptop" else scale,
        }
        cli_gnn2gnn.reproduce(
            item,
            gnn2gnn.scale_of(scale),
            seeds=seeds,
            first_seed=first_seed,
            only=only or (),
            tables=tables,
            run=run,
            out=out,
            options=_options({name: value for name, value in shown.items() if value is not None}),
            json=json,
            quiet=quiet,
        )
        return
    if only:
        raise ValueError("--only is for svge and the tables of gnn2gnn")
    flags = {"seeds": seeds, "first_seed": first_seed}
    changes = {name: value for name, value in flags.items() if value is not None}
    if paper == "gnn2gnn":
        described = Experiment.parse(comparison(gnn2gnn.scale_of(scale)) | changes)
        stem = "gnn2gnn-search"
    else:
        described = Experiment.parse(reproduction(item, scale) | changes)
        stem = runs_of(item)
    name = f"{paper}-{item}" + ("" if scale == "laptop" else f"-{scale}")
    small = {} if scale == "laptop" else {"scale": scale}
    command = ["netwright", "reproduce", paper, item, *_options(changes | small)]
    # Finished runs of one scale serve the other; those of the smoke scale have other settings.
    folder = run or Path("runs") / (stem + ("-smoke" if scale == "smoke" else ""))
    _do(described, name, folder, tables, out, command, json=json, quiet=quiet)


def _table3(plan: svge.Plan, *, json: bool) -> None:
    """Search in the latent spaces of the fits of Table I, which are made first."""
    svge.insist(plan)
    trials = 10 if plan.seeds is None else plan.seeds
    described = table3(plan.scale, plan.folder, trials=trials)
    if plan.first_seed is not None:
        described["first_seed"] = plan.first_seed
    if plan.only:
        rows = [m for m in described["methods"] if any(word in _row(m) for word in plan.only)]
        if not rows:
            known = "; ".join(_row(method) for method in described["methods"])
            raise ValueError(f"no row has {plan.only[0]!r} in its name: use {known}")
        described |= {"methods": rows, "baseline": None}
    cell = shown_path(Experiment.parse(described))
    if cell is not None:
        name = f"{plan.path.name}-path.svg"
        what = f"The first search of {cell.method.label} on {cell.benchmark.name} in the plane of"
        described["note"] += f"\n\n{what} the first two principal components:\n\n![Path]({name})"
    experiment = Experiment.parse(described)
    for space in spaces_of(experiment):
        svge.fitted(Cell(space, "svge"), plan, 0)
    folder = plan.folder.with_name(f"{plan.folder.name}-search")
    command = shlex.split(plan.command)
    _do(experiment, plan.name, folder, plan.tables, plan.out, command, json=json, quiet=plan.quiet)
    if cell is not None:
        from netwright.report.latent_path import path_svg  # the chart stack takes a second

        searched = Run.open(run_folder(folder, cell, experiment.first_seed))
        image = path_svg(latent_path(searched))
        write_atomic(plan.path.with_name(f"{plan.path.name}-path.svg"), image)


def _row(method: dict[str, Any]) -> str:
    """Name a row of Table III, as ``SVGe + BO/best``."""
    return "/".join(filter(None, (method["name"], method.get("preset"))))


def _do(
    described: Experiment,
    name: str,
    folder: Path,
    tables: Path | None,
    out: Path | None,
    command: list[str],
    *,
    json: bool,
    quiet: bool,
) -> None:
    """Carry an experiment out, publish what came of it, and show it."""
    from netwright.reproductions.outcomes import read_outcomes  # statistics take a while to import
    from netwright.reproductions.publish import publish

    path = out or Path("docs") / "results" / name
    path = path.with_name(path.name.removesuffix(".json"))
    tables = tables or default_tables()
    events = carry_out(described, folder, tables=tables)
    begin = next(events)
    if not quiet:
        cells, seeds = len(described.cells), described.seeds
        remark(f"{described.title}: {cells} x {seeds} searches -> {folder}")
    with bar(begin.total, "evaluations", first=begin.done, quiet=quiet) as progress:
        progress.update(begin.done, begin.what)
        for event in events:
            progress.update(event.done, event.what)
    outcomes = read_outcomes(described, folder, tables=tables)
    rows, differences = publish(path, described, outcomes, command=shlex.join(command))
    if json:
        print_json(
            {
                "results": f"{path}.json",
                "runs": str(folder),
                "rows": [asdict(row) for row in rows],
                "differences": [asdict(difference) for difference in differences],
            }
        )
        return
    for row in rows:
        say(_line(row))
    for difference in differences:
        say(_compared(difference))
    if not quiet:
        say(f"wrote {path}.json, {path.name}.md and {path.name}.svg")
        say("look at one run with")
        say(f"  netwright report {folder}/BENCHMARK/METHOD/seed-{described.first_seed}")


def _line(row: Row) -> str:
    spread = "" if row.sd is None else f" +- {row.sd:.3f}"
    paper = "" if row.paper is None or row.preset == "quoted" else f"   paper {row.paper}"
    preset = "" if row.preset is None else f", {row.preset}"
    budget = "" if row.budget is None else f" @{row.budget}"
    what = f"{row.benchmark}{budget}  {row.method}{preset}: {row.metric}"
    return f"{what} {row.mean:.3f}{spread}{paper}"


def _compared(found: Difference) -> str:
    ends = "" if found.low is None else f" [{found.low:.3f}, {found.high:.3f}]"
    return (
        f"{found.benchmark} @{found.budget}  {found.metric}: {found.method} minus {found.baseline} "
        f"{found.mean:+.3f}{ends}"
    )


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
    table, metric = Path(given["table"]).absolute(), given["metric"]
    space = Table.open(table).space_name
    reports = given.get("report") or [f"{_split(metric)} accuracy={metric}"]
    report = {}
    for text in reports:
        name, equals, column = text.partition("=")
        if not equals:
            raise ValueError(f"--report takes NAME=COLUMN, not {text!r}")
        report[name.strip()] = column.strip()
    benchmark = {
        "name": f"{space}/{metric.partition('/')[0]}",
        "space": space,
        "table": table,
        "metric": metric,
        "report": report,
        "budgets": given.get("budget") or [100],
    }
    size = {"batch_size": given["batch_size"]} if "batch_size" in given else {}
    methods = [{"method": name, **size} for name in given["method"]]
    return {"title": f"Search on {metric}", "benchmarks": [benchmark], "methods": methods}


def _options(given: dict[str, Any]) -> list[str]:
    """Write settings as the options that set them."""
    words = []
    for name, value in given.items():
        for one in value if isinstance(value, list | tuple) else [value]:
            words += [f"--{name.replace('_', '-')}", str(one)]
    return words


def _split(metric: str) -> str:
    """Return the split of ``dataset/split@epochs``."""
    return metric.partition("/")[2].partition("@")[0] or "search"
