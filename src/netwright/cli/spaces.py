"""`netwright space`: what there is to search."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from netwright.cli.options import Json, Quiet, SpaceName, SpaceSettings, settings
from netwright.cli.output import print_json, remark, say
from netwright.config.base import SpaceConfig
from netwright.config.objects import SPACES, make_space
from netwright.graphs.hashing import first_of_each, to_hex
from netwright.rng import stream
from netwright.spaces.base import Enumerable, SearchSpace

app = typer.Typer(no_args_is_help=True, help="List, describe, enumerate and draw search spaces.")


def _open(name: str, pairs: list[str] | None) -> SearchSpace:
    return make_space(SpaceConfig(name=name, **settings(pairs)))


def _facts(space: SearchSpace) -> dict[str, Any]:
    layout = space.layout
    return {
        "name": space.name,
        "size": space.size if isinstance(space, Enumerable) else None,
        "operations": list(space.op_names),
        "max_nodes": layout.max_nodes,
        "max_edges": layout.max_edges,
        "free_edges": int(layout.free.sum()),
        "forced_edges": int(layout.forced.sum()),
    }


@app.command("list")
def list_spaces(json: Json = False) -> None:
    """List the spaces that come with Netwright, and how many architectures each has."""
    rows = [{"name": name, "size": _facts(make())["size"]} for name, make in SPACES.items()]
    if json:
        print_json(rows)
        return
    for row in rows:
        say(f"{row['name']:<14} {row['size']:>13,} architectures")


@app.command()
def info(name: SpaceName, options: SpaceSettings = None, json: Json = False) -> None:
    """Describe a space: size, operations, limits, and one architecture as text."""
    space = _open(name, options)
    example = space.to_text(space.sample(1, rng=stream(0, "example")))[0]
    facts = _facts(space) | {"example": example}
    if json:
        print_json(facts)
        return
    for key, value in facts.items():
        shown = ", ".join(value) if isinstance(value, list) else value
        say(f"{key.replace('_', ' '):<13} {'unknown' if shown is None else shown}")


@app.command("enumerate")
def enumerate_space(
    name: SpaceName,
    options: SpaceSettings = None,
    out: Annotated[
        Path | None, typer.Option(help="Write key and text of every architecture to this file.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List every architecture of a space once, and count them by number of nodes."""
    space = _open(name, options)
    if not isinstance(space, Enumerable):
        raise ValueError(f"{space.name} has no `enumerate`: it cannot be listed")
    if not quiet:
        remark(f"enumerating {space.name} ...")
    begun = time.perf_counter()
    archs = space.enumerate()
    keys = space.keys(archs)
    distinct = len(first_of_each(keys))
    seconds = time.perf_counter() - begun
    sizes = archs.num_nodes.bincount().tolist()
    by_nodes = {str(n): count for n, count in enumerate(sizes) if count}
    if distinct != len(archs):
        raise RuntimeError(f"{space.name} lists {len(archs)} architectures, {distinct} distinct")
    if out is not None:
        lines = zip(to_hex(keys), space.to_text(archs), strict=True)
        out.write_text("".join(f"{key} {text}\n" for key, text in lines), encoding="utf-8")
    if json:
        facts = {"count": distinct, "by_nodes": by_nodes, "seconds": seconds}
        print_json({"space": space.name} | facts)
        return
    say(f"{distinct:,} distinct architectures in {seconds:.2f} s")
    for nodes, count in by_nodes.items():
        say(f"  {nodes} nodes {count:>9,}")


@app.command()
def draw(
    name: SpaceName,
    arch: Annotated[str, typer.Argument(help="The architecture as text.", metavar="ARCH")],
    out: Annotated[Path, typer.Option(help="The SVG file to write.")] = Path("architecture.svg"),
    options: SpaceSettings = None,
    json: Json = False,
) -> None:
    """Draw an architecture as SVG."""
    from netwright.report.drawing import draw_svg

    space = _open(name, options)
    archs = space.parse([arch])
    out.write_text(draw_svg(*space.with_ends(archs)), encoding="utf-8")
    if json:
        print_json({"file": str(out)})
    else:
        say(f"wrote {out}")
