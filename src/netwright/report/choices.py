"""Which operations and how many edges a search proposed, and how that changed."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from netwright.report import words
from netwright.report.drawing import colours, label
from netwright.report.gallery import has_one_topology
from netwright.report.markup import Markup, element
from netwright.report.methods import name_of
from netwright.report.panels import Panel, numbers
from netwright.report.parts import Section, chart, operations
from netwright.report.vega import CONFIG, Rows, Spec, finished
from netwright.spaces.base import SearchSpace
from netwright.spaces.nasbench201 import CELL_EDGES, NASBench201

_WINDOWS = 30
_NARROWEST = 5  # evaluations of a window
_POSITIONS = 12  # most that are tabulated
_ABSENT = "var(--line)"  # an operation that is drawn hollow


def choices(panels: Sequence[Panel], space: SearchSpace) -> Section:
    """Chart the operations and edges that were proposed, window by window."""
    if not panels:
        return Section(None, {})
    end = 1 + max(int(numbers(panel).max()) for panel in panels)
    width = max(_NARROWEST, math.ceil(end / _WINDOWS))
    specs: dict[str, Spec] = {}
    parts: list[Markup] = []
    used = torch.stack([_counts(panel, space).sum(dim=0) for panel in panels]).sum(dim=0) > 0
    names = [name for name, there in zip(space.op_names, used.tolist(), strict=True) if there]
    if names:
        figures = []
        for i, panel in enumerate(panels):
            specs[f"operations {i}"] = _operations(panel, space, width, end)
            title = f"{panel.title}, {words.plural(len(panel.rows), 'proposal')}"
            about = f"Share of each operation, {panel.title}, against evaluations"
            figures.append(element("figure", element("h3", title), chart(f"operations {i}", about)))
        parts += [operations(names, space), element("div", *figures, cls="pair")]
    if bool(space.layout.free.any()):
        specs["edges"] = _edges(panels, width, end)
        marks = [
            element("li", element("i", cls="dot", style=f"--dot:{panel.colour}"), panel.title)
            for panel in panels
        ]
        parts += [
            element("h3", "Edges per graph"),
            element("p", "Mean of each window; the band is one standard deviation.", cls="note"),
            element("ul", *marks, cls="legend", aria_label="Origins"),
            chart("edges", "Edges per graph against evaluations"),
        ]
    elif has_one_topology(space):
        name = name_of(space.name, space.name)
        text = f"The edges of {name} are fixed: only its operations are chosen."
        parts.append(element("p", text, cls="note"))
    parts += [positions for positions in [_positions(panels, space)] if positions]
    text = (
        f"What was proposed, in windows of {words.plural(width, 'evaluation')}. "
        "Counted are the nodes whose operation the space leaves open."
    )
    body = element(
        "section",
        element("h2", "Operations and edges over time"),
        element("p", text, cls="muted"),
        *parts,
        aria_label="Operations and edges over time",
    )
    return Section(body, specs)


def unreadable(error: ValueError) -> Section:
    """Stand in for all that needs the graphs of a ledger."""
    text = f"The ledger's architectures cannot be read: {words.short(str(error), 300)}"
    body = element(
        "section",
        element("h2", "Operations and edges over time"),
        element("p", text, cls="muted"),
    )
    return Section(body, {})


def _counts(panel: Panel, space: SearchSpace) -> Float[Tensor, "graph op"]:
    """Count the operations at nodes that have a choice; the one that ends a graph is none."""
    archs, layout = panel.archs.pad(space.layout.max_nodes), space.layout
    open_ = (layout.allowed_ops.sum(dim=1) > 1) & archs.node_mask
    if layout.end_op is not None:
        open_ &= archs.ops != layout.end_op
    one_hot = torch.nn.functional.one_hot(archs.ops, layout.num_ops) * open_[:, :, None]
    return one_hot.sum(dim=1).double()


def _windowed(
    values: Float[Tensor, "graph column"], window: Int[Tensor, " graph"]
) -> Float[Tensor, "window column"]:
    """Sum rows by window."""
    total = torch.zeros(int(window.max()) + 1, values.shape[1], dtype=values.dtype)
    return total.index_add(0, window, values)


def _x(end: int, *, binned: bool = False) -> Any:
    import altair as alt  # half a second, and only reports need it

    return alt.X(
        "from:Q" if binned else "evaluation:Q",
        title="evaluations",
        scale=alt.Scale(domain=[0, end], nice=False),
        axis=alt.Axis(tickCount=5, tickMinStep=1, format="~s" if end >= 10_000 else "d"),
    )


def _operations(panel: Panel, space: SearchSpace, width: int, end: int) -> Spec:
    """Chart the share of each operation as stacked bars, one per window."""
    import altair as alt  # as above

    total = _windowed(_counts(panel, space), numbers(panel) // width)
    upper = (total / total.sum(dim=1, keepdim=True)).cumsum(dim=1)
    rows: Rows = []
    paint = colours(space.op_names)
    for window in (total.sum(dim=1) > 0).nonzero()[:, 0].tolist():
        at = {"from": window * width, "to": min(end, (window + 1) * width)}
        below = 0.0
        for op, above in enumerate(upper[window].tolist()):
            if total[window, op] > 0:
                fill = paint[space.op_names[op]][0]
                about = {"operation": words.short(label(space.op_names[op]), 60)}
                about["colour"] = _ABSENT if fill == "none" else fill
                share = round(above - below, 4)
                low, high = round(below, 4), round(above, 4)
                rows.append({**at, **about, "share": share, "low": low, "high": high})
            below = above
    percent = alt.Axis(format="%", tickCount=3)
    bars = (
        alt.Chart(alt.NamedData("shares"))
        .mark_rect(strokeWidth=0)
        .encode(
            x=_x(end, binned=True),
            x2="to:Q",
            y=alt.Y("low:Q", title=None, scale=alt.Scale(domain=[0, 1]), axis=percent),
            y2="high:Q",
            color=alt.Color("colour:N", scale=None),
            tooltip=[
                alt.Tooltip("operation:N"),
                alt.Tooltip("share:Q", format=".1%"),
                alt.Tooltip("from:Q", title="from evaluation"),
            ],
        )
        .properties(width="container", height=190)
    )
    return finished(bars.configure(**CONFIG).to_dict(), {"shares": rows})


def _edges(panels: Sequence[Panel], width: int, end: int) -> Spec:
    """Chart mean and standard deviation of the number of edges by window."""
    import altair as alt  # as above

    rows: Rows = []
    for panel in panels:
        edges = panel.archs.num_edges.double()
        columns = torch.stack([torch.ones_like(edges), edges, edges**2], dim=1)
        sums = _windowed(columns, numbers(panel) // width)
        piece = 0  # a line ends where nothing was proposed
        for window, (n, total, squares) in enumerate(sums.tolist()):
            if not n:
                piece += 1
            else:
                mean = total / n
                sd = math.sqrt(max(0.0, squares / n - mean**2))
                middle = (window * width + min(end, (window + 1) * width)) / 2
                about: dict[str, Any] = {
                    "evaluation": middle,
                    "what": panel.title,
                    "colour": panel.colour,
                }
                about["piece"] = f"{panel.title} {piece}"
                ends = {"mean": round(mean, 3), "low": mean - sd, "high": mean + sd}
                rows.append(about | ends)
    base = alt.Chart(alt.NamedData("edges")).encode(
        x=_x(end), color=alt.Color("colour:N", scale=None), detail="piece:N"
    )
    y = alt.Y("mean:Q", title="edges", scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=4))
    band = base.mark_area(opacity=0.16).encode(y=alt.Y("low:Q", title="edges"), y2="high:Q")
    line = base.mark_line(strokeWidth=2, point={"size": 30}).encode(
        y=y,
        tooltip=[alt.Tooltip("mean:Q", title="edges, mean", format=".2f"), alt.Tooltip("what:N")],
    )
    spec = alt.layer(band, line).properties(width="container", height=170)
    return finished(spec.configure(**CONFIG).to_dict(), {"edges": rows})


def _positions(panels: Sequence[Panel], space: SearchSpace) -> Markup | None:
    """Tabulate which operation stands where, early and late, if nodes keep their places."""
    open_ = (space.layout.allowed_ops.sum(dim=1) > 1).nonzero()[:, 0].tolist()
    if space.layout.end_op is not None or not 0 < len(open_) <= _POSITIONS:
        return None
    learned = [panel for panel in panels if panel.title == "generator"] or panels
    ops = torch.cat([panel.archs.ops for panel in learned])
    number, order = torch.cat([numbers(panel) for panel in learned]).sort(stable=True)
    ops, part = ops[order], max(1, len(ops) // 4)
    tables = []
    for when, chosen in (("First", slice(None, part)), ("Last", slice(-part, None))):
        share = torch.nn.functional.one_hot(ops[chosen], space.layout.num_ops).double().mean(dim=0)
        first, last = int(number[chosen][0]) + 1, int(number[chosen][-1]) + 1
        title = f"{when} quarter (evaluations {first:,} to {last:,})"
        tables.append(_heat_map(title, share, open_, space))
    whose = "the generator's proposals" if learned is not panels else "all proposals"
    where = "edges of the cell" if isinstance(space, NASBench201) else "nodes"
    return element(
        "div",
        element("h3", f"Operations by place, over the {where}"),
        element("p", f"Share of {whose} with that operation in that place.", cls="note"),
        element("div", *tables, cls="pair"),
    )


def _heat_map(
    title: str, share: Float[Tensor, "node op"], nodes: Sequence[int], space: SearchSpace
) -> Markup:
    ops = space.layout.allowed_ops[list(nodes)].any(dim=0).nonzero()[:, 0].tolist()
    head = [element("th", label(space.op_names[op]), scope="col") for op in ops]
    rows = []
    for node in nodes:
        name = f"node {node}"
        if isinstance(space, NASBench201):
            name = "{} → {}".format(*CELL_EDGES[node - 1])
        cells = []
        for op in ops:
            value = float(share[node, op])
            cells.append(element("td", f"{value:.0%}", cls="heat", style=f"--share:{value:.3f}"))
        rows.append(element("tr", element("th", name, scope="row"), *cells))
    table = element(
        "table",
        element("caption", title),
        element("thead", element("tr", element("td"), *head)),
        element("tbody", *rows),
        cls="heatmap",
    )
    return element("div", table, cls="scroll")
