"""`netwright reproduce svge`: what each table and figure of [SVGe] takes."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from netwright.cli.fit import execute, open_run
from netwright.cli.output import print_json, remark, say
from netwright.config.base import merge
from netwright.config.fits import FitConfig, make_fit
from netwright.generators.fit import Record
from netwright.reproductions import extrapolation, isomorphism, learning, prediction, svge
from netwright.reproductions.experiment import default_tables
from netwright.reproductions.latent_page import latent_page, scores_of
from netwright.reproductions.outcome import Outcome
from netwright.reproductions.svge import Cell, Scale
from netwright.results import Row, write_results
from netwright.runs.fits import FitRun

#: The fit that the figures, the predictor and extrapolation are about.
_CELL = Cell("nasbench101", "svge")


@dataclass(frozen=True)
class Plan:
    """How an item is to be carried out.

    Attributes:
        item: Which.
        scale: How much of it.
        seeds: Its seeds; those of the item if None.
        first_seed: The first of them; the fit that figures are about.
        only: Words in the names of the rows wanted; all if empty.
        changes: To the settings of the fits.
        tables: The folder of tables; the usual one if None.
        run: The folder of fits; the usual one if None.
        data: Images that networks are trained on.
        out: Where the results go, less ``.json``; the usual place if None.
        options: The command-line options that ask for this.
        quiet: Whether to show no progress.
    """

    item: str
    scale: Scale
    seeds: int | None = None
    first_seed: int | None = None
    only: Sequence[str] = ()
    changes: Mapping[str, Any] | None = None
    tables: Path | None = None
    run: Path | None = None
    data: str | None = None
    out: Path | None = None
    options: Sequence[str] = ()
    quiet: bool = False

    @property
    def name(self) -> str:
        """What the results are called."""
        return f"svge-{self.item}" + ("" if self.scale == "laptop" else f"-{self.scale}")

    @property
    def path(self) -> Path:
        """Where the results go, less ``.json``."""
        path = self.out or Path("docs") / "results" / self.name
        return path.with_name(path.name.removesuffix(".json"))

    @property
    def folder(self) -> Path:
        """Where the fits are."""
        return self.run or Path("runs") / ("svge" if self.scale == "laptop" else self.scaled)

    @property
    def scaled(self) -> str:
        """The name of a folder for this scale."""
        return f"svge-{self.scale}"

    @property
    def table_folder(self) -> Path:
        """Where the tables are."""
        return self.tables or default_tables()

    @property
    def command(self) -> str:
        """The command that asks for this."""
        return shlex.join(["netwright", "reproduce", "svge", self.item, *self.options])

    def seed_list(self, usual: int) -> list[int]:
        """Return the seeds, as many as usual unless told otherwise."""
        first = self.first_seed or 0
        return list(range(first, first + (self.seeds or usual)))

    def config(self, cell: Cell, seed: int) -> FitConfig:
        """Return the fit of a row of Table I."""
        described = svge.fit_config(cell, self.scale, self.table_folder, seed=seed).resolved()
        return FitConfig.parse(merge(described, self.changes or {}))

    def tell(self, line: str) -> None:
        """Show what is being done."""
        if not self.quiet:
            remark(line)


def scale_of(name: str) -> Scale:
    """Return the scale of that name.

    Raises:
        ValueError: If there is none.
    """
    for scale in svge.SCALES:
        if scale == name:
            return scale
    raise ValueError(f"unknown scale {name!r}: use {', '.join(svge.SCALES)}")


def insist(plan: Plan) -> None:
    """Do nothing if the options are such as the item takes.

    Raises:
        ValueError: If there is no such item, or it does not take an option.
    """
    item = plan.item
    if item not in ITEMS:
        raise ValueError(f"unknown item {item!r} of svge: use {', '.join(ITEMS)}")
    if plan.seeds is not None and plan.seeds < 1:
        raise ValueError(f"--seeds must be at least 1, not {plan.seeds}")
    if plan.only and item not in ("table1", "table2", "table3"):
        raise ValueError(f"--only is for tables 1 to 3: {item} has no rows to choose from")
    if plan.seeds is not None and item in ("fig2", "fig3-left", "isomorphism"):
        raise ValueError(f"{item} is of one fit: choose it with --first-seed, not --seeds")
    if plan.data is not None and item not in ("table4", "table5"):
        raise ValueError(f"--data is for tables 4 and 5, which train networks: {item} does not")


def reproduce(plan: Plan, *, json: bool) -> None:
    """Carry out an item of [SVGe] other than Table III, and publish it.

    Raises:
        ValueError: If there is no such item, or a setting is wrong.
        FileNotFoundError: If a table or images are missing.
    """
    insist(plan)
    rows = _MADE[plan.item](plan)
    if json:
        print_json({"results": f"{plan.path}.json", "rows": [asdict(row) for row in rows]})
        return
    for row in rows:
        way = f", {row.preset}" if row.preset else ""
        budget = f" @{row.budget}" if row.budget else ""
        paper = "" if row.paper is None else f"   paper {row.paper}"
        value = f"{row.mean:.2f}" if abs(row.mean) >= 1 else f"{row.mean:.4f}"
        say(f"{row.benchmark}{budget}  {row.method}{way}: {row.metric} {value}{paper}")
    if not plan.quiet:
        say(f"wrote {plan.path}.json and {plan.path.name}.md")


def fitted(cell: Cell, plan: Plan, seed: int) -> FitRun:
    """Carry the fit of a row of Table I out, or go on with it."""
    config = plan.config(cell, seed)
    opened = open_run(svge.fit_folder(plan.folder, cell, seed), config)
    prepared = make_fit(config)
    state = opened.state()
    if state is None or not prepared.finished_in(state):
        execute(opened, prepared, f"{cell.name}, seed {seed}", quiet=plan.quiet)
    return opened


def _table1(plan: Plan) -> list[Row]:
    """Fit and measure every row, and publish those that are finished."""
    scale, seeds = plan.scale, plan.seed_list(1)
    chosen = svge.cells(plan.only)
    for cell in chosen:  # all settings and tables, before anything starts
        plan.config(cell, seeds[0])
    for cell in chosen:
        for seed in seeds:
            opened = fitted(cell, plan, seed)
            plan.tell(f"{cell.name}: taking the measures")
            svge.measured(opened, scale, seed=seed)
    found, curves, epochs = [], [], {}
    for cell in svge.cells():
        for seed in seeds:
            place = svge.fit_folder(plan.folder, cell, seed)
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
        plan.path,
        rows,
        title="SVGe, Table I: what variational autoencoders of graphs can do",
        note=svge.NOTE,
        command=plan.command,
        seeds=seeds,
        chart=learning.draw(curves),
        caption="Held-out reconstruction over graphs seen",
    )
    return rows


def _table2(plan: Plan) -> list[Row]:
    """Fit predictors, in the latent spaces of Table I and by themselves."""
    others = {
        method: fitted(Cell("nasbench101", method), plan, 0)
        for method in ("dgmg", "dvae")
        if not plan.only or any(method in word or word in method for word in plan.only)
    }
    seeds = plan.seed_list(2 if plan.scale == "smoke" else 3)
    outcome = prediction.table2(
        fitted(_CELL, plan, 0),
        folder=_beside(plan, "prediction"),
        scale=plan.scale,
        seeds=seeds,
        only=plan.only,
        tables=plan.table_folder,
        tell=plan.tell,
        others=others,
    )
    return _publish(plan, outcome, prediction.TITLE, prediction.NOTE, seeds)


def _fig3_right(plan: Plan) -> list[Row]:
    seeds = plan.seed_list(1)
    outcome = prediction.fig3_right(
        fitted(_CELL, plan, 0),
        folder=_beside(plan, "prediction"),
        scale=plan.scale,
        seeds=seeds,
        tables=plan.table_folder,
        tell=plan.tell,
    )
    return _publish(plan, outcome, prediction.FIGURE_TITLE, prediction.NOTE, seeds)


def _extrapolated(plan: Plan) -> list[Row]:
    """Rank cells of eight nodes, and train some."""
    seeds = plan.seed_list(1)
    make = extrapolation.table4 if plan.item == "table4" else extrapolation.table5
    outcome = make(
        fitted(_CELL, plan, 0),
        folder=_beside(plan, "extrapolation"),
        scale=plan.scale,
        seeds=seeds,
        tables=plan.table_folder,
        data=plan.data,
        tell=plan.tell,
    )
    title, note = extrapolation.TITLES[plan.item], extrapolation.NOTES[plan.item]
    return _publish(plan, outcome, title, note, seeds)


def _isomorphism(plan: Plan) -> list[Row]:
    seed = plan.first_seed or 0
    limit = 500 if plan.scale == "smoke" else None
    rows = isomorphism.experiment(fitted(_CELL, plan, seed), limit=limit)
    outcome = Outcome(rows, None, "")
    return _publish(plan, outcome, isomorphism.TITLE, isomorphism.NOTE, [seed])


def _figure(plan: Plan) -> list[Row]:
    """Draw a figure, and write how smooth the latent space is beside it."""
    from netwright.report.latent_figures import fig2_svg, fig3_left_svg

    seed, item = plan.first_seed or 0, plan.item
    run = fitted(_CELL, plan, seed)
    page, space = latent_page(run, scores=scores_of(run, None, None), seed=seed)
    assert page.circle is not None
    assert page.plane is not None
    image = fig2_svg(page.circle, space) if item == "fig2" else fig3_left_svg(page.plane, space)
    outcome = Outcome(svge.smoothness_rows(page, item), image, svge.FIGURES[item])
    return _publish(plan, outcome, svge.FIGURES[item], svge.FIGURE_NOTES[item], [seed])


def _publish(
    plan: Plan, outcome: Outcome, title: str, note: str, seeds: Sequence[int]
) -> list[Row]:
    write_results(
        plan.path,
        outcome.rows,
        title=title,
        note=note,
        command=plan.command,
        seeds=seeds,
        chart=outcome.chart,
        caption=outcome.caption,
    )
    return outcome.rows


def _beside(plan: Plan, name: str) -> Path:
    """Return where what is made of the fits goes."""
    return plan.folder.with_name(f"{plan.folder.name}-{name}")


_MADE: dict[str, Callable[[Plan], list[Row]]] = {
    "table1": _table1,
    "table2": _table2,
    "table4": _extrapolated,
    "table5": _extrapolated,
    "fig2": _figure,
    "fig3-left": _figure,
    "fig3-right": _fig3_right,
    "isomorphism": _isomorphism,
}
#: Table III is an experiment: see `netwright.cli.experiments`.
ITEMS = tuple(sorted([*_MADE, "table3"], key=lambda item: (not item.startswith("table"), item)))
