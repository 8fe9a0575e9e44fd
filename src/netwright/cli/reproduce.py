"""`netwright reproduce`: the tables and figures of the papers."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from netwright.cli import fit as cli_fit
from netwright.cli import gnn2gnn as cli_gnn2gnn
from netwright.cli import graphpnas as cli_graphpnas
from netwright.cli import svge
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
from netwright.cli.options import Json, Quiet, settings
from netwright.files import write_atomic
from netwright.reproductions import gnn2gnn
from netwright.reproductions.experiment import Experiment, default_tables, run_folder
from netwright.reproductions.gnn2gnn_search import comparison
from netwright.reproductions.graphpnas import ITEMS, SCALES, reproduction, runs_of
from netwright.reproductions.graphpnas_fits import fit_config, fits_of
from netwright.reproductions.latent_path import latent_path
from netwright.reproductions.svge import Cell
from netwright.reproductions.svge_search import shown_path, spaces_of, table3
from netwright.runs.run import Run

_GRAPHPNAS = (*ITEMS, *cli_graphpnas.ITEMS)


def reproduce(
    paper: Annotated[str, typer.Argument(metavar="PAPER", help="graphpnas, svge or gnn2gnn.")],
    item: Annotated[
        str,
        typer.Argument(
            metavar="ITEM",
            help=f"Of graphpnas: {', '.join(_GRAPHPNAS)}. Of svge: {', '.join(svge.ITEMS)}. "
            f"Of gnn2gnn: {', '.join(gnn2gnn.ITEMS)}.",
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
            help="Rows with this in their name, as BANANAS, or of svge tables 1 to 3, and gnn2gnn, "
            "enas/dvae. Repeatable."
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Of svge: any setting of the fits, e.g. --set device=cuda, which graphpnas takes "
            "where it trains networks. Repeatable.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="KIND:PATH",
            help="Images to train networks on, such as cifar10:FOLDER: of svge table4 and table5, "
            f"and of graphpnas {', '.join(cli_graphpnas.ITEMS)}.",
        ),
    ] = None,
    workers: Workers = 1,
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
    given = {
        "seeds": seeds,
        "first_seed": first_seed,
        "only": only or None,
        "scale": None if scale == "laptop" else scale,
        "set": option or None,
        "data": data,
    }
    options = as_options({name: value for name, value in given.items() if value is not None})
    if paper == "svge":
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
            options=options,
            quiet=quiet,
        )
        if item == "table3":
            _table3(plan, json=json)
        else:
            svge.reproduce(plan, json=json)
        return
    if paper == "graphpnas" and item in cli_graphpnas.ITEMS:
        cli_graphpnas.reproduce(
            cli_graphpnas.Plan(
                item,
                svge.scale_of(scale),
                seeds=seeds,
                first_seed=first_seed,
                only=only or (),
                changes=settings(option),
                data=data,
                run=run,
                out=out,
                workers=workers,
                options=options,
                quiet=quiet,
            ),
            json=json,
        )
        return
    if paper == "graphpnas" and item not in ITEMS:
        raise ValueError(f"GraphPNAS has no {item!r} here: use one of {', '.join(_GRAPHPNAS)}")
    if option or data:
        raise ValueError(
            "--set and --data are for svge, and items of graphpnas that train networks"
        )
    if paper == "gnn2gnn" and item != "search":
        cli_gnn2gnn.reproduce(
            item,
            gnn2gnn.scale_of(scale),
            seeds=seeds,
            first_seed=first_seed,
            only=only or (),
            tables=tables,
            run=run,
            out=out,
            options=options,
            json=json,
            quiet=quiet,
        )
        return
    flags = {"seeds": seeds, "first_seed": first_seed}
    changes: dict[str, Any] = {name: value for name, value in flags.items() if value is not None}
    small = "-smoke" if scale == "smoke" else ""
    fits = Path()
    if paper == "gnn2gnn":
        values = comparison(gnn2gnn.scale_of(scale)) | changes
        stem = "gnn2gnn-search"
    else:
        stem = runs_of(item)
        fits = (run or Path("runs") / f"graphpnas{small}").with_name(f"graphpnas-fits{small}")
        values = reproduction(item, scale, fits=fits) | changes
    described = _only(Experiment.parse(values), only or ())
    if paper == "graphpnas":
        _fit(described, fits, tables or default_tables(), smoke=bool(small), quiet=quiet)
    name = f"{paper}-{item}" + ("" if scale == "laptop" else f"-{scale}")
    shown = (
        changes | ({} if scale == "laptop" else {"scale": scale}) | ({"only": only} if only else {})
    )
    command = ["netwright", "reproduce", paper, item, *as_options(shown)]
    # Finished runs of one scale serve the other; those of the smoke scale have other settings.
    folder = run or Path("runs") / f"{stem}{small}"
    carry(described, name, folder, tables, out, command, workers=workers, json=json, quiet=quiet)


def _fit(described: Experiment, folder: Path, tables: Path, *, smoke: bool, quiet: bool) -> None:
    """Make the fits that methods search in, or go on with them."""
    for name, space in fits_of(described, folder):
        config = fit_config(name, space, tables, smoke=smoke)
        opened = cli_fit.open_run(folder / f"{name}-{space}", config)
        prepared = cli_fit.make(config)
        state = opened.state()
        if state is None or not prepared.finished_in(state):
            cli_fit.execute(opened, prepared, f"{name} on {space}", quiet=quiet)


def _only(described: Experiment, words: Sequence[str]) -> Experiment:
    """Keep the methods with one of the words in their label."""
    if not words:
        return described
    kept = [m for m in described.methods if any(word in m.label for word in words)]
    if not kept:
        known = "; ".join(method.label for method in described.methods)
        raise ValueError(f"no row has {words[0]!r} in its name: use {known}")
    there = described.baseline in [method.label for method in kept]
    changes = {"methods": tuple(kept), "baseline": described.baseline if there else None}
    return described.model_copy(update=changes)


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
    carry(
        experiment,
        plan.name,
        folder,
        plan.tables,
        plan.out,
        command,
        workers=1,
        json=json,
        quiet=plan.quiet,
    )
    if cell is not None:
        from netwright.report.latent_path import path_svg  # the chart stack takes a second

        searched = Run.open(run_folder(folder, cell, experiment.first_seed))
        image = path_svg(latent_path(searched))
        write_atomic(plan.path.with_name(f"{plan.path.name}-path.svg"), image)


def _row(method: dict[str, Any]) -> str:
    """Name a row of Table III, as ``SVGe + BO/best``."""
    return "/".join(filter(None, (method["name"], method.get("preset"))))
