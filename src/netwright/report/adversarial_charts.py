"""The charts of an adversarial fit: training, accuracies, the best of a table, the valuer."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from netwright.report.adversarial_views import Judged, Measured, Spread
from netwright.report.vega import CONFIG, INK, MUTED, Rows, Spec, finished

MADE, TABLE, SEEN, HELD_OUT = "var(--hue0)", "var(--hue5)", "var(--ink)", "var(--hue2)"
TOPS = ("top-5", "top-10", "top-50")
BINS = 60
POINTS = 3000  # drawn; more cannot be told apart, and the page stays small
_LEFT_OUT = (0.02, 0.05)  # of the table, the worst: they would press all others into a corner


def curve(
    points: Sequence[tuple[float, float]],
    *,
    level: float | None = None,
    heeded: float | None = None,
    share: bool = False,
) -> Spec:
    """Chart a quantity against the number of graphs seen in training.

    Args:
        points: Graphs seen, and the quantity.
        level: Where it is if nothing is told; a dashed line.
        heeded: Graphs seen when the valuer is first heeded; an upright line.
        share: Whether it is a share, to be shown in percent from 0 to 1.
    """
    import altair as alt  # half a second, and only reports need it

    scale = alt.Scale(domain=[0, 1]) if share else alt.Scale(zero=True)
    x = alt.X(
        "graphs:Q",
        title="graphs seen",
        scale=alt.Scale(domainMin=0, nice=False),
        axis=alt.Axis(tickCount=4, format="~s", labelOverlap=True),
    )
    axis = alt.Axis(tickCount=4, format="%" if share else "~g")
    y = alt.Y("value:Q", title=None, scale=scale, axis=axis)
    told = [
        alt.Tooltip("value:Q", format=".1%" if share else ".4~g"),
        alt.Tooltip("graphs:Q", format=",", title="graphs seen"),
    ]
    line = alt.Chart(alt.NamedData("history")).mark_line(
        strokeWidth=1.9, strokeJoin="round", color=MADE, point={"size": 14, "color": MADE}
    )
    flat = alt.Chart(alt.NamedData("level")).mark_rule(stroke=MUTED, strokeDash=[6, 4])
    upright = alt.Chart(alt.NamedData("heeded")).mark_rule(stroke=SEEN, strokeDash=[2, 3])
    spec = alt.layer(
        flat.encode(y=y), upright.encode(x=x), line.encode(x=x, y=y, tooltip=told)
    ).properties(width="container", height=190)
    datasets: dict[str, Rows] = {
        "history": [{"graphs": at, "value": value} for at, value in points],
        "level": [] if level is None else [{"value": level}],
        "heeded": [] if heeded is None else [{"graphs": heeded}],
    }
    return finished(spec.configure(**CONFIG).to_dict(), datasets)


def lowest(spread: Spread) -> float:
    """Return the accuracy from which on accuracies are drawn.

    2 % of the table lie below, or up to 5 % if no larger share of what was generated does.
    """
    least, most = (_quantile(spread.table, share) for share in _LEFT_OUT)
    made = _quantile(spread.made, _LEFT_OUT[1]) if len(spread.made) else most
    return max(least, min(most, made))


def histogram(spread: Spread, metric: str) -> Spec:
    """Chart which share of the generated and of all architectures has which accuracy."""
    import altair as alt  # as above

    low, high = lowest(spread), float(spread.table.max())
    high = high if high > low else low + 1e-3
    edges = torch.linspace(low, high, BINS + 1, dtype=torch.double)
    rows: Rows = []
    for what, colour, values in (
        ("all of the table", TABLE, spread.table),
        ("generated", MADE, spread.made),
    ):
        counts = _counts(values.double(), edges)
        for i, count in enumerate(counts):
            ends = {
                "from": round(100 * float(edges[i]), 4),
                "to": round(100 * float(edges[i + 1]), 4),
            }
            rows.append(
                ends | {"what": what, "colour": colour, "share": count / max(1, len(values))}
            )
    scale = alt.Scale(domain=[100 * low, 100 * high], nice=False)
    x: dict[str, Any] = {"title": f"{metric} (%)", "scale": scale, "axis": alt.Axis(tickCount=8)}
    y = alt.Y(
        "share:Q",
        title="share",
        stack=None,
        axis=alt.Axis(tickCount=5, format="%"),
        scale=alt.Scale(domain=[0, 1.04 * max(row["share"] for row in rows) or 1], nice=False),
    )
    bars = (
        alt.Chart(alt.NamedData("accuracies"))
        .mark_rect(opacity=0.55)
        .encode(
            x=alt.X("from:Q", **x),
            x2="to:Q",
            y=y,
            y2=alt.datum(0),
            color=alt.Color("colour:N", scale=None),
            tooltip=[
                alt.Tooltip("what:N"),
                alt.Tooltip("share:Q", format=".2%"),
                alt.Tooltip("from:Q", format=".2f"),
                alt.Tooltip("to:Q", format=".2f"),
            ],
        )
    )
    band = alt.Chart(alt.NamedData("held out")).mark_rect(fill=HELD_OUT, opacity=0.16)
    rule = alt.Chart(alt.NamedData("seen")).mark_rule(
        stroke=SEEN, strokeDash=[6, 4], strokeWidth=1.6
    )
    spec = alt.layer(
        band.encode(x=alt.X("from:Q", **x), x2="to:Q"),
        bars,
        rule.encode(x=alt.X("at:Q", **x), tooltip=alt.Tooltip("at:Q", format=".2f")),
    ).properties(width="container", height=300)
    held_out = spread.held_out
    datasets: dict[str, Rows] = {
        "accuracies": rows,
        "held out": []
        if held_out is None
        else [{"from": 100 * max(low, held_out[0]), "to": 100 * held_out[1]}],
        "seen": [{"at": 100 * spread.best_seen}] if low <= spread.best_seen <= high else [],
    }
    return finished(spec.configure(**CONFIG).to_dict(), datasets)


def tops(measures: Sequence[Measured]) -> Spec:
    """Chart which share of the graphs is among the best 5, 10 and 50 % of the table."""
    import altair as alt  # as above

    rows: Rows = [
        {
            "top": top.capitalize(),
            "what": measured.name,
            "colour": measured.colour,
            "value": round(measured.values[top], 3),
            "text": f"{measured.values[top]:.1f}",
        }
        for measured in measures
        for top in TOPS
        if math.isfinite(measured.values.get(top, math.nan))
    ]
    names = [measured.name for measured in measures]
    highest = max([10.0, *(row["value"] for row in rows)])
    base = alt.Chart(alt.NamedData("tops")).encode(
        x=alt.X(
            "top:N",
            title=None,
            sort=[top.capitalize() for top in TOPS],
            scale=alt.Scale(paddingInner=0.18, paddingOuter=0.05),
            axis=alt.Axis(labelAngle=0, labelFlush=False),
        ),
        xOffset=alt.XOffset("what:N", sort=names, scale=alt.Scale(paddingInner=0.1)),
        y=alt.Y(
            "value:Q",
            title="% of the graphs",
            scale=alt.Scale(domain=[0, min(100.0, highest * 1.12)], nice=False),
            axis=alt.Axis(tickCount=5),
        ),
    )
    bars = base.mark_bar(cornerRadiusEnd=3).encode(
        color=alt.Color("colour:N", scale=None),
        tooltip=[alt.Tooltip("what:N"), alt.Tooltip("top:N"), alt.Tooltip("value:Q", format=".2f")],
    )
    text = base.mark_text(dy=-8, fontSize=11, color=INK).encode(text="text:N")
    spec = alt.layer(bars, text).properties(width="container", height=300)
    return finished(spec.configure(**CONFIG).to_dict(), {"tops": rows})


def judgements(judged: Judged, metric: str, low: float) -> Spec:
    """Chart what the valuer says of cells over their accuracy.

    Args:
        judged: What it says.
        metric: The accuracy.
        low: Cells below that accuracy are not drawn.
    """
    import altair as alt  # as above

    shown = (judged.actual >= low).nonzero()[:, 0][:POINTS]
    rows: Rows = [
        {"x": round(100 * x, 3), "y": round(100 * y, 3)}
        for x, y in zip(
            judged.actual[shown].tolist(), judged.predicted[shown].tolist(), strict=True
        )
    ]
    classifies = judged.classifies
    said = "probability of being strong (%)" if classifies else f"predicted {metric} (%)"
    high = max([100 * low + 0.1, *(row["x"] for row in rows)])
    along = alt.Scale(domain=[100 * low, high], nice=False, padding=6)
    up = alt.Scale(zero=classifies, padding=6)
    x = alt.X("x:Q", title=f"{metric} (%)", scale=along, axis=alt.Axis(tickCount=6))
    y = alt.Y("y:Q", title=said, scale=up, axis=alt.Axis(tickCount=5))
    told = [alt.Tooltip("y:Q", title="valuer", format=".4~g"), alt.Tooltip("x:Q", title=metric)]
    dots = (
        alt.Chart(alt.NamedData("cells"))
        .mark_circle(size=16, opacity=0.4, color=MADE)
        .encode(x=x, y=y, tooltip=told)
    )
    rule = alt.Chart(alt.NamedData("strong")).mark_rule(stroke=SEEN, strokeDash=[6, 4])
    line = alt.Chart(alt.NamedData("equal")).mark_line(stroke=MUTED, strokeDash=[6, 4])
    spec = alt.layer(dots, rule.encode(x=x), line.encode(x=x, y=y))
    spec = spec.properties(width="container", height=340)
    datasets: dict[str, Rows] = {
        "cells": rows,
        "strong": [{"x": 100 * judged.strong}] if judged.strong is not None else [],
        "equal": [] if classifies else [{"x": at, "y": at} for at in (100 * low, high)],
    }
    return finished(spec.configure(**CONFIG).to_dict(), datasets)


def _quantile(values: torch.Tensor, share: float) -> float:
    """Return the value that this share of all lies below."""
    ascending = values.double().sort().values
    return float(ascending[int(share * len(ascending))])


def _counts(values: torch.Tensor, edges: torch.Tensor) -> list[int]:
    """Count values between edges; the last edge counts as inside."""
    inside = values[(values >= edges[0]) & (values <= edges[-1])]
    place = (torch.searchsorted(edges, inside, right=True) - 1).clamp(max=len(edges) - 2)
    counts: list[int] = place.bincount(minlength=len(edges) - 1).tolist()
    return counts
