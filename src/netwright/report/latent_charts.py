"""The charts of a latent space: training, the principal plane, and how smoothly graphs change."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Int
from torch import Tensor

from netwright.report.latent_views import Lines, Plane
from netwright.report.topology import RAMP
from netwright.report.vega import BAD, CONFIG, INK, MUTED, Rows, Spec, finished

MAX_POINTS = 5000  # latent means drawn; more cannot be told apart, and the page stays small
BAND = 0.9  # of the pairs lie in a band
COLOUR = {"train": "var(--hue0)", "valid": "var(--hue1)"}
START, END, STEP = "var(--hue0)", "var(--hue1)", "var(--hue2)"
_UNKNOWN = "var(--line)"  # a score that is not known
_STEEP = 30.0  # from here on a loss is drawn on a logarithmic axis

Points = Sequence[tuple[float, float]]


def curve(lines: Mapping[str, Points]) -> Spec:
    """Chart quantities against the number of graphs seen in training."""
    import altair as alt  # half a second, and only reports need it

    rows: Rows = [
        {"graphs": x, "value": y, "what": name, "colour": COLOUR.get(name, "var(--hue0)")}
        for name, points in lines.items()
        for x, y in points
    ]
    values = [row["value"] for row in rows]
    low, high = min(values), max(values)
    share = low >= 0 and high <= 1 and "reconstruction" in " ".join(lines)
    steep = low > 0 and high / low > _STEEP
    scale = alt.Scale(type="log") if steep else alt.Scale(zero=False)
    form = "%" if share else "~s" if high >= 10_000 else "~g"
    few = len(rows) <= 3 * len(lines)
    base = alt.Chart(alt.NamedData("history")).encode(
        x=alt.X(
            "graphs:Q",
            title="graphs seen",
            axis=alt.Axis(tickCount=4, format="~s", labelOverlap=True),
        ),
        y=alt.Y("value:Q", title=None, scale=scale, axis=alt.Axis(tickCount=4, format=form)),
        color=alt.Color("colour:N", scale=None),
        detail="what:N",
        tooltip=[
            alt.Tooltip("what:N", title="curve"),
            alt.Tooltip("value:Q", format=".4~g"),
            alt.Tooltip("graphs:Q", format=",", title="graphs seen"),
        ],
    )
    line = base.mark_line(strokeWidth=1.9, strokeJoin="round", point={"size": 40 if few else 14})
    spec = line.properties(width="container", height=190)
    return finished(spec.configure(**CONFIG).to_dict(), {"history": rows})


def scatter(plane: Plane, *, most: int = MAX_POINTS) -> Spec:
    """Chart latent means in the plane, coloured by the percentile of their score.

    Args:
        plane: With means and scores; means without a score are grey, and below the others.
        most: Number of means drawn, evenly spaced.
    """
    import altair as alt  # as above

    finite = plane.points.isfinite().all(dim=1).nonzero()[:, 0]
    drawn = min(len(finite), most)
    chosen = finite[[i * len(finite) // drawn for i in range(drawn)]]
    score = plane.score[chosen]
    columns = (plane.points[chosen], score, plane.percentile(score))
    rows: Rows = []
    grey: Rows = []
    for (left, up), value, p in zip(*(column.tolist() for column in columns), strict=True):
        place = {"x": round(left, 4), "y": round(up, 4)}
        if math.isfinite(value):
            rows.append(place | {"score": round(value, 5), "percentile": round(p, 3)})
        else:
            grey.append(place)
    size = 16 if drawn > 800 else 40
    x, y = _axes(plane)
    dots = (
        alt.Chart(alt.NamedData("means"))
        .mark_circle(size=size, opacity=0.75)
        .encode(x=x, y=y, color=_ramp(), tooltip=_told())
    )
    others = alt.Chart(alt.NamedData("others")).mark_circle(size=size, opacity=0.5, color=MUTED)
    others = others.encode(x=x, y=y)
    w = plane.half_width
    outline = (
        alt.Chart(alt.NamedData("grid"))
        .mark_rect(fill=None, stroke=INK, strokeWidth=1.6, strokeDash=[5, 3])
        .encode(x=x, y=y, x2="x2:Q", y2="y2:Q")
    )
    spec = alt.layer(others, dots, outline).properties(width="container", height=360)
    grid: Rows = [{"x": -w, "y": -w, "x2": w, "y2": w}]
    return finished(
        spec.configure(**CONFIG).to_dict(), {"means": rows, "others": grey, "grid": grid}
    )


def grid(plane: Plane, valid: Sequence[bool]) -> Spec:
    """Chart the decoded grid as squares, coloured by the percentile of the graphs' scores.

    Args:
        plane: With scores of its cells, or without.
        valid: Whether each decoded graph is an architecture of the space.
    """
    import altair as alt  # as above

    k, step = plane.k, 2 * plane.half_width / (plane.k - 1)
    score = plane.cell_scores
    scored: Rows = []
    unknown: Rows = []
    invalid: Rows = []
    for i, (value, p) in enumerate(
        zip(score.tolist(), plane.percentile(score).tolist(), strict=True)
    ):
        x, y = i % k * step - plane.half_width, plane.half_width - i // k * step
        place = {"x": x - step / 2, "x2": x + step / 2, "y": y - step / 2, "y2": y + step / 2}
        if not valid[i]:
            invalid.append({"x": x, "y": y})
        elif math.isfinite(value):
            scored.append(place | {"score": value, "percentile": p})
        else:
            unknown.append(place)
    x_axis, y_axis = _axes(plane)
    corners = {"x": x_axis, "y": y_axis, "x2": "x2:Q", "y2": "y2:Q"}
    squares = (
        alt.Chart(alt.NamedData("scored"))
        .mark_rect(strokeWidth=0)
        .encode(**corners, color=_ramp(), tooltip=_told())
    )
    blank = alt.Chart(alt.NamedData("unknown")).mark_rect(fill=_UNKNOWN).encode(**corners)
    crosses = (
        alt.Chart(alt.NamedData("invalid"))
        .mark_point(shape="M-1,-1L1,1M-1,1L1,-1", stroke=BAD, size=30 if k < 30 else 8)
        .encode(x=x_axis, y=y_axis)
    )
    spec = alt.layer(blank, squares, crosses).properties(width="container", height=360)
    datasets = {"scored": scored, "unknown": unknown, "invalid": invalid}
    return finished(spec.configure(**CONFIG).to_dict(), datasets)


def to_the_ends(lines: Lines) -> Spec:
    """Chart the edits between each decoded graph and both ends of its walk."""
    fractions = [i / (lines.steps - 1) for i in range(lines.steps)]
    series = {"to the start": (lines.distances(0), START), "to the end": (lines.distances(-1), END)}
    return _walks({n: (fractions, d, colour) for n, (d, colour) in series.items()}, lines)


def to_the_next(lines: Lines) -> Spec:
    """Chart the edits between each decoded graph and the next."""
    between = [(i + 0.5) / (lines.steps - 1) for i in range(lines.steps - 1)]
    return _walks({"to the next": (between, lines.neighbours(), STEP)}, lines)


def mean_and_band(edits: Int[Tensor, "*pair"]) -> tuple[float, float, float]:
    """Return the mean of distances, and the ends of the band in which 90 % of them lie."""
    values = edits.flatten().double().cpu().sort().values
    low, high = (
        float(values[round(q * (len(values) - 1))]) for q in ((1 - BAND) / 2, (1 + BAND) / 2)
    )
    return float(values.mean()), low, high


def _walks(
    series: Mapping[str, tuple[Sequence[float], Int[Tensor, "pair step"], str]], lines: Lines
) -> Spec:
    import altair as alt  # as above

    rows: Rows = []
    for name, (fractions, edits, colour) in series.items():
        for fraction, column in zip(fractions, edits.unbind(dim=1), strict=True):
            mean, low, high = mean_and_band(column)
            ends = {"mean": round(mean, 3), "low": low, "high": high}
            rows.append({"way": fraction, "what": name, "colour": colour, **ends})
    mean, low, high = mean_and_band(lines.random())
    reference: Rows = [{"mean": mean, "low": low, "high": high, "from": 0, "to": 1}]
    way: dict[str, Any] = {
        "title": "fraction of the way",
        "scale": alt.Scale(domain=[0, 1], nice=False),
        "axis": alt.Axis(format="%", tickCount=4),
    }
    top = max([high, *(row["high"] for row in rows)])
    scale = alt.Scale(domain=[0, top * 1.04 or 1], nice=False)
    y: dict[str, Any] = {"title": "edits", "scale": scale, "axis": alt.Axis(tickCount=5)}
    told = [alt.Tooltip(f"{name}:Q", format=".2f") for name in ("mean", "low", "high")]
    base = alt.Chart(alt.NamedData("walks")).encode(
        x=alt.X("way:Q", **way), color=alt.Color("colour:N", scale=None), detail="what:N"
    )
    band = base.mark_area(opacity=0.16).encode(y=alt.Y("low:Q", **y), y2="high:Q")
    line = base.mark_line(strokeWidth=2, point={"size": 30}).encode(
        y=alt.Y("mean:Q", **y), tooltip=[alt.Tooltip("what:N", title="edits"), *told]
    )
    wide = alt.Chart(alt.NamedData("random")).encode(x=alt.X("from:Q", **way), x2="to:Q")
    field = wide.mark_rect(opacity=0.12, fill=MUTED).encode(y=alt.Y("low:Q", **y), y2="high:Q")
    rule = wide.mark_rule(stroke=MUTED, strokeDash=[6, 4], strokeWidth=1.6).encode(
        y=alt.Y("mean:Q", **y), tooltip=told
    )
    spec = alt.layer(field, rule, band, line).properties(width="container", height=240)
    return finished(spec.configure(**CONFIG).to_dict(), {"walks": rows, "random": reference})


def _axes(plane: Plane) -> tuple[Any, Any]:
    import altair as alt  # as above

    names = ("first", "second")
    titles = [
        f"{name} principal direction ({share:.0%} of the variance)"
        for name, share in zip(names, plane.explained, strict=True)
    ]
    scale = alt.Scale(nice=False, zero=False, padding=8)
    return (
        alt.X("x:Q", title=titles[0], scale=scale, axis=alt.Axis(tickCount=5)),
        alt.Y("y:Q", title=titles[1], scale=scale, axis=alt.Axis(tickCount=5)),
    )


def _ramp() -> Any:
    import altair as alt  # as above

    scale = alt.Scale(domain=[i / 3 for i in range(4)], range=list(RAMP), interpolate="rgb")
    return alt.Color("percentile:Q", legend=None, scale=scale)


def _told() -> list[Any]:
    import altair as alt  # as above

    return [
        alt.Tooltip("score:Q", format=".5~g"),
        alt.Tooltip("percentile:Q", format=".0%"),
    ]
