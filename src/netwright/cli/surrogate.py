"""`netwright table surrogate`: a full table predicted from a part of one."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from netwright.cli.options import Json, Quiet, SpaceSettings, settings
from netwright.cli.output import duration, print_json, say
from netwright.cli.reading import reading
from netwright.config.base import SpaceConfig
from netwright.config.objects import make_space
from netwright.tables.format import Table
from netwright.tables.surrogate import surrogate as predicted


def surrogate(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A table with measurements (.safetensors).")
    ],
    metric: Annotated[
        list[str],
        typer.Option("--metric", "-m", metavar="METRIC", help="What to predict. Repeatable."),
    ],
    rows: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Fit on so many measured rows, drawn at random; on all if left out."
        ),
    ] = None,
    of: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE", help="Predict the architectures of this table, not the whole space."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The table to write; FILE-surrogate.safetensors."),
    ] = None,
    runs: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="Add so many columns of drawn, noisy measurements."),
    ] = 0,
    keep_measured: Annotated[
        bool,
        typer.Option("--keep-measured", help="Let the rows fitted on keep their measurements."),
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the rows drawn, the fit and the runs.")] = 0,
    space: Annotated[
        str | None, typer.Option("--space", "-s", help="Needed for a space of your own.")
    ] = None,
    options: SpaceSettings = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Predict a whole space from the rows that were measured, as a surrogate benchmark.

    An ensemble of boosted trees is fitted on the graphs. The new table has the predicted mean of
    each metric, the deviation of a measurement from it, and the limits between which 95 of 100
    measurements lie; its header says that it is a surrogate, and how well it ranks rows that were
    measured but not fitted. docs/surrogate-tables.md says how it is made.

        netwright table surrogate part.safetensors --metric cifar10/test@108

        netwright table surrogate nb101.safetensors -m cifar10/test@108 --rows 10000 --runs 3
    """
    table = Table.open(file)
    opened = make_space(SpaceConfig(name=space or table.space_name, **settings(options)))
    out = out or Path(f"{file.stem}-surrogate.safetensors")
    if out.resolve() in (file.resolve(), *([of.resolve()] if of else [])):
        raise ValueError(f"{out} is a table to read: give the new one another name")
    begun = time.monotonic()
    with reading("architectures", quiet=quiet) as progress:
        made = predicted(
            table,
            opened,
            metric,
            rows=rows,
            of=None if of is None else Table.open(of),
            runs=runs,
            keep_measured=keep_measured,
            seed=seed,
            progress=progress,
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    written = Table.write(out, opened, made)
    seconds = time.monotonic() - begun
    if json:
        print_json(written.info() | {"seconds": seconds})
        return
    say(f"wrote {out}: {len(written):,} architectures of {written.space_name}")
    say(f"in {duration(seconds)}")
    say_surrogate(written)
    say("metrics: " + ", ".join(written.metrics))


def say_surrogate(table: Table) -> None:
    """Print of what a table is a surrogate, and how good, if it is one."""
    if table.surrogate is None:
        return
    about = table.surrogate
    say(f"surrogate of {about['of']}: {about['predictor']}, seed {about['seed']}")
    for name, facts in about["metrics"].items():
        say(
            f"  {name}: fitted on {facts['fitted_rows']:,} rows, noise sd {facts['noise_sd']:.3g}, "
            f"median {facts['noise_sd_median']:.3g}"
        )
        say(f"    cross-validated  {_agreement(facts['unseen'])}")
        if facts["held_out"] is not None:
            say(f"    held out         {_agreement(facts['held_out'])}")


def _agreement(facts: dict[str, Any]) -> str:
    shown = {"tau": "Kendall's tau", "r2": "R2", "rmse": "RMSE"}
    parts = [f"{word} {facts[key]:.3g}" for key, word in shown.items() if facts[key] is not None]
    parts.append(f"{100 * facts['coverage']:.1f} % within the 95 % interval")
    return f"{facts['rows']:,} rows: {', '.join(parts)}"
