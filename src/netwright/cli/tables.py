"""`netwright table`: tabular benchmarks on disk."""

import time
from pathlib import Path
from typing import Annotated

import typer

from netwright.cli.build import build, say_agreement
from netwright.cli.options import SPACE_NAMES, Json, Quiet, SpaceSettings, settings
from netwright.cli.output import duration, print_json, say
from netwright.cli.reading import reading
from netwright.cli.surrogate import say_surrogate, surrogate
from netwright.config.base import SpaceConfig
from netwright.config.objects import make_space
from netwright.spaces.nasbenchgraph import NASBenchGraph
from netwright.tables.build import seed_agreement
from netwright.tables.csv import import_csv, parse_column
from netwright.tables.derive import Keep
from netwright.tables.derive import derive as derived
from netwright.tables.download import download as fetch
from netwright.tables.format import Table
from netwright.tables.importers import SPACES, Format, recognise
from netwright.tables.nasbench101 import import_nasbench101
from netwright.tables.nasbenchgraph import import_nasbenchgraph
from netwright.tables.natsbench import import_natsbench

app = typer.Typer(
    no_args_is_help=True, help="Download, import, build, describe and query tabular benchmarks."
)

app.command()(build)
app.command()(surrogate)

TableFile = Annotated[Path, typer.Argument(metavar="FILE", help="A table (.safetensors).")]


@app.command("import")
def import_table(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A CSV file, or an official file or folder.")
    ],
    space: Annotated[
        str | None,
        typer.Option(
            "--space",
            "-s",
            help=f"For CSV: {SPACE_NAMES}. Official files have one of their own.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The table to write; NAME.safetensors.")
    ] = None,
    file_format: Annotated[
        Format | None,
        typer.Option("--format", help="What the file is. Not needed: the file itself tells."),
    ] = None,
    all_runs: Annotated[
        bool,
        typer.Option(
            "--all-runs",
            help="Of official files, keep single repeats (seeds) and halfway evaluations too, "
            "beside their means.",
        ),
    ] = False,
    at_epoch: Annotated[
        list[int] | None,
        typer.Option(
            metavar="N",
            help="Of NATS-Bench, keep the accuracies after N epochs of a training too. Repeatable.",
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=METRIC[:UNIT]",
            help="What a CSV column is, e.g. acc=mydata/valid@100:percent. Repeatable. Not needed "
            "for the NAS-Bench-101, -201 and ENAS CSV files, whose columns are known.",
        ),
    ] = None,
    source: Annotated[str, typer.Option(help="Where the measurements come from.")] = "",
    licence: Annotated[str | None, typer.Option(help="Their licence.")] = None,
    options: SpaceSettings = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Turn a file of measurements into a table that opens in milliseconds.

    FILE is one of

    * a CSV file, possibly gzipped: a header and a row per architecture, its text form in a column
      `arch` (for NAS-Bench-101 also `adjacency` and `operations`, for ENAS `ops` and `skips`),
      measurements in the others;

    * `nasbench_only108.tfrecord` or `nasbench_full.tfrecord` of NAS-Bench-101;

    * NATS-Bench's topology space: the folder `NATS-tss-v1_0-3ffb9-simple` (extracted), or
      `NATS-tss-v1_0-3ffb9.pickle.pbz2`, or NAS-Bench-201's `.pth`. Nothing in them is executed;

    * NAS-Bench-Graph: `nas-bench-graph` for the installed package, or its wheel; with
      `--set proteins=true` the data set of proteins, which is a table of its own.

    `netwright table info` lists the metrics; docs/tables.md says which one to report.
    """
    kind = file_format or recognise(file)
    name = _space_of(kind, space, file)
    if kind not in ("csv", "nasbenchgraph") and options:
        raise ValueError(f"--set is for CSV files: {file} is of all of {name}")
    if kind != "natsbench" and at_epoch:
        raise ValueError(f"--at-epoch is for NATS-Bench, and {file} is {kind}")
    if kind != "csv" and column:
        raise ValueError(f"--column is for CSV files, and {file} is {kind}")
    if kind in ("csv", "nasbenchgraph") and all_runs:
        raise ValueError(f"--all-runs is for official files of runs, and {file} is {kind}")
    opened = make_space(SpaceConfig(name=name, **settings(options)))
    if out is None:
        out = Path(file.name.split(".")[0] + ".safetensors")
    source = source or file.name
    begun = time.monotonic()
    match kind:
        case "csv":
            with reading("rows", quiet=quiet) as progress:
                columns = dict(parse_column(text) for text in column) if column else None
                rows = import_csv(
                    file,
                    opened,
                    source=source,
                    licence=licence or "not stated",
                    columns=columns,
                    progress=progress,
                )
        case "nasbench101":
            with reading("records", quiet=quiet) as progress:
                rows = import_nasbench101(
                    file,
                    source=source,
                    licence=licence or "Apache-2.0",
                    all_runs=all_runs,
                    progress=progress,
                )
        case "natsbench":
            with reading("cells", quiet=quiet) as progress:
                rows = import_natsbench(
                    file,
                    source=source,
                    licence=licence or "MIT",
                    all_runs=all_runs,
                    at_epochs=at_epoch or (),
                    progress=progress,
                )
        case "nasbenchgraph":
            assert isinstance(opened, NASBenchGraph)
            with reading("architectures", quiet=quiet) as progress:
                rows = import_nasbenchgraph(
                    file,
                    opened,
                    source=source,
                    licence=licence or "Apache-2.0",
                    progress=progress,
                )
    out.parent.mkdir(parents=True, exist_ok=True)
    table = Table.write(out, opened, rows)
    seconds = time.monotonic() - begun
    if json:
        print_json(table.info() | {"seconds": seconds, "rows_per_second": len(table) / seconds})
        return
    say(f"wrote {out}: {len(table):,} architectures of {table.space_name}")
    say(f"in {duration(seconds)}, {len(table) / seconds:,.0f} rows/s")
    say("metrics: " + ", ".join(table.metrics))


def _space_of(kind: Format, space: str | None, file: Path) -> str:
    own = SPACES.get(kind)
    if own is None and space is None:
        raise ValueError(f"{file} is a CSV file: say of which --space its architectures are")
    if own is not None and space not in (None, own):
        raise ValueError(f"{file} is a file of {own}, not of {space}: leave --space out")
    return own or space or ""


@app.command()
def download(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where the file is; https only.")],
    sha256: Annotated[
        str, typer.Option("--sha256", metavar="HEX", help="The checksum that its authors state.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="What to call it; as in the URL if left out.")
    ] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option(
            metavar="PEM",
            help="Certificates to trust instead of the system's; so does SSL_CERT_FILE.",
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Download an official file, verified by its SHA-256.

    A download that was cut, or stopped with Ctrl-C, goes on with the same command. The file gets
    its name only when its checksum was found right; one that is there already is verified.
    """
    with reading("", quiet=quiet, amount=lambda done: f"{done / 1e6:,.1f} MB") as progress:
        path = fetch(url, out, sha256=sha256, ca_file=ca_file, progress=progress)
    if json:
        print_json({"path": str(path), "bytes": path.stat().st_size, "sha256": sha256.lower()})
        return
    say(f"{path}: {path.stat().st_size:,} bytes, SHA-256 as stated")


@app.command()
def derive(
    file: TableFile,
    space: Annotated[
        str,
        typer.Option(
            "--space",
            "-s",
            help="What the new table is of: nats_pruned, or nasbench201 (one cell per graph).",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The table to write; SPACE.safetensors.")
    ] = None,
    keep: Annotated[
        Keep,
        typer.Option(
            help="What to keep where several cells are one graph: the mean of each metric, or "
            "the lowest."
        ),
    ] = "mean",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a table with one row for each graph that cells of nasbench201 are pruned to.

    The space nats_pruned has NAS-Bench-201's cells without `none` and dangling operations, as
    GNN2GNN generates them. Cells that differ in nothing else are one architecture. With --space
    nasbench201, one of these cells stands for them, in the benchmark's own form.
    """
    source, out = Table.open(file), out or Path(f"{space}.safetensors")
    out.parent.mkdir(parents=True, exist_ok=True)
    table = derived(source, space=space, keep=keep, out=out)
    if json:
        print_json(table.info())
        return
    if not quiet:
        say(f"wrote {table.path}: {len(table):,} architectures of {table.space_name}")
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
    if agreement := seed_agreement(table):
        facts["agreement"] = agreement
    if verify:
        table.verify()
        facts["verified"] = True
    if json:
        print_json(facts)
        return
    for key in ("space", "rows", "bytes", "source", "licence", "checksum", "verified"):
        if key in facts:
            say(f"{key:<9} {facts[key]}")
    say_surrogate(table)
    say("metrics")
    for name in table.metrics:
        column = table.column(name)
        known = column[~column.isnan()]
        largest = f"   largest {float(known.max()):.6g}" if len(known) else ""
        say(f"  {name:<28} {facts['measured'][name]:>9,} measured{largest}")
    say_agreement(table)


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
