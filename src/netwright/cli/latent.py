"""What the commands do with a fit: its page, its samples, and `netwright reproduce svge`."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch

from netwright.cli.fit import execute, open_run
from netwright.cli.output import print_json, remark, say
from netwright.config.fits import FitConfig, load_generator, make_fit, read_graphs
from netwright.config.objects import make_space
from netwright.config.schema import merge
from netwright.generators.base import HasLatent
from netwright.generators.fit import Record
from netwright.generators.latent import encode_means
from netwright.graphs.batch import ArchitectureBatch
from netwright.reproductions import isomorphism, learning, svge
from netwright.reproductions.experiment import default_tables
from netwright.reproductions.latent_page import latent_page, scores_of
from netwright.reproductions.svge import Cell, Scale
from netwright.results import Row, write_results
from netwright.rng import stream
from netwright.runs.fits import FitRun
from netwright.spaces.base import rejection_sample

#: Training graphs whose encodings tell where in the latent space to draw.
_ENCODED = 5000
ITEMS = ("table1", "fig2", "fig3-left", "isomorphism")
_ONE_FIT = "--only and --seeds are for table1, --first-seed chooses the fit"


def scale_of(name: str) -> Scale:
    """Return the scale of that name.

    Raises:
        ValueError: If there is none.
    """
    for scale in svge.SCALES:
        if scale == name:
            return scale
    raise ValueError(f"unknown scale {name!r}: use {', '.join(svge.SCALES)}")


def report_fit(folder: Path, out: Path | None, table: Path | None, metric: str | None) -> Path:
    """Write the page about the latent space of a fit; return its path."""
    from netwright.report.latent import write_latent_report  # the chart stack takes a second

    run = FitRun.open(folder)
    page, space = latent_page(run, scores=scores_of(run, table, metric))
    return write_latent_report(page, space, out or folder / "report.html")


def sample_fit(folder: Path, n: int, seed: int) -> list[str]:
    """Draw valid architectures from the generator of a fit, in their space's text form.

    Latent points are drawn with the mean and the standard deviation of the encodings of training
    graphs, as by the published protocol: with a small weight of the divergence, encodings are not
    distributed like the prior.
    """
    run = FitRun.open(folder)
    config = FitConfig.parse(run.config)
    space, generator = make_space(config.space), load_generator(run)
    rng = stream(seed, "sample")
    if not isinstance(generator, HasLatent):
        archs = rejection_sample(space, n, lambda count: generator.sample(count, rng=rng))
        return space.to_text(archs)
    known = encode_means(generator, read_graphs(config, space).train[:_ENCODED])
    mean, sd, decode = known.mean(dim=0), known.std(dim=0), generator.decode

    def draw(count: int) -> ArchitectureBatch:
        noise = torch.randn(count, len(mean), generator=rng, dtype=mean.dtype)
        return decode(mean + sd * noise, rng=rng)

    return space.to_text(rejection_sample(space, n, draw))


def reproduce_svge(
    item: str,
    scale: Scale,
    *,
    seeds: Sequence[int],
    only: Sequence[str],
    changes: Mapping[str, Any],
    tables: Path | None,
    run: Path | None,
    out: Path | None,
    options: Sequence[str],
    json: bool,
    quiet: bool,
) -> None:
    """Carry out an item of [SVGe] and publish it.

    Raises:
        ValueError: If there is no such item, or a row has no such name.
        FileNotFoundError: If a table is missing.
    """
    if item not in ITEMS:
        raise ValueError(f"unknown item {item!r} of svge: use {', '.join(ITEMS)}")
    if item != "table1" and (only or len(seeds) > 1):
        raise ValueError(f"{item} is of one fit, of SVGe to NAS-Bench-101: {_ONE_FIT}")
    name = f"svge-{item}" + ("" if scale == "laptop" else f"-{scale}")
    path = out or Path("docs") / "results" / name
    path = path.with_name(path.name.removesuffix(".json"))
    folder = run or Path("runs") / ("svge" if scale == "laptop" else f"svge-{scale}")
    command = shlex.join(["netwright", "reproduce", "svge", item, *options])
    plan = _Plan(folder, scale, seeds, tables or default_tables(), changes)
    if item == "table1":
        rows = _table1(plan, only, path, command, quiet=quiet)
    elif item == "isomorphism":
        fit = _fitted(Cell("nasbench101", "svge"), plan, seeds[0], quiet=quiet)
        rows = isomorphism.experiment(fit, limit=500 if scale == "smoke" else None)
        write_results(
            path, rows, title=isomorphism.TITLE, note=isomorphism.NOTE, command=command, seeds=seeds
        )
    else:
        fit = _fitted(Cell("nasbench101", "svge"), plan, seeds[0], quiet=quiet)
        rows = _figure(item, fit, path, command, seeds[0])
    if json:
        print_json({"results": f"{path}.json", "rows": [asdict(row) for row in rows]})
        return
    for row in rows:
        way = f", {row.preset}" if row.preset else ""
        paper = "" if row.paper is None else f"   paper {row.paper}"
        say(f"{row.benchmark}  {row.method}{way}: {row.metric} {row.mean:.2f}{paper}")
    if not quiet:
        say(f"wrote {path}.json and {path.name}.md")


class _Plan(NamedTuple):
    """How an item is to be carried out: where, at which scale, with which seeds and settings."""

    folder: Path
    scale: Scale
    seeds: Sequence[int]
    tables: Path
    changes: Mapping[str, Any]

    def config(self, cell: Cell, seed: int) -> FitConfig:
        """Return the fit of a row."""
        described = svge.fit_config(cell, self.scale, self.tables, seed=seed).resolved()
        return FitConfig.parse(merge(described, self.changes))


def _table1(
    plan: _Plan, only: Sequence[str], path: Path, command: str, *, quiet: bool
) -> list[Row]:
    """Fit and measure every row, and publish those that are finished."""
    folder, scale, seeds = plan.folder, plan.scale, plan.seeds
    chosen = svge.cells(only)
    for cell in chosen:  # all settings and tables, before anything starts
        plan.config(cell, seeds[0])
    for cell in chosen:
        for seed in seeds:
            opened = _fitted(cell, plan, seed, quiet=quiet)
            if not quiet:
                remark(f"{cell.name}: taking the measures")
            svge.measured(opened, scale, seed=seed)
    found, curves, epochs = [], [], {}
    for cell in svge.cells():
        for seed in seeds:
            place = svge.fit_folder(folder, cell, seed)
            if not svge.is_measured(place, scale):
                continue
            opened = FitRun.open(place)
            found += svge.measured(opened, scale, seed=seed)
            state = opened.state()
            assert state is not None
            epochs[cell.space] = state["size"]
            if seed == seeds[0]:
                records = [Record(**record) for record in state["history"]]
                curves.append(learning.Curve(cell.space, svge.METHODS[cell.method], records))
    rows = svge.rows_of(found) + svge.learning_rows(curves, epochs)
    write_results(
        path,
        rows,
        title="SVGe, Table I: what variational autoencoders of graphs can do",
        note=svge.NOTE,
        command=command,
        seeds=seeds,
        chart=learning.draw(curves),
        caption="Held-out reconstruction over graphs seen",
    )
    return rows


def _fitted(cell: Cell, plan: _Plan, seed: int, *, quiet: bool) -> FitRun:
    """Carry the fit of a row out, or go on with it."""
    config = plan.config(cell, seed)
    opened = open_run(svge.fit_folder(plan.folder, cell, seed), config)
    prepared = make_fit(config)
    state = opened.state()
    if state is None or not prepared.finished_in(state):
        execute(opened, prepared, f"{cell.name}, seed {seed}", quiet=quiet)
    return opened


def _figure(item: str, run: FitRun, path: Path, command: str, seed: int) -> list[Row]:
    """Draw a figure, and write how smooth the latent space is beside it."""
    from netwright.report.latent_figures import fig2_svg, fig3_left_svg

    page, space = latent_page(run, scores=scores_of(run, None, None), seed=seed)
    assert page.circle is not None
    assert page.plane is not None
    assert page.lines is not None
    image = fig2_svg(page.circle, space) if item == "fig2" else fig3_left_svg(page.plane, space)
    rows = svge.smoothness_rows(page, item)
    write_results(
        path,
        rows,
        title=svge.FIGURES[item],
        note=svge.FIGURE_NOTES[item],
        command=command,
        seeds=[seed],
        chart=image,
        caption=svge.FIGURES[item],
    )
    return rows
