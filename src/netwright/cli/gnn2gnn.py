"""`netwright reproduce gnn2gnn`: the tables of [GNN2GNN]."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from netwright.cli.output import bar, print_json, remark, say
from netwright.reproductions import gnn2gnn, transfer
from netwright.reproductions.adversaries import train
from netwright.reproductions.experiment import default_tables
from netwright.reproductions.gnn2gnn import Scale
from netwright.results import Row, write_results
from netwright.tables.format import Table

#: Seeds of each row, unless told otherwise.
_SEEDS = {"smoke": 2, "laptop": 5, "paper": 5}


def results_path(item: str, scale: Scale, out: Path | None) -> Path:
    """Return where the results go, less ``.json``."""
    name = f"gnn2gnn-{item}" + ("" if scale == "laptop" else f"-{scale}")
    path = out or Path("docs") / "results" / name
    return path.with_name(path.name.removesuffix(".json"))


def reproduce(
    item: str,
    scale: Scale,
    *,
    seeds: int | None,
    first_seed: int | None,
    only: Sequence[str],
    tables: Path | None,
    run: Path | None,
    out: Path | None,
    options: Sequence[str],
    json: bool,
    quiet: bool,
) -> None:
    """Train and measure what an item takes, and publish it.

    Raises:
        ValueError: If a setting is wrong.
        FileNotFoundError: If a table is missing.
    """
    if seeds is not None and seeds < 1:
        raise ValueError(f"--seeds must be at least 1, not {seeds}")
    place = tables or default_tables()
    if item == "overlap":
        _overlap(place, results_path(item, scale, out), json=json, quiet=quiet)
        return
    every = gnn2gnn.lines_of(item, scale, place)
    lines = [
        line
        for line in every
        if not only
        or any(word in f"{line.benchmark} {line.method}, {line.preset}" for word in only)
    ]
    if not lines:
        known = "; ".join(f"{line.method}, {line.preset}" for line in every)
        raise ValueError(f"no row has {only[0]!r} in its name: use {known}")
    first = first_seed or 0
    numbers = list(range(first, first + (seeds or _SEEDS[scale])))
    root = run or Path("runs") / ("gnn2gnn" if scale == "laptop" else f"gnn2gnn-{scale}")
    adversaries = list({a.name: a for line in lines if (a := line.adversary)}.values())
    events = train(adversaries, numbers, root)
    total = next(events).total
    with bar(total, "graphs", quiet=quiet) as progress:
        for event in events:
            progress.update(event.done, event.what)
    yardstick = gnn2gnn.yardsticks(place)
    rows: list[Row] = []
    for line in lines:
        if not quiet:
            remark(f"measuring {line.method}, {line.preset}")
        found = [gnn2gnn.measured(line, seed, root, yardstick(line), place) for seed in numbers]
        rows += gnn2gnn.rows_of(line, found, gnn2gnn.budget_of(line, root, first))
    path = results_path(item, scale, out)
    publish(
        path, item, rows, shlex.join(["netwright", "reproduce", "gnn2gnn", item, *options]), numbers
    )
    _show(rows, path, json=json, quiet=quiet)


def _show(rows: Sequence[Row], path: Path, *, json: bool, quiet: bool) -> None:
    """Say what came out."""
    if json:
        print_json({"results": f"{path}.json", "rows": [asdict(row) for row in rows]})
        return
    for row in rows:
        paper = "" if row.paper is None else f"   paper {row.paper}"
        spread = "" if row.sd is None else f" +- {row.sd:.2f}"
        say(f"{row.method}, {row.preset}: {row.metric} {row.mean:.2f}{spread}{paper}")
    if not quiet:
        say(f"wrote {path}.json and {path.name}.md")


def _overlap(tables: Path, path: Path, *, json: bool, quiet: bool) -> None:
    """Count what NAS-Bench-101 and NATS-Bench have in common, and publish it."""
    spaces = ("nasbench101", "nasbench201")
    rows = transfer.experiment(*(Table.open(gnn2gnn.table_of(name, tables)) for name in spaces))
    command = "netwright reproduce gnn2gnn overlap"
    write_results(path, rows, title=transfer.TITLE, note=transfer.NOTE, command=command)
    _show(rows, path, json=json, quiet=quiet)


def publish(path: Path, item: str, rows: Sequence[Row], command: str, seeds: Sequence[int]) -> None:
    """Write the results of an item."""
    from netwright.reproductions.gnn2gnn_charts import draw  # the chart stack takes a second

    chart, caption = draw(item, rows)
    write_results(
        path,
        rows,
        title=gnn2gnn.TITLES[item],
        note=gnn2gnn.note(item),
        command=command,
        seeds=seeds,
        chart=chart,
        caption=caption,
    )
