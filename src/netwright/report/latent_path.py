"""The way of a search through a latent space: what it evaluated, in the principal plane."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from netwright.report import words
from netwright.report.latent_figures import image
from netwright.report.markup import element
from netwright.report.methods import name_of
from netwright.report.parts import Section, chart
from netwright.report.topology import RAMP
from netwright.report.vega import CONFIG, INK, MUTED, Rows, Spec, finished
from netwright.runs.ledger import Row

MAX_POINTS = 4000  # evaluations drawn; more cannot be told apart, and the page stays small
_PALE = 0.25  # share of the scores that have the colour of the lowest: failures stretch no ramp
_WIDTH, _HEIGHT = 640.0, 460.0  # of the image


@dataclass(frozen=True, eq=False)
class LatentPath:
    """What a search evaluated, at the latent means of a generator, in their principal plane.

    Attributes:
        generator: The generator, as people call it.
        background: Coordinates of the latent means of a sample of the space.
        explained: Share of their variance along each of the two directions.
        points: Coordinates of the latent mean of what was evaluated.
        rows: Of the ledger, for each point: evaluations in their order, initial labels before
            them, each with a finite score.
    """

    generator: str
    background: Float[Tensor, "graph 2"]
    explained: tuple[float, float]
    points: Float[Tensor, "row 2"]
    rows: Sequence[Row]

    def __post_init__(self) -> None:
        if not self.rows or len(self.rows) != len(self.points):
            raise ValueError(
                f"a path needs a row for each point, not {len(self.rows)} for {len(self.points)}"
            )

    @property
    def scores(self) -> list[float]:
        """The score of each point."""
        return [math.nan if row.score is None else row.score for row in self.rows]

    @property
    def incumbents(self) -> list[int]:
        """The points that were the best so far, in order; of initial labels the best alone."""
        scores = self.scores
        first = sum(row.index < 0 for row in self.rows)
        found = [max(range(first), key=lambda i: scores[i])] if first else []
        for i in range(first, len(scores)):
            if not found or scores[i] > scores[found[-1]]:
                found.append(i)
        return found


def search_path(path: LatentPath) -> Section:
    """Show the search in the latent space."""
    title = "The search in the latent space"
    known = sum(row.index < 0 for row in path.rows)
    labels = f" and {words.plural(known, 'initial label')}" if known else ""
    text = (
        f"{words.plural(len(path.rows) - known, 'evaluation')}{labels} at their latent means under "
        f"{name_of(path.generator, '')}, coloured by score, in the plane in which the means of "
        f"{words.plural(len(path.background), 'random architecture')} (grey) vary most. The line "
        "joins those that were the best so far, in the order of evaluation."
    )
    about = "Evaluated architectures in the principal plane of the latent space, by score"
    body = element(
        "section",
        element("h2", title),
        element("p", text, cls="muted"),
        element("figure", chart("latent path", about)),
        aria_label=title,
    )
    return Section(body, {"latent path": path_chart(path)})


def path_svg(path: LatentPath) -> str:
    """Return the chart as a single SVG image on white."""
    import vl_convert  # brings its own JavaScript engine

    spec = path_chart(path) | {"width": _WIDTH - 90, "height": _HEIGHT - 120}
    spec["config"] = spec["config"] | {"font": "sans-serif", "aria": False}
    drawn = str(vl_convert.vegalite_to_svg(spec))
    about = "Evaluated architectures in the principal plane of a latent space, coloured by score"
    plain = f'<g font-weight="400">{drawn[drawn.index("<svg") :]}</g>'
    return image(plain, _WIDTH, _HEIGHT, about)


def path_chart(path: LatentPath) -> Spec:
    """Chart the search in the plane: a sample of the space, evaluations, and the best so far."""
    import altair as alt  # half a second, and only reports need it

    best = path.incumbents
    rows = [_point(path, i) for i in _drawn(len(path.rows), best)]
    line = [_point(path, i) | {"order": order} for order, i in enumerate(best)]
    places = {(round(x, 3), round(y, 3)) for x, y in path.background.tolist()}
    grey: Rows = [{"x": x, "y": y} for x, y in sorted(places) if math.isfinite(x + y)]
    (x, y), colour = _axes(path), _colour(path.scores)
    told = [
        alt.Tooltip("score:Q", format=".5~g"),
        alt.Tooltip("evaluation:N"),
        alt.Tooltip("origin:N"),
        alt.Tooltip("arch:N", title="architecture"),
    ]
    sample = alt.Chart(alt.NamedData("sample")).mark_circle(size=12, opacity=0.25, color=MUTED)
    dots = (
        alt.Chart(alt.NamedData("evaluated"))
        .mark_circle(
            size=60 if len(rows) <= 600 else 30, opacity=0.95, stroke="var(--card)", strokeWidth=0.8
        )
        .encode(x=x, y=y, color=colour, tooltip=told)
    )
    way = alt.Chart(alt.NamedData("incumbents")).encode(x=x, y=y)
    joined = way.mark_line(stroke=INK, strokeWidth=1.6, strokeJoin="round").encode(order="order:Q")
    rings = way.mark_circle(size=90, opacity=1, stroke=INK, strokeWidth=1.6)
    rings = rings.encode(color=colour, tooltip=told)
    names = alt.Chart(alt.NamedData("ends")).encode(x=x, y=y, text="text:N")
    halo: dict[str, Any] = {"stroke": "var(--card)", "strokeWidth": 4, "strokeJoin": "round"}
    text: dict[str, Any] = {"dy": -14, "fontSize": 13, "fontWeight": 700, "color": INK}
    ends = [names.mark_text(**text, **halo), names.mark_text(**text)]
    layers = alt.layer(sample.encode(x=x, y=y), dots, joined, rings, *ends)
    spec = layers.properties(width="container", height=420).configure(**CONFIG).to_dict()
    named = [line[0] | {"text": "first"}] * (len(line) > 1)
    named.append(line[-1] | {"text": words.score(path.scores[best[-1]])})
    datasets = {"sample": grey, "evaluated": rows, "incumbents": line, "ends": named}
    return finished(spec, datasets)


def _drawn(total: int, always: Sequence[int]) -> list[int]:
    """Choose the points that are drawn: evenly spaced ones, and some in any case."""
    stride = max(1, math.ceil(total / MAX_POINTS))
    return sorted({*range(0, total, stride), *always})


def _point(path: LatentPath, i: int) -> dict[str, Any]:
    row, (x, y) = path.rows[i], path.points[i].tolist()
    return {
        "x": round(x, 4),
        "y": round(y, 4),
        "score": path.scores[i],
        "evaluation": "before the search" if row.index < 0 else f"{row.index + 1:,}",
        "origin": row.origin,
        "arch": words.short(row.arch, 120),
    }


def _colour(scores: Sequence[float]) -> Any:
    """Colour by score, from the lower quartile to the highest, with a bar that says so."""
    import altair as alt  # as above

    ordered = torch.tensor(scores, dtype=torch.double).sort().values
    low, high = float(ordered[int(_PALE * (len(ordered) - 1))]), float(ordered[-1])
    domain = [low + (high - low) * i / (len(RAMP) - 1) for i in range(len(RAMP))]
    legend = alt.Legend(
        title="score (the lowest quarter in one colour)",
        orient="top",
        gradientLength=260,
        gradientThickness=10,
        labelColor=MUTED,
        titleColor=MUTED,
        titleFontWeight=500,
        titleLimit=400,
        tickCount=4,
        format=".4~g",
    )
    scale = alt.Scale(domain=domain, range=list(RAMP), interpolate="rgb", clamp=True)
    return alt.Color("score:Q", legend=legend, scale=scale)


def _axes(path: LatentPath) -> tuple[Any, Any]:
    import altair as alt  # as above

    scale = alt.Scale(nice=False, zero=False, padding=8)
    titles = [
        f"{name} principal direction ({share:.0%} of the variance)"
        for name, share in zip(("first", "second"), path.explained, strict=True)
    ]
    return (
        alt.X("x:Q", title=titles[0], scale=scale, axis=alt.Axis(tickCount=5)),
        alt.Y("y:Q", title=titles[1], scale=scale, axis=alt.Axis(tickCount=5)),
    )
