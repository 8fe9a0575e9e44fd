"""Clustering coefficient against average path length, coloured by score ([GraphPNAS] Fig. 3)."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from netwright.graphs import dag
from netwright.report import words
from netwright.report.charts import MAX_POINTS, score_range
from netwright.report.gallery import has_one_topology
from netwright.report.markup import element
from netwright.report.methods import name_of
from netwright.report.panels import Panel, numbers
from netwright.report.parts import Section, chart
from netwright.report.summary import Summary, is_failed
from netwright.report.vega import CONFIG, Rows, Spec, finished
from netwright.spaces.base import SearchSpace

#: From the lowest score to the highest; told apart on a light and on a dark page.
RAMP = ("#97a3b0", "#3f97d3", "#7a5bd0", "#cf2f86")
_AT_ONCE = 4096
_Place = tuple[float, float]


def topology(panels: Sequence[Panel], runs: Sequence[Summary], space: SearchSpace) -> Section:
    """Chart where the graphs of each panel lie; of several runs, those of their second halves."""
    title = "Clustering and path length"
    if not panels:
        return Section(None, {})
    if has_one_topology(space):
        name = name_of(space.name, space.name)
        text = f"All graphs of {name} have the same edges, so there is nothing to compare."
        body = element("section", element("h2", title), element("p", text, cls="muted"))
        return Section(body, {})
    late = len(runs) > 1
    clouds = [(panel, _cloud(panel, space, late=late)) for panel in panels]
    clouds = [(panel, cloud) for panel, cloud in clouds if cloud]
    if not clouds:
        return Section(None, {})
    best = [max(scores) for _, cloud in clouds for scores in cloud.values()]
    low, high = score_range(runs)[1], max(best)
    xs = [x for _, cloud in clouds for x, _ in cloud]
    ys = [y for _, cloud in clouds for _, y in cloud]
    domains = _widened(min(xs), max(xs)), _widened(min(ys), max(ys))
    specs: dict[str, Spec] = {}
    figures = []
    for i, (panel, cloud) in enumerate(clouds):
        specs[f"topology {i}"] = _scatter(cloud, domains, (low, high))
        n = sum(len(scores) for scores in cloud.values())
        figures.append(
            element(
                "figure",
                element("h3", f"{panel.title}, {words.plural(n, 'graph')}"),
                chart(f"topology {i}", f"Clustering against path length, {panel.title}"),
            )
        )
    stops = ",".join(RAMP)
    ramp = element(
        "p",
        "score ",
        words.score(low),
        element("i", cls="ramp", style=f"background:linear-gradient(90deg,{stops})"),
        words.score(high),
        cls="note",
    )
    text = (
        "Of the undirected graph: how many pairs of a node's neighbours are joined, and how many "
        "edges lie between two nodes, on average. A dot stands for the graphs at one place: its "
        "size for their number, its colour for their mean score."
    )
    if late:
        text += " Shown is the second half of each run."
    body = element(
        "section",
        element("h2", title),
        element("p", text, cls="muted"),
        ramp,
        element("div", *figures, cls="pair"),
        aria_label=title,
    )
    return Section(body, specs)


def _cloud(panel: Panel, space: SearchSpace, *, late: bool) -> dict[_Place, list[float]]:
    """Collect the scores at each place, at most as many places as can be told apart."""
    number = numbers(panel)
    ok = torch.tensor([not is_failed(row) for row in panel.rows])
    if late:
        ok &= number >= int(number.max() + 1) // 2
    chosen = ok.nonzero()[:, 0]
    archs, rows = panel.archs[chosen], [panel.rows[i] for i in chosen.tolist()]
    places: dict[_Place, list[float]] = {}
    for start in range(0, len(archs), _AT_ONCE):
        part, _ = space.with_ends(archs[start : start + _AT_ONCE])
        x = dag.average_path_length(part).tolist()
        y = dag.clustering_coefficient(part).tolist()
        for row, *place in zip(rows[start : start + _AT_ONCE], x, y, strict=True):
            score = row.score
            if score is not None and math.isfinite(score) and not math.isnan(place[0]):
                places.setdefault((round(place[0], 3), round(place[1], 3)), []).append(score)
    stride = max(1, math.ceil(len(places) / MAX_POINTS))
    return dict(list(places.items())[::stride])


def _widened(low: float, high: float) -> list[float]:
    margin = (high - low) * 0.06 or 0.05
    return [low - margin, high + margin]


def _scatter(
    cloud: dict[_Place, list[float]],
    domains: tuple[list[float], list[float]],
    scores: tuple[float, float],
) -> Spec:
    import altair as alt  # half a second, and only reports need it

    rows: Rows = [
        {
            "path": x,
            "clustering": y,
            "graphs": len(found),
            "score": math.fsum(found) / len(found),
            "best": max(found),
        }
        for (x, y), found in cloud.items()
    ]
    rows.sort(key=lambda row: -row["graphs"])  # small dots lie on large ones
    most = max(row["graphs"] for row in rows)
    scale: dict[str, Any] = {"nice": False, "zero": False}
    dots = (
        alt.Chart(alt.NamedData("graphs"))
        .mark_circle(opacity=0.85, stroke="var(--card)", strokeWidth=0.7)
        .encode(
            x=alt.X(
                "path:Q",
                title="average path length",
                scale=alt.Scale(domain=domains[0], **scale),
                axis=alt.Axis(tickCount=5),
            ),
            y=alt.Y(
                "clustering:Q",
                title="clustering coefficient",
                scale=alt.Scale(domain=domains[1], **scale),
                axis=alt.Axis(tickCount=4),
            ),
            size=alt.Size(
                "graphs:Q",
                legend=None,
                scale=alt.Scale(domain=[1, max(2, most)], range=[36, 36 if most == 1 else 420]),
            ),
            color=alt.Color(
                "score:Q",
                legend=None,
                scale=alt.Scale(
                    domain=list(scores), range=list(RAMP), clamp=True, interpolate="rgb"
                ),
            ),
            tooltip=[
                alt.Tooltip("graphs:Q"),
                alt.Tooltip("score:Q", title="mean score", format=".5~g"),
                alt.Tooltip("best:Q", title="best score", format=".5~g"),
                alt.Tooltip("path:Q", title="path length", format=".3~f"),
                alt.Tooltip("clustering:Q", format=".3~f"),
            ],
        )
        .properties(width="container", height=250)
    )
    return finished(dots.configure(**CONFIG).to_dict(), {"graphs": rows})
