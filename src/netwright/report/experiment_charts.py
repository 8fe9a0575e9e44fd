"""The curves of an experiment: means and 95 % intervals, against evaluations or hours."""

from collections.abc import Mapping, Sequence
from typing import Any

from netwright.report.palette import Paint, paints
from netwright.report.vega import CONFIG, Rows, Spec, finished

_DRAWN = 300  # points of a curve; more cannot be told apart
Curve = Mapping[str, Any]


def label_of(entry: Mapping[str, Any]) -> str:
    """Name the method of a row or a curve, with its settings."""
    return ", ".join(filter(None, (entry["method"], entry.get("preset"))))


def paint_of(curves: Sequence[Curve]) -> dict[str, Paint]:
    """Choose how to draw each method, by its label, the same on all benchmarks."""
    methods = {label_of(curve): (curve["method"], curve.get("preset")) for curve in curves}
    return dict(zip(methods, paints(list(methods.values())), strict=True))


def panels_of(curves: Sequence[Curve]) -> list[tuple[str, str, list[Curve]]]:
    """Group curves: for each benchmark those against evaluations, then those against hours."""
    found = []
    for name in dict.fromkeys(curve["benchmark"] for curve in curves):
        for axis in ("evaluations", "hours"):
            mine = [
                curve
                for curve in curves
                if curve["benchmark"] == name and bool(curve.get("hours")) == (axis == "hours")
            ]
            if mine:
                found.append((name, axis, mine))
    return found


def curves_svg(curves: Sequence[Curve]) -> str:
    """Draw curves as SVG, a panel for each benchmark and axis."""
    import altair as alt  # the chart stack takes a second to import
    import vl_convert

    paint = paint_of(curves)
    panels = []
    for name, axis, mine in panels_of(curves):
        drawn = {label: p.colour for label, p in paint.items()}
        chart = _layers(mine, axis, alt.InlineData(_points(mine, axis, drawn)))
        legend = _legend({label: paint[label] for label in map(label_of, mine)})
        panels.append((chart | legend).properties(title=name))
    chart = alt.vconcat(*panels).configure(
        background="white", font="sans-serif", axis={"gridColor": "#e5e5e5", "domain": False}
    )
    return str(vl_convert.vegalite_to_svg(chart.to_dict()))


def curves_spec(curves: Sequence[Curve], axis: str, paint: Mapping[str, Paint]) -> Spec:
    """Return a panel for a page, with what a pointer is told."""
    import altair as alt  # as above

    drawn = {label: p.variable for label, p in paint.items()}
    chart = _layers(curves, axis, alt.NamedData("curves"), width="container", height=320)
    spec = chart.configure(**CONFIG).to_dict()
    return finished(spec, {"curves": _points(curves, axis, drawn)})


def _layers(curves: Sequence[Curve], axis: str, data: Any, **size: Any) -> Any:
    import altair as alt  # as above

    low, high = _range(curves)
    base = alt.Chart(data)
    title = "simulated hours of training" if axis == "hours" else "evaluations"
    x = alt.X("x:Q", title=title, scale=alt.Scale(nice=False))
    scale = alt.Scale(domain=[low, high], zero=False, nice=True)
    named = f"{curves[0]['metric']} (%)"
    colour = alt.Color("colour:N", scale=None)
    told = [
        alt.Tooltip("method:N"),
        alt.Tooltip("x:Q", title=title, format=".4~g"),
        alt.Tooltip("mean:Q", format=".2f"),
        alt.Tooltip("low:Q", title="from", format=".2f"),
        alt.Tooltip("high:Q", title="to", format=".2f"),
    ]
    band = base.mark_area(opacity=0.13, interpolate="step-after", clip=True).encode(
        x=x,
        y=alt.Y("low:Q", scale=scale, title=named),
        y2="high:Q",
        color=colour,
        detail="method:N",
    )
    line = base.mark_line(interpolate="step-after", strokeWidth=2, clip=True).encode(
        x=x,
        y=alt.Y("mean:Q", scale=scale, title=named),
        color=colour,
        detail="method:N",
        strokeDash=alt.StrokeDash("dash:N", scale=None),
        tooltip=told,
    )
    return (band + line).properties(**(size or {"width": 560, "height": 320}))


def _legend(paint: Mapping[str, Paint]) -> Any:
    """List methods beside a picture, each with its line."""
    import altair as alt  # as above

    rows = [
        {"method": label, "colour": p.colour, "dash": list(p.dash), "row": i, "x": end}
        for i, (label, p) in enumerate(paint.items())
        for end in (0, 1)
    ]
    base = alt.Chart(alt.InlineData(rows))
    y = alt.Y("row:O", axis=None)
    x = alt.X("x:Q", axis=None, scale=alt.Scale(domain=[0, 10]))
    line = base.mark_line(strokeWidth=2.5).encode(
        x=x,
        y=y,
        detail="method:N",
        color=alt.Color("colour:N", scale=None),
        strokeDash=alt.StrokeDash("dash:N", scale=None),
    )
    text = (
        base.transform_filter("datum.x == 1")
        .mark_text(align="left", dx=8, fontSize=12)
        .encode(x=x, y=y, text="method:N")
    )
    return (line + text).properties(width=230, height=18 * len(paint), view={"stroke": None})


def _points(curves: Sequence[Curve], axis: str, colours: Mapping[str, str]) -> Rows:
    rows: Rows = []
    paint = paint_of(curves) if curves else {}
    for curve in curves:
        label = label_of(curve)
        stride = max(1, len(curve["mean"]) // _DRAWN)
        for i in range(0, len(curve["mean"]), stride):
            x = curve["hours"][i] if axis == "hours" else curve["first"] + i
            values = {name: curve[name][i] for name in ("mean", "low", "high")}
            about = {"method": label, "colour": colours[label], "dash": list(paint[label].dash)}
            rows.append({"x": x, **values, **about})
    return rows


def _range(curves: Sequence[Curve]) -> tuple[float, float]:
    """Return what to show: from the first tenth of a curve on, where differences lie."""
    shown = [
        value
        for curve in curves
        for name in ("low", "high")
        for value in curve[name][len(curve[name]) // 10 :]
    ]
    low, high = min(shown), max(shown)
    margin = 0.03 * (high - low) or 0.5
    return low - margin, high + margin
