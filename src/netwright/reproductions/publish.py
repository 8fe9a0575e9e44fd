"""Write the results of an experiment: rows, paired differences, and curves with a chart."""

from collections.abc import Sequence
from pathlib import Path

from netwright.reproductions.experiment import Experiment
from netwright.reproductions.outcomes import Outcome, curves_of, differences_of, rows_of
from netwright.results import Curve, Difference, Row, write_results

# Okabe and Ito's colours, which people of all kinds of sight can tell apart, and two more.
COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999",
    "#7F3C8D", "#8C6D31",
)  # fmt: skip
_DRAWN = 600  # points of a curve; more cannot be told apart


def publish(
    path: Path, experiment: Experiment, outcomes: Sequence[Outcome], *, command: str
) -> tuple[list[Row], list[Difference]]:
    """Write ``path.json``, ``path.md`` and ``path.svg``; return the rows and the differences."""
    rows = rows_of(outcomes, experiment.published)
    baseline = experiment.baseline
    differences = [] if baseline is None else differences_of(outcomes, baseline)
    curves = curves_of(outcomes)
    write_results(
        path,
        rows,
        title=experiment.title,
        command=command,
        seeds=list(experiment.seed_list),
        note=experiment.note,
        differences=differences,
        curves=curves,
        chart=draw(curves) if curves else None,
    )
    return rows, differences


def draw(curves: Sequence[Curve]) -> str:
    """Draw curves as SVG, a panel for each benchmark: means, and 95 % intervals as bands."""
    import altair as alt  # the chart stack takes a second to import
    import vl_convert

    labels = list(dict.fromkeys(curve.method for curve in curves))
    colour = alt.Color(
        "method:N",
        title=None,
        scale=alt.Scale(
            domain=labels, range=[COLOURS[i % len(COLOURS)] for i in range(len(labels))]
        ),
        legend=alt.Legend(orient="right", symbolOpacity=1, labelLimit=0),
    )
    panels = []
    for name in dict.fromkeys(curve.benchmark for curve in curves):
        mine = [curve for curve in curves if curve.benchmark == name]
        low, high = _range(mine)
        base = alt.Chart(alt.InlineData([point for curve in mine for point in _points(curve)]))
        x = alt.X("evaluations:Q", title="evaluations", scale=alt.Scale(nice=False))
        scale = alt.Scale(domain=[low, high], zero=False, nice=True)
        title = f"{mine[0].metric} (%)"
        band = base.mark_area(opacity=0.15, interpolate="step-after", clip=True).encode(
            x=x, y=alt.Y("low:Q", scale=scale, title=title), y2="high:Q", color=colour
        )
        line = base.mark_line(interpolate="step-after", strokeWidth=2, clip=True).encode(
            x=x, y=alt.Y("mean:Q", scale=scale, title=title), color=colour
        )
        panels.append((band + line).properties(title=name, width=520, height=300))
    chart = alt.vconcat(*panels).configure(
        background="white", font="sans-serif", axis={"gridColor": "#e5e5e5", "domain": False}
    )
    return str(vl_convert.vegalite_to_svg(chart.to_dict()))


def _points(curve: Curve) -> list[dict[str, float | str]]:
    stride = max(1, len(curve.mean) // _DRAWN)
    return [
        {
            "method": curve.method,
            "evaluations": curve.first + i,
            "mean": curve.mean[i],
            "low": curve.low[i],
            "high": curve.high[i],
        }
        for i in range(0, len(curve.mean), stride)
    ]


def _range(curves: Sequence[Curve]) -> tuple[float, float]:
    """Return what to show: from the first tenth of the evaluations on, where differences lie."""
    shown = [
        value
        for curve in curves
        for value in [*curve.low[len(curve.low) // 10 :], *curve.high[len(curve.high) // 10 :]]
    ]
    low, high = min(shown), max(shown)
    margin = 0.03 * (high - low) or 0.5
    return low - margin, high + margin
