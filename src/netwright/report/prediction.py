"""Predicted against true scores, as a figure on white ([SVGe] Fig. 3 right)."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

POINTS = 3000  # drawn; more cannot be told apart, and the file stays small


def scatter_svg(
    predicted: Float[Tensor, " batch"],
    actual: Float[Tensor, " batch"],
    *,
    what: str = "test accuracy",
    most: int = POINTS,
) -> str:
    """Draw predicted over true accuracies, with the diagonal on which they agree.

    Args:
        predicted: Fractions.
        actual: Fractions.
        what: Names the accuracies.
        most: Number of points drawn, evenly spaced.

    Raises:
        ValueError: If there are none, not as many of each, or one is not finite.
    """
    import altair as alt  # the chart stack takes a second to import
    import vl_convert

    if not len(predicted) == len(actual) > 0:
        raise ValueError(f"{len(predicted)} predictions cannot be drawn over {len(actual)} scores")
    if not bool(torch.stack([predicted, actual]).isfinite().all()):
        raise ValueError("a prediction or a score is not finite")
    drawn = min(len(actual), most)
    chosen = [i * len(actual) // drawn for i in range(drawn)]
    points: list[dict[str, Any]] = [
        {"x": round(100 * x, 3), "y": round(100 * y, 3)}
        for x, y in zip(actual[chosen].tolist(), predicted[chosen].tolist(), strict=True)
    ]
    values = [value for point in points for value in point.values()]
    low, high = min(values), max(values)
    margin = 0.02 * (high - low) or 0.5
    scale = alt.Scale(domain=[low - margin, high + margin], zero=False, nice=False)
    ends: list[dict[str, Any]] = [{"x": end, "y": end} for end in (low, high)]
    x, y = alt.X("x:Q", title=f"{what} (%)", scale=scale), alt.Y("y:Q", scale=scale)
    line = alt.Chart(alt.InlineData(ends)).mark_line(color="#999999", strokeDash=[5, 4])
    dots = alt.Chart(alt.InlineData(points)).mark_circle(size=14, opacity=0.35, color="#0072B2")
    chart = alt.layer(
        line.encode(x=x, y=y), dots.encode(x=x, y=y.title(f"predicted {what} (%)"))
    ).properties(width=420, height=420)
    chart = chart.configure(
        background="white", font="sans-serif", axis={"gridColor": "#e5e5e5", "domain": False}
    )
    return str(vl_convert.vegalite_to_svg(chart.to_dict()))
