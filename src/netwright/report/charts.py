"""The charts of scores and of searchers' statistics, against evaluations."""

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

from netwright.report import words
from netwright.report.methods import Method
from netwright.report.summary import Summary, is_failed
from netwright.report.vega import BAD, CONFIG, INK, Rows, Spec, finished, origin_colours

MAX_POINTS = 4000  # proposals drawn; more cannot be told apart, and the page stays small
_MAX_STEPS = 800


def progress(summary: Summary) -> Spec:
    """Return the chart of one run's scores against evaluations.

    The best score so far is a step curve; the proposals are dots, coloured by origin, and the
    failures are crosses at the bottom. The parameter ``hidden`` lists origins not to show;
    ``full`` asks for the range of all scores instead of the upper part.
    """
    import altair as alt  # half a second, and only reports need it

    curve: Rows = [
        {"evaluation": x, "score": y, "run": summary.name, "colour": INK}
        for x, y in summary.incumbents()
        if math.isfinite(y)
    ]
    x, y = score_axes([summary])
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
    datasets = {"curves": curve} | _points(summary)
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
            color=alt.value(BAD),
            tooltip=[alt.Tooltip("reason:N", title="no score"), *told],
        )
    )
    best = (
        alt.Chart(alt.NamedData("best"))
        .mark_text(align="right", dx=-6, dy=-10, fontSize=13, fontWeight=700, color=INK)
        .encode(x=x, y=y, text="text:N")
    )
    datasets["best"] = [c | {"text": words.score(c["score"])} for c in curve[-1:]]
    chart = alt.layer(points, crosses, line, best).add_params(*score_parameters())
    chart = chart.properties(width="container", height=340)
    return finished(chart.configure(**CONFIG).to_dict(), datasets)


def score_parameters() -> list[Any]:
    """Return what the controls above a chart of scores set: ``full`` and ``hidden``."""
    import altair as alt  # as above

    return [alt.param(name="full", value=False), alt.param(name="hidden", value=[])]


def score_axes(summaries: Sequence[Summary]) -> tuple[Any, Any]:
    """Return the axes of a chart of scores against evaluations, its y following ``full``."""
    import altair as alt  # as above

    low, robust, high = score_range(summaries)
    end = max([1, *(summary.rows[-1].index + 1 for summary in summaries if summary.rows)])
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
    return x, y


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


def _points(summary: Summary) -> dict[str, Rows]:
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


def names_of_statistics(summaries: Sequence[Summary]) -> list[str]:
    """Name what the searchers said of themselves, finite at least once."""
    found = (
        key
        for summary in summaries
        for step in summary.steps
        for key, value in step.stats.items()
        if math.isfinite(value)
    )
    return list(dict.fromkeys(found))


def statistic(
    name: str, methods: Sequence[Method], *, height: int = 110, share: bool = False
) -> Spec:
    """Return the chart of one statistic of the searchers, against evaluations.

    Args:
        name: Of the statistic.
        methods: Whose runs are shown, each in its method's colour.
        height: In pixels.
        share: Whether it is a share, to be shown in percent from 0 to 1.
    """
    import altair as alt  # as above

    values: Rows = []
    for method in methods:
        for summary in method.runs:
            mine = [
                {"evaluations": step.evaluations, "value": step.stats[name]}
                for step in summary.steps
                if math.isfinite(step.stats.get(name, math.nan))
            ]
            stride = max(1, math.ceil(len(mine) / _MAX_STEPS))
            about = {"run": summary.name, "colour": method.colour}
            values += [v | about for v in mine[::stride]]
    few = len(values) <= len({value["run"] for value in values})
    form = "%" if share else "~s" if _large(values) else "~g"
    scale = alt.Scale(domain=[0, 1]) if share else alt.Scale(zero=False)
    chart = (
        alt.Chart(alt.NamedData("steps"))
        .mark_line(strokeWidth=1.8, strokeJoin="round", point={"size": 60} if few else False)
        .encode(
            x=alt.X("evaluations:Q", title=None, axis=alt.Axis(tickCount=3, labelOverlap=True)),
            y=alt.Y("value:Q", title=None, scale=scale, axis=alt.Axis(tickCount=3, format=form)),
            color=alt.Color("colour:N", scale=None),
            detail="run:N",
            tooltip=[
                alt.Tooltip("value:Q", title=name, format=".4~g"),
                alt.Tooltip("evaluations:Q"),
                alt.Tooltip("run:N"),
            ],
        )
        .properties(width="container", height=height)
    )
    return finished(chart.configure(**CONFIG).to_dict(), {"steps": values})


def _large(values: Sequence[dict[str, Any]]) -> bool:
    return any(abs(v["value"]) >= 10_000 for v in values)
