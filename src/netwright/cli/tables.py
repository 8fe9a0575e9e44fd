"""`netwright table`: tabular benchmarks on disk."""

from pathlib import Path
from typing import Annotated

import typer

from netwright.cli.options import Json, Quiet, SpaceOption, SpaceSettings, settings
from netwright.cli.output import print_json, remark, say
from netwright.config.objects import make_space
from netwright.config.schema import SpaceConfig
from netwright.tables.csv import import_csv, parse_column
from netwright.tables.format import Table

app = typer.Typer(no_args_is_help=True, help="Import, describe and query tabular benchmarks.")

TableFile = Annotated[Path, typer.Argument(metavar="FILE", help="A table (.safetensors).")]


@app.command("import")
def import_table(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A CSV file, possibly gzipped.")],
    space: SpaceOption,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The table to write; NAME.safetensors.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=METRIC[:UNIT]",
            help="What a column is, e.g. acc=mydata/valid@100:percent. Repeatable. Not needed for "
            "the NAS-Bench-101 and -201 files, whose columns are known.",
        ),
    ] = None,
    source: Annotated[str, typer.Option(help="Where the measurements come from.")] = "",
    licence: Annotated[str, typer.Option(help="Their licence.")] = "not stated",
    options: SpaceSettings = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Turn a CSV file of measurements into a table that opens in milliseconds.

    The CSV has a header and a row per architecture: its text form in a column `arch` (for
    NAS-Bench-101 also `adjacency` and `operations`), and measurements in the others.
    """
    opened = make_space(SpaceConfig(name=space, **settings(options)))
    if out is None:
        out = Path(file.name.split(".")[0] + ".safetensors")
    columns = dict(parse_column(text) for text in column) if column else None
    shown = 0

    def progress(rows: int) -> None:
        nonlocal shown
        if not quiet and rows - shown >= 100_000:
            shown = rows
            remark(f"{rows:,} rows ...")

    rows = import_csv(
        file,
        opened,
        source=source or file.name,
        licence=licence,
        columns=columns,
        progress=progress,
    )
    table = Table.write(out, opened, rows)
    table.verify()
    if json:
        print_json(table.info())
        return
    say(f"wrote {out}: {len(table):,} architectures of {table.space_name}")
    say("metrics: " + ", ".join(table.metrics))


@app.command()
def info(
    file: TableFile,
    verify: Annotated[bool, typer.Option("--verify", help="Check the data's checksum.")] = False,
    json: Json = False,
) -> None:
    """Describe a table: space, rows, metrics and how many rows each was measured for."""
    table = Table.open(file)
    facts = table.info()
    if verify:
        table.verify()
        facts["verified"] = True
    if json:
        print_json(facts)
        return
    for key in ("space", "rows", "bytes", "source", "licence", "checksum", "verified"):
        if key in facts:
            say(f"{key:<9} {facts[key]}")
    say("metrics")
    for name in table.metrics:
        column = table.column(name)
        best = float(column[~column.isnan()].max())
        say(f"  {name:<28} {facts['measured'][name]:>9,} measured   largest {best:.6g}")


@app.command()
def query(
    file: TableFile,
    arch: Annotated[
        list[str] | None, typer.Argument(metavar="ARCH...", help="Architectures as text.")
    ] = None,
    best: Annotated[
        str | None, typer.Option(metavar="METRIC", help="The best rows by this metric instead.")
    ] = None,
    top: Annotated[int, typer.Option("-n", min=1, help="How many of the best.")] = 1,
    space: Annotated[
        str | None, typer.Option("--space", "-s", help="Needed for a space of your own.")
    ] = None,
    options: SpaceSettings = None,
    json: Json = False,
) -> None:
    """Look architectures up in a table, or list its best."""
    table = Table.open(file)
    opened = make_space(SpaceConfig(name=space or table.space_name, **settings(options)))
    if (best is None) == (not arch):
        raise ValueError("name architectures, or --best METRIC")
    if best is not None:
        order = table.column(best).nan_to_num(nan=float("-inf")).argsort(descending=True)
        index = order[:top]
        archs = table.archs(index)
    else:
        archs = opened.parse(arch or [])
        index = table.lookup(opened.keys(archs))
        for i in (index < 0).nonzero()[:, 0].tolist():
            raise LookupError(f"{opened.to_text(archs[i : i + 1])[0]} is not in {file}")
    texts = opened.to_text(archs)
    rows = [
        {"arch": text} | {name: float(table.column(name)[row]) for name in table.metrics}
        for text, row in zip(texts, index.tolist(), strict=True)
    ]
    if json:
        print_json(rows)
        return
    for row in rows:
        say(str(row["arch"]))
        for name in table.metrics:
            say(f"  {name:<28} {row[name]:.6g}")
