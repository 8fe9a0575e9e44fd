"""The pictures of [GNN2GNN]'s tables: ours, and the published values beside them."""

from collections.abc import Sequence
from typing import Any

from netwright.report.palette import COLOURS
from netwright.results import Row

_SHOWN = ("top-5", "top-10", "mean accuracy", "distinct")
_UNITS = {"distinct": "distinct per 1,000"}


def draw(item: str, rows: Sequence[Row]) -> tuple[str, str]:
    """Draw an item as SVG; return it with what it shows."""
    if item == "trade":
        return _svg(_trade(rows)), "Top-5 against distinct cells; numbers are temperatures"
    if item == "table4":
        return _svg(_removed(rows)), "Measures over the share removed; dashed: the paper"
    caption = "Means and standard deviations; diamonds: the paper"
    return _svg(_dots(rows)), caption


def _dots(rows: Sequence[Row]) -> Any:
    """A panel for each measure, a line for each row of the table."""
    import altair as alt  # the chart stack takes a second to import

    names = list(dict.fromkeys(_name(row) for row in rows))
    panels = []
    for i, metric in enumerate(_SHOWN):
        mine = [row for row in rows if row.metric == metric]
        points = [
            {
                "row": _name(row),
                "mean": row.mean,
                "low": max(0.0, row.mean - (row.sd or 0)),
                "high": row.mean + (row.sd or 0),
                "paper": row.paper,
            }
            for row in mine
        ]
        axis = alt.Axis(title=None, labelLimit=420, labels=i == 0, ticks=i == 0)
        y = alt.Y("row:N", sort=names, axis=axis)
        base = alt.Chart(alt.InlineData(points)).encode(y=y)
        scale = alt.Scale(zero=metric != "mean accuracy")
        x = alt.X("mean:Q", title=_UNITS.get(metric, f"{metric} (%)"), scale=scale)
        ours = base.mark_point(filled=True, size=60, color=COLOURS[0], opacity=1).encode(x=x)
        spread = base.mark_rule(color=COLOURS[0]).encode(x="low:Q", x2="high:Q")
        paper = (
            base.transform_filter("isValid(datum.paper)")
            .mark_point(shape="diamond", size=70, color=COLOURS[1], filled=False, strokeWidth=2)
            .encode(x=alt.X("paper:Q"))
        )
        panels.append((spread + ours + paper).properties(width=170, height=20 * len(names)))
    return alt.hconcat(*panels)


def _removed(rows: Sequence[Row]) -> Any:
    """Measures over the share of the best that is removed."""
    import altair as alt  # as above

    presets = list(dict.fromkeys(str(row.preset).partition(", best ")[0] for row in rows))
    labels = [f"preset {preset}" for preset in presets]
    if any(row.paper is not None for row in rows):
        labels.append("published")
    panels = []
    for metric in _SHOWN:
        points: list[dict[str, Any]] = []
        for row in (row for row in rows if row.metric == metric):
            preset, _, rest = str(row.preset).partition(", best ")
            removed = int(rest.split()[0])
            points.append({"removed": removed, "value": row.mean, "what": f"preset {preset}"})
            if row.paper is not None:
                points.append({"removed": removed, "value": row.paper, "what": "published"})
        chart = (
            alt.Chart(alt.InlineData(points))
            .mark_line(point=True)
            .encode(
                x=alt.X("removed:Q", title="best cells removed (%)"),
                y=alt.Y(
                    "value:Q",
                    title=_UNITS.get(metric, f"{metric} (%)"),
                    scale=alt.Scale(zero=metric != "mean accuracy"),
                ),
                color=alt.Color(
                    "what:N",
                    legend=alt.Legend(title=None, orient="top"),
                    scale=alt.Scale(domain=labels, range=list(COLOURS)),
                ),
                strokeDash=alt.StrokeDash(
                    "what:N",
                    legend=alt.Legend(title=None, orient="top"),
                    scale=alt.Scale(
                        domain=labels,
                        range=[[4, 3] if label == "published" else [1, 0] for label in labels],
                    ),
                ),
            )
        )
        panels.append(chart.properties(width=250, height=200))
    return alt.concat(*panels, columns=2)


def _trade(rows: Sequence[Row]) -> Any:
    """Top-5 against distinct cells, a line of temperatures for each lambda."""
    import altair as alt  # as above

    points: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row.metric in ("top-5", "distinct"):
            _, balance, heat = str(row.preset).split(", ")
            point = points.setdefault(str(row.preset), {"lambda": balance, "t": heat.split()[1]})
            point[row.metric] = row.mean
    base = alt.Chart(alt.InlineData(list(points.values()))).encode(
        x=alt.X("distinct:Q", title="distinct cells per 1,000"),
        y=alt.Y("top-5:Q", title="top-5 (%)"),
        order="t:Q",
        color=alt.Color("lambda:N", title=None, scale=alt.Scale(range=list(COLOURS))),
    )
    text = base.mark_text(dy=-9, fontSize=10).encode(text="t:N")
    return (base.mark_line(point=True) + text).properties(width=560, height=380)


def _name(row: Row) -> str:
    name = f"{row.method}, {row.preset}" if row.preset else str(row.method)
    return f"{name}: {row.benchmark.partition('/')[2]}" if "nats" in row.benchmark else name


def _svg(chart: Any) -> str:
    import vl_convert

    whole = chart.configure(
        background="white", font="sans-serif", axis={"gridColor": "#e5e5e5", "domain": False}
    )
    return str(vl_convert.vegalite_to_svg(whole.to_dict()))
