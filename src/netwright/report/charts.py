"""The charts of the page, as Vega-Lite specifications made with Altair.

Colours are variables of the page's style sheet, so that the charts follow a light, a dark and a
printed page without being drawn again.
"""

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

from netwright.report import words
from netwright.report.summary import Summary, is_failed

MAX_POINTS = 4000  # proposals drawn; more cannot be told apart, and the page stays small
_MAX_STEPS = 800
_FONT = "system-ui, -apple-system, Segoe UI, Roboto, sans-serif"
_INK, _MUTED, _GRID, _BAD = (f"var(--{name})" for name in ("ink", "muted", "grid", "bad"))

_CONFIG: dict[str, Any] = {
    "background": "transparent",
    "font": _FONT,
    "view": {"stroke": None},
    "axis": {
        "labelColor": _MUTED, "titleColor": _MUTED, "gridColor": _GRID, "domainColor": _GRID,
        "tickColor": _GRID, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": 500,
        "labelPadding": 6, "titlePadding": 10, "tickSize": 0, "labelFlush": True,
    },
    "axisX": {"grid": False},
    "axisY": {"domain": False},
}  # fmt: skip

_USUAL = {"generator": 0, "explorer": 1, "mutation": 2, "random": 4, "initial": 5}
_HUES = 7


def origin_colours(origins: Sequence[str]) -> dict[str, str]:
    """Give every origin a colour: the usual ones always the same, the others what is left."""
    free = [i for i in range(_HUES) if i not in {_USUAL.get(o) for o in origins}] or [0]
    others = [o for o in origins if o not in _USUAL]
    hue = {o: _USUAL[o] for o in origins if o in _USUAL}
    hue |= {o: free[i % len(free)] for i, o in enumerate(others)}
    return {origin: f"var(--hue{hue[origin]})" for origin in origins}


def run_colours(summaries: Sequence[Summary]) -> list[str]:
    """Give every run a colour; a single run is drawn in ink."""
    if len(summaries) == 1:
        return [_INK]
    return [f"var(--hue{i % _HUES})" for i in range(len(summaries))]


def progress(summaries: Sequence[Summary]) -> dict[str, Any]:
    """Return the chart of scores against evaluations.

    The best score so far is a step curve for each run. Of a single run the proposals are shown
    as well, by origin, and its failures at the bottom. The parameter ``hidden`` lists origins
    not to show; ``full`` asks for the range of all scores instead of the upper part.
    """
    import altair as alt  # half a second, and only reports need it

    low, robust, high = score_range(summaries)
    curves: list[dict[str, Any]] = [
        {"evaluation": x, "score": y, "run": summary.name, "colour": colour}
        for summary, colour in zip(summaries, run_colours(summaries), strict=True)
        for x, y in summary.incumbents()
        if math.isfinite(y)
    ]
    end = max([1, *(summary.rows[-1].index + 1 for summary in summaries if summary.rows)])
    full = alt.param(name="full", value=False)
    hidden = alt.param(name="hidden", value=[])
    x = alt.X(
        "evaluation:Q",
        title="evaluations",
        scale=alt.Scale(domain=[0, end * 1.01], nice=False),  # the last dot is whole
        axis=alt.Axis(tickCount=8, tickMinStep=1, format="~s" if end >= 10_000 else "d"),
    )
    y = alt.Y(
        "score:Q",
        title="score",
        scale=alt.Scale(
            domainMin=alt.ExprRef(f"full ? {low} : {robust}"),
            domainMax=high,
            zero=False,
            nice=False,
        ),
        axis=alt.Axis(tickCount=6),
    )
    line = (
        alt.Chart(alt.NamedData("curves"))
        .mark_line(interpolate="step-after", strokeWidth=2.2, clip=True, strokeJoin="round")
        .encode(
            x=x,
            y=y,
            color=alt.Color("colour:N", scale=None),
            detail="run:N",
            tooltip=[
                alt.Tooltip("score:Q", title="best so far", format=".5~g"),
                alt.Tooltip("evaluation:Q", title="from evaluation"),
                alt.Tooltip("run:N"),
            ],
        )
    )
    datasets: dict[str, list[dict[str, Any]]] = {"curves": curves}
    layers = [line]
    if len(summaries) == 1:
        datasets |= _points(summaries[0])
        size = 50 if len(datasets["scored"]) <= 300 else 24
        told = [
            alt.Tooltip("evaluation:Q"),
            alt.Tooltip("origin:N"),
            alt.Tooltip("arch:N", title="architecture"),
        ]
        points = (
            alt.Chart(alt.NamedData("scored"))
            .transform_filter("indexof(hidden, datum.origin) < 0")
            .mark_circle(size=size, opacity=0.6, clip=True)
            .encode(
                x=x,
                y=y,
                color=alt.Color("colour:N", scale=None),
                tooltip=[alt.Tooltip("score:Q", format=".5~g"), *told],
            )
        )
        crosses = (
            alt.Chart(alt.NamedData("failed"))
            .transform_filter("indexof(hidden, 'failed') < 0")
            .mark_point(shape="M-1,-1L1,1M-1,1L1,-1", size=40, strokeWidth=1.8, yOffset=-7)
            .encode(
                x=x,
                y=alt.value("height"),
                color=alt.value(_BAD),
                tooltip=[alt.Tooltip("reason:N", title="failed"), *told],
            )
        )
        best = (
            alt.Chart(alt.NamedData("best"))
            .mark_text(align="right", dx=-6, dy=-10, fontSize=13, fontWeight=700, color=_INK)
            .encode(x=x, y=y, text="text:N")
        )
        datasets["best"] = [c | {"text": words.score(c["score"])} for c in curves[-1:]]
        layers = [points, crosses, line, best]
    chart = alt.layer(*layers).add_params(full, hidden).properties(width="container", height=340)
    return _finished(chart.configure(**_CONFIG).to_dict(), datasets)


def score_range(summaries: Sequence[Summary]) -> tuple[float, float, float]:
    """Return the lowest score, the lowest worth showing at first, and the highest, with margins.

    Far outliers below (a network that learned nothing) would press all others into a line.
    """
    if len(summaries) == 1:
        values = [row.score for row in summaries[0].rows if row.score is not None]
    else:
        values = [y for summary in summaries for _, y in summary.incumbents()]
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return 0.0, 0.0, 1.0
    low, high, middle = min(finite), max(finite), median(finite)
    robust = max(low, high - 4 * (high - middle)) if high > middle else low
    if robust - low < 0.2 * (high - low):
        robust = low
    margin = (high - robust) * 0.08 or abs(high) * 0.05 or 1.0
    return low - margin, robust - margin, high + margin


def drawn(summary: Summary) -> int:
    """Of how many proposals one is drawn: 1 where all are."""
    return max(1, math.ceil(len(summary.rows) / MAX_POINTS))


def _points(summary: Summary) -> dict[str, list[dict[str, Any]]]:
    colour = origin_colours(list(dict.fromkeys(row.origin for row in summary.rows)))
    improved = {x for x, _ in summary.incumbents()}
    stride = drawn(summary)
    scored, failed = [], []
    for i, row in enumerate(summary.rows):
        if i % stride and row.index + 1 not in improved:
            continue
        point: dict[str, Any] = {
            "evaluation": row.index + 1,
            "origin": row.origin,
            "arch": words.short(row.arch, 120),
        }
        if row.score is None or is_failed(row):
            failed.append(point | {"reason": words.short(row.error or "no reason given", 120)})
        elif math.isfinite(row.score):
            scored.append(point | {"score": row.score, "colour": colour[row.origin]})
    return {"scored": scored, "failed": failed}


def statistics(summaries: Sequence[Summary]) -> dict[str, dict[str, Any]]:
    """Return one small chart for each statistic of the searchers, against evaluations."""
    import altair as alt  # as above

    names = dict.fromkeys(key for s in summaries for step in s.steps for key in step.stats)
    charts = {}
    for name in names:
        values = []
        for summary, colour in zip(summaries, run_colours(summaries), strict=True):
            mine = [
                {"evaluations": step.evaluations, "value": step.stats[name]}
                for step in summary.steps
                if math.isfinite(step.stats.get(name, math.nan))
            ]
            ink = colour if len(summaries) > 1 else "var(--hue0)"
            stride = max(1, math.ceil(len(mine) / _MAX_STEPS))
            values += [v | {"run": summary.name, "colour": ink} for v in mine[::stride]]
        if not values:
            continue
        few = len(values) <= len(summaries)
        chart = (
            alt.Chart(alt.NamedData("steps"))
            .mark_line(strokeWidth=1.8, strokeJoin="round", point={"size": 60} if few else False)
            .encode(
                x=alt.X("evaluations:Q", title=None, axis=alt.Axis(tickCount=3, labelOverlap=True)),
                y=alt.Y(
                    "value:Q",
                    title=None,
                    scale=alt.Scale(zero=False),
                    axis=alt.Axis(tickCount=3, format="~s")
                    if _large(values)
                    else alt.Axis(tickCount=3),
                ),
                color=alt.Color("colour:N", scale=None),
                detail="run:N",
                tooltip=[
                    alt.Tooltip("value:Q", title=name, format=".4~g"),
                    alt.Tooltip("evaluations:Q"),
                ],
            )
            .properties(width="container", height=110)
        )
        charts[name] = _finished(chart.configure(**_CONFIG).to_dict(), {"steps": values})
    return charts


def _large(values: Sequence[dict[str, Any]]) -> bool:
    return any(abs(v["value"]) >= 10_000 for v in values)


def _finished(spec: dict[str, Any], datasets: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Put the data in, and leave out the address of the schema: the page names no other."""
    return {key: value for key, value in spec.items() if key != "$schema"} | {"datasets": datasets}
