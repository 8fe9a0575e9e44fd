"""The sections of a page about a latent space."""

import math
from collections.abc import Sequence

import torch

from netwright.graphs.batch import ArchitectureBatch
from netwright.metrics import edit_distance
from netwright.report import latent_charts as charts
from netwright.report import words
from netwright.report.drawing import draw_svg
from netwright.report.latent_views import LatentPage, Plane
from netwright.report.markup import Markup, element
from netwright.report.methods import name_of
from netwright.report.parts import Section, chart, copy_button, heading, operations, table
from netwright.report.topology import RAMP
from netwright.report.vega import Spec
from netwright.spaces.base import SearchSpace

_DRAWN = 7  # cells of a side of the grid that are drawn
_TERMS = {"lr": "Learning rate", "kl": "KL divergence", "total": "Loss"}
SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)  # of the ramp that are labelled


def header(page: LatentPage, space: SearchSpace) -> Section:
    """Say what was trained on what, and how long it took."""
    text = f"Trained on {page.data}. {words.plural(page.latent_size, 'latent dimension')}."
    facts = [
        ("Parameters", f"{page.parameters:,}"),
        ("Graphs seen", f"{page.graphs:,}"),
        ("Epochs", f"{page.epochs:,.1f}".removesuffix(".0")),
        ("Training", words.duration(page.seconds)),
    ]
    tiles = [element("div", element("dt", n), element("dd", value)) for n, value in facts]
    body = element(
        "header",
        element("p", "Netwright latent space report", cls="eyebrow"),
        element(
            "h1", f"The latent space of {name_of(page.method, '')} on {name_of(space.name, '')}"
        ),
        element("p", text, cls="lead"),
        element("dl", *tiles, cls="tiles"),
    )
    return Section(body, {})


def metrics(page: LatentPage) -> Section:
    """Tabulate numbers beside those of the paper."""
    if not page.metrics:
        return Section(None, {})
    published = any(row.paper is not None for row in page.metrics)
    columns = ["Measure", "Here", *["Paper"] * published]
    rows = [
        [row.name, words.number(row.value), *[words.number(row.paper)] * published]
        for row in page.metrics
    ]
    title = element("h2", "Generation")
    return Section(
        element("section", title, table(columns, rows, numbers=1), aria_label="Generation"), {}
    )


def training(page: LatentPage) -> Section:
    """Chart what was measured during training."""
    specs: dict[str, Spec] = {}
    figures = []
    curves = page.curves()
    for i, (name, lines) in enumerate(curves.items()):
        specs[f"training {i}"] = charts.curve(lines)
        title = _TERMS.get(name.lower(), heading(name))
        about = f"{title} against the number of graphs seen"
        figures.append(
            element("figure", element("h3", title), chart(f"training {i}", about), cls="curve")
        )
    if not figures:
        return Section(None, {})
    drawn = {line for lines in curves.values() for line in lines}
    marks = [_mark(name, colour) for name, colour in charts.COLOUR.items() if name in drawn]
    body = element(
        "section",
        element("h2", "Training"),
        element("ul", *marks, cls="legend", aria_label="Curves") if marks else None,
        element("div", *figures, cls="pair"),
        aria_label="Training",
    )
    return Section(body, specs)


def plane(page: LatentPage, space: SearchSpace) -> Section:
    """Show latent means by score, and what a grid of their principal plane decodes to."""
    if page.plane is None:
        return Section(None, {})
    view = page.plane
    valid = valid_ones(view.cells, space)
    specs = {"means": charts.scatter(view), "grid": charts.grid(view, valid)}
    drawn = sum(len(specs["means"]["datasets"][name]) for name in ("means", "others"))
    total, known = len(view.points), bool(view.score.isfinite().any())
    some = f", {drawn:,} of them drawn" if drawn < total else ""
    title = "The principal plane of the latent means"
    coloured = f", coloured by {view.score_name}" if known else ""
    members = sum(valid) / len(valid)
    text = (
        f"{words.plural(total, 'architecture')}{some}, at their latent means{coloured}. The origin "
        f"is their mean. The dashed square is decoded at {view.k} × {view.k} points: "  # noqa: RUF001 (times)
        f"{members:.0%} become architectures of the space, crosses do not."
    )
    figures = [
        element("figure", element("h3", name), chart(place, about))
        for name, place, about in (
            ("Latent means", "means", "Latent means of architectures, coloured by score"),
            ("The decoded grid", "grid", "Scores of the graphs that a grid decodes to"),
        )
    ]
    body = element(
        "section",
        element("h2", title),
        element("p", text, cls="muted"),
        _ramp(view) if known else None,
        element("div", *figures, cls="pair"),
        *_cells(view, valid, space),
        aria_label=title,
    )
    return Section(body, specs)


def circle(page: LatentPage, space: SearchSpace) -> Section:
    """Draw the graphs around a circle in order, with the edits from each to the next."""
    if page.circle is None or not len(page.circle):
        return Section(None, {})
    walk, n = page.circle, len(page.circle)
    edits = edits_around(walk)
    valid = valid_ones(walk, space)
    members = [i for i in range(n) if valid[i]]
    texts = (
        dict(zip(members, space.to_text(walk[torch.tensor(members)]), strict=True))
        if members
        else {}
    )
    cells = []
    for i in range(n):
        head = element(
            "div",
            element("span", f"{i + 1}", cls="value"),
            copy_button(texts[i], f"graph {i + 1}") if valid[i] else None,
            cls="head",
        )
        following = "back to the first" if i == n - 1 else "to the next"
        change = element("div", f"{words.plural(edits[i], 'edit')} {following}")
        mark = None if valid[i] else element("div", "× invalid", cls="cross")  # noqa: RUF001 (the mark in the charts)
        foot = element("div", mark, change, cls="foot")
        picture = element("div", drawing(walk[i : i + 1], space), cls="picture")
        cells.append(element("li", head, picture, foot, cls="cell"))
    text = (
        f"{words.plural(n, 'point')}, equally far apart, of a great circle through the encoding of "
        "the first graph in a random direction, decoded. An edit is an operation or an edge that "
        f"differs; neighbours differ in {sum(edits) / n:.2g} on average."
    )
    title = "Around a circle"
    body = element(
        "section",
        element("h2", title),
        element("p", text, cls="muted"),
        operations(names_in(walk, space), space),
        element("ol", *cells, cls="gallery", style="--wide:150px"),
        aria_label=title,
    )
    return Section(body, {})


def smoothness(page: LatentPage, space: SearchSpace) -> Section:
    """Chart how many edits lie along walks between encodings."""
    if page.lines is None:
        return Section(None, {})
    lines = page.lines
    step, _, most = charts.mean_and_band(lines.neighbours())
    random = charts.mean_and_band(lines.random())[0]
    valid = valid_ones(lines.archs, space)
    text = (
        f"{words.plural(lines.pairs, 'pair')} of architectures, joined in the latent space by "
        f"walks of {lines.steps} points, decoded; {sum(valid) / len(valid):.0%} of the graphs are "
        f"architectures of the space. A graph and the next differ in {step:.2f} edits on average, "
        f"and 95 % of them in at most {most:g}; random architectures differ in {random:.2f}."
    )
    specs = {"ends": charts.to_the_ends(lines), "next": charts.to_the_next(lines)}
    marks = [
        _mark("to the start", charts.START),
        _mark("to the end", charts.END),
        _mark("to the next", charts.STEP),
        _mark("between random architectures", "var(--muted)"),
    ]
    figures = [
        element("figure", element("h3", name), chart(place, f"{name}, along the way"))
        for name, place in (("Edits to both ends", "ends"), ("Edits to the next graph", "next"))
    ]
    band = f"Mean over the pairs; {charts.BAND:.0%} of them lie in the band."
    body = element(
        "section",
        element("h2", "Smoothness"),
        element("p", text, cls="muted"),
        element("ul", *marks, cls="legend", aria_label="Distances"),
        element("p", band, cls="note"),
        element("div", *figures, cls="pair"),
        aria_label="Smoothness",
    )
    return Section(body, specs)


def valid_ones(archs: ArchitectureBatch, space: SearchSpace) -> list[bool]:
    """Tell which graphs are, simplified, architectures of the space."""
    return space.is_valid(space.simplify(archs)).tolist()


def edits_around(walk: ArchitectureBatch) -> list[int]:
    """Count the edits from each graph to the next, and from the last to the first."""
    return edit_distance(walk, walk[(torch.arange(len(walk)) + 1) % len(walk)]).tolist()


def names_in(archs: ArchitectureBatch, space: SearchSpace) -> list[str]:
    """Name the operations that occur, in the order of the space."""
    used = set(archs.ops[archs.node_mask].tolist())
    return [name for i, name in enumerate(space.op_names) if i in used]


def drawing(
    arch: ArchitectureBatch, space: SearchSpace, *, title: str = "", named: bool = True
) -> Markup:
    """Draw one decoded graph, or say why that is impossible."""
    try:
        return Markup(draw_svg(arch, space.op_names, title=title, named=named))
    except ValueError as error:
        return element("p", f"This graph cannot be drawn: {words.short(str(error), 200)}")


def ramp_colour(percentile: float) -> str:
    """Return the colour of a percentile."""
    stops = [[int(stop[i : i + 2], 16) for i in (1, 3, 5)] for stop in RAMP]
    place = percentile * (len(stops) - 1)
    i = min(int(place), len(stops) - 2)
    mixed = [a + (b - a) * (place - i) for a, b in zip(stops[i], stops[i + 1], strict=True)]
    return "#" + "".join(f"{round(part):02x}" for part in mixed)


def drawn_cells(view: Plane) -> list[int]:
    """Return which cells of the grid are drawn: evenly spaced ones, the corners among them."""
    side = min(view.k, _DRAWN)
    along = [round(i * (view.k - 1) / (side - 1)) for i in range(side)]
    return [row * view.k + column for row in along for column in along]


def _cells(view: Plane, valid: Sequence[bool], space: SearchSpace) -> list[Markup]:
    chosen = drawn_cells(view)
    score, rank = view.cell_scores.tolist(), view.percentile(view.cell_scores).tolist()
    cells = []
    for i in chosen:
        known = valid[i] and math.isfinite(score[i])
        said = f"{view.score_name} {words.score(score[i])}" if known else "valid"
        said = said if valid[i] else "invalid"
        title = f"Decoded at row {i // view.k + 1}, column {i % view.k + 1}: {said}"
        picture = drawing(view.cells[i : i + 1], space, title=title, named=False)
        cross = element("i", "×", cls="cross")  # noqa: RUF001 (the mark in the chart)
        cells.append(
            element(
                "li",
                picture,
                None if valid[i] else cross,
                cls=None if valid[i] else "invalid",
                style=f"--dot:{ramp_colour(rank[i]) if known else 'var(--line)'}",
                title=said,
            )
        )
    side = min(view.k, _DRAWN)
    every = "Every point" if side == view.k else f"{side} × {side} of the points"  # noqa: RUF001 (times)
    below = (
        f" The bar is the colour of its {view.score_name}." if view.cell_score is not None else ""
    )
    return [
        element("h3", "What the grid decodes to"),
        element("p", f"{every} of the grid, where they lie.{below} × is invalid.", cls="note"),  # noqa: RUF001 (as above)
        operations(names_in(view.cells[torch.tensor(chosen)], space), space),
        element("ol", *cells, cls="grid", style=f"--side:{side}"),
    ]


def _ramp(view: Plane) -> Markup:
    """Show the colours of the percentiles, and the scores there."""
    marks = [
        element(
            "li",
            element("i", cls="dot", style=f"--dot:{ramp_colour(share)}"),
            f"{words.score(view.quantile(share))}",
            element("small", f"({share:.0%})"),
        )
        for share in SHARES
    ]
    name = element("li", f"{heading(view.score_name)} (percentile):")
    return element("ul", name, *marks, cls="legend", aria_label="Colours of scores")


def _mark(name: str, colour: str) -> Markup:
    return element("li", element("i", cls="dot", style=f"--dot:{colour}"), name)
