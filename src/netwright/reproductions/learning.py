"""Learning curves of fits: what has been reached after how many graphs, and what it foretells."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from netwright.generators.fit import Record
from netwright.report.palette import COLOURS

#: Errors below this are chance: a curve is not continued from them.
_FLOOR = 5e-4


class Curve(NamedTuple):
    """The records of a fit."""

    space: str
    method: str
    records: Sequence[Record]


def reached(records: Sequence[Record], share: float) -> int | None:
    """Return the graphs seen when that share of held-out graphs was first reconstructed."""
    for record in records:
        if record.reconstruction is not None and record.reconstruction >= share:
            return record.graphs
    return None


def foretold(records: Sequence[Record], graphs: int) -> float | None:
    """Continue the error of reconstruction as a power law of the graphs seen.

    The line through the logarithms of the last half of the records is continued. That supposes
    that the fit would go on as it did; a learning rate that falls makes it optimistic.

    Returns:
        The share of held-out graphs reconstructed after ``graphs`` graphs; None where there are
        fewer than three records to go by, or the error does not fall.
    """
    errors = [
        (record.graphs, 1 - record.reconstruction)
        for record in records
        if record.reconstruction is not None and record.reconstruction > 0
    ]
    last = [(seen, error) for seen, error in errors[len(errors) // 2 :] if error > _FLOOR]
    if len(last) < 3:
        return None
    x, y = (np.log(np.array(values)) for values in zip(*last, strict=True))
    slope, offset = np.polyfit(x, y, 1)
    if slope >= 0:
        return None
    return 1 - math.exp(offset + slope * math.log(graphs))


def draw(curves: Sequence[Curve]) -> str:
    """Draw held-out reconstruction over graphs seen as SVG, a panel for each space."""
    import altair as alt  # the chart stack takes a second to import
    import vl_convert

    labels = list(dict.fromkeys(curve.method for curve in curves))
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(labels))]
    panels = []
    for space in dict.fromkeys(curve.space for curve in curves):
        points: list[Mapping[str, float | str]] = [
            {"method": curve.method, "graphs": r.graphs, "share": 100 * r.reconstruction}
            for curve in curves
            if curve.space == space
            for r in curve.records
            if r.reconstruction is not None
        ]
        base = alt.Chart(alt.InlineData(list(points))).encode(
            x=alt.X("graphs:Q", title="graphs seen", scale=alt.Scale(type="log", nice=False)),
            y=alt.Y(
                "share:Q", title="held-out reconstruction (%)", scale=alt.Scale(domain=[0, 100])
            ),
            color=alt.Color("method:N", title=None, scale=alt.Scale(domain=labels, range=colours)),
        )
        chart = base.mark_line(strokeWidth=2) + base.mark_point(filled=True, size=25)
        panels.append(chart.properties(title=space, width=520, height=240))
    whole = alt.vconcat(*panels).configure(
        background="white", font="sans-serif", axis={"gridColor": "#e5e5e5", "domain": False}
    )
    return str(vl_convert.vegalite_to_svg(whole.to_dict()))
