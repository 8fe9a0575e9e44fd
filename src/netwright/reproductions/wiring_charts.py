"""Pictures of searches for RandWire cells: accuracies, where graphs lie, and the best cells."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from netwright.report.palette import COLOURS
from netwright.report.topology import RAMP
from netwright.reproductions.wiring_rows import Point


class Dot(NamedTuple):
    """A network that was trained.

    Attributes:
        method: Whose.
        seed: Of the search.
        value: What is shown: accuracy in percent.
    """

    method: str
    seed: int
    value: float


def dots_svg(dots: Sequence[Dot], *, title: str, quantity: str) -> str:
    """Draw every network in the row of its method, the mean as a line, as SVG."""
    import altair as alt  # the chart stack takes a second to import

    order = list(dict.fromkeys(dot.method for dot in dots))
    seeds = sorted({dot.seed for dot in dots})
    data: list[dict[str, Any]] = [dot._asdict() | {"seed": str(dot.seed)} for dot in dots]
    base = alt.Chart(alt.InlineData(data), width=480, height=30 * len(order), title=title).encode(
        y=alt.Y("method:N", sort=order, title=None, axis=alt.Axis(labelLimit=0))
    )
    scale = alt.Scale(zero=False)
    marks = base.mark_point(filled=True, size=55, opacity=0.85).encode(
        x=alt.X("value:Q", title=quantity, scale=scale),
        color=alt.Color(
            "seed:N",
            scale=alt.Scale(
                domain=[str(seed) for seed in seeds],
                range=[COLOURS[i % len(COLOURS)] for i in range(len(seeds))],
            ),
        ),
    )
    means = base.mark_tick(thickness=2, size=22, color="#1d2733").encode(
        x=alt.X("mean(value):Q", scale=scale)
    )
    return _drawn(means + marks)


def topology_svg(points: Sequence[Point], *, title: str) -> str:
    """Draw clustering against path length, a panel for each method ([GraphPNAS] Fig. 3), as SVG."""
    import altair as alt

    data = [point._asdict() for point in points]
    scale = alt.Scale(zero=False)
    chart = (
        alt.Chart(alt.InlineData(data), width=300, height=260)
        .mark_circle(size=60, opacity=0.85)
        .encode(
            x=alt.X("path:Q", title="average path length", scale=scale),
            y=alt.Y("clustering:Q", title="clustering coefficient", scale=scale),
            color=alt.Color(
                "score:Q",
                title="accuracy (%)",
                scale=alt.Scale(range=list(RAMP), interpolate="rgb", zero=False),
            ),
            column=alt.Column(
                "method:N", title=None, sort=list(dict.fromkeys(point.method for point in points))
            ),
        )
        .properties(title=title)
    )
    return _drawn(chart)


class Longest(NamedTuple):
    """A network that was trained on more data.

    Attributes:
        group: How its search scored candidates.
        path: Length of the longest path of its cell.
        value: Test accuracy in percent.
    """

    group: str
    path: float
    value: float


def paths_svg(points: Sequence[Longest], *, title: str) -> str:
    """Draw accuracy against the longest path, a colour for each group, as SVG."""
    import altair as alt

    names = list(dict.fromkeys(point.group for point in points))
    scale = alt.Scale(zero=False)
    chart = (
        alt.Chart(alt.InlineData([p._asdict() for p in points]), width=480, height=260, title=title)
        .mark_point(filled=True, size=60, opacity=0.85)
        .encode(
            x=alt.X(
                "path:Q",
                title="longest path from input to output (edges)",
                scale=scale,
                axis=alt.Axis(tickMinStep=1, format="d"),
            ),
            y=alt.Y("value:Q", title="test accuracy (%)", scale=scale),
            color=alt.Color(
                "group:N",
                title="scored by",
                scale=alt.Scale(domain=names, range=list(COLOURS[: len(names)])),
            ),
        )
    )
    return _drawn(chart)


def _drawn(chart: Any) -> str:
    """Give a chart the look of all charts of results, and draw it."""
    import vl_convert

    # Browsers set the legend at the right in a wider font than the one that is measured here.
    room = {"left": 5, "top": 5, "bottom": 5, "right": 30}
    look: dict[str, Any] = {"background": "white", "font": "sans-serif", "padding": room}
    styled = chart.configure(**look, axis={"gridColor": "#e5e5e5", "domain": False})
    return str(vl_convert.vegalite_to_svg(styled.to_dict()))
