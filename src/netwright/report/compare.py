"""Several runs on one page: their curves by method, and what they came to."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from netwright.report import charts, words
from netwright.report.markup import element
from netwright.report.methods import Method
from netwright.report.parts import Section, chart, heading, legend, table
from netwright.report.sections import nothing_yet, show_all
from netwright.report.summary import Summary
from netwright.report.vega import CONFIG, Rows, Spec, finished

_GRID = 400  # evaluations at which means are taken
_CONFIDENCE = 0.95


def comparison(methods: Sequence[Method]) -> Section:
    """Chart the best score so far of all runs, by method, and tabulate their final values."""
    runs = [run for method in methods for run in method.runs]
    if not any(run.rows for run in runs):
        return Section(nothing_yet(), {})
    several = any(len(method.runs) > 1 for method in methods)
    remarks = ["Each line is the best score so far of one run, in the colour of its method."]
    if several:
        remarks.append(
            "Runs that differ in their seed only are one method: the strong line is their mean, "
            f"the band the {_CONFIDENCE:.0%} confidence interval of the mean (Student's t)."
        )
    low, robust, _ = charts.score_range(runs)
    controls = [show_all(low)] if robust > low else []
    body = element(
        "section",
        element("h2", "Best score against evaluations"),
        element("p", " ".join(remarks), cls="muted"),
        legend(methods),
        element("div", *controls, cls="controls", data_controls="progress") if controls else None,
        chart("progress", "Best score so far of every run, and the mean of each method"),
        element("h3", "Final values"),
        element(
            "p",
            f"Best score of each run at its end{', mean ± sd over runs' * several}.",
            cls="note",
        ),
        table(*_final_values(methods), numbers=1),
        aria_label="Progress",
    )
    return Section(body, {"progress": _curves(methods)})


def mean_curve(
    runs: Sequence[Summary],
) -> tuple[Float[Tensor, " point"], Float[Tensor, "point 3"]]:
    r"""Average the best score so far over runs.

    Returns:
        Numbers of evaluations, from where every run has a score to where the shortest ends; and
        there the mean $m$ and $m \mp t s / \sqrt n$, with $t$ the quantile of Student's
        distribution of $n - 1$ degrees of freedom, and $s$ the standard deviation of the $n$ runs.
    """
    curves = [[(x, y) for x, y in run.incumbents() if math.isfinite(y)] for run in runs]
    if len(runs) < 2 or not all(curves):
        return torch.zeros(0), torch.zeros(0, 3)
    first = max(curve[0][0] for curve in curves)
    last = min(curve[-1][0] for curve in curves)
    if first > last:
        return torch.zeros(0), torch.zeros(0, 3)
    at = torch.linspace(first, last, min(_GRID, last - first + 1), dtype=torch.double).round()
    values = []
    for curve in curves:
        x, y = torch.tensor(curve, dtype=torch.double).T.contiguous()
        values.append(y[torch.searchsorted(x, at, right=True) - 1])
    stacked = torch.stack(values)
    mean, sd = stacked.mean(dim=0), stacked.std(dim=0)
    half = _quantile(len(runs) - 1) * sd / math.sqrt(len(runs))
    return at, torch.stack([mean, mean - half, mean + half], dim=1)


def _quantile(degrees: int) -> float:
    from scipy.special import stdtrit  # 0.1 s, and only comparisons need it

    return float(stdtrit(degrees, (1 + _CONFIDENCE) / 2))


def _curves(methods: Sequence[Method]) -> Spec:
    import altair as alt  # half a second, and only reports need it

    runs = [run for method in methods for run in method.runs]
    x, y = charts.score_axes(runs)
    colour = alt.Color("colour:N", scale=None)
    curves: Rows = []
    means: Rows = []
    for method in methods:
        about: dict[str, Any] = {"method": method.label, "colour": method.colour}
        points, values = mean_curve(method.runs)
        alone = len(points) == 0
        for run in method.runs:
            named = about | {"run": run.name, "strong": alone}
            curves += [
                {"evaluation": i, "score": score} | named
                for i, score in run.incumbents()
                if math.isfinite(score)
            ]
        means += [
            {"evaluation": int(i), "score": m, "low": low, "high": high} | about
            for i, (m, low, high) in zip(points.tolist(), values.tolist(), strict=True)
        ]
    line: dict[str, Any] = {"interpolate": "step-after", "strokeJoin": "round", "clip": True}
    told = [alt.Tooltip("evaluation:Q"), alt.Tooltip("method:N")]
    score = alt.Tooltip("score:Q", title="best so far", format=".5~g")
    each = (
        alt.Chart(alt.NamedData("curves"))
        .mark_line(**line)
        .encode(
            x=x,
            y=y,
            color=colour,
            detail="run:N",
            strokeWidth=alt.condition("datum.strong", alt.value(2.2), alt.value(1)),
            opacity=alt.condition("datum.strong", alt.value(1), alt.value(0.4)),
            tooltip=[score, *told, alt.Tooltip("run:N")],
        )
    )
    band = (
        alt.Chart(alt.NamedData("means"))
        .mark_area(interpolate="step-after", opacity=0.16, clip=True)
        .encode(x=x, y=alt.Y("low:Q", title="score"), y2="high:Q", color=colour, detail="method:N")
    )
    mean = (
        alt.Chart(alt.NamedData("means"))
        .mark_line(strokeWidth=2.6, **line)
        .encode(
            x=x,
            y=y,
            color=colour,
            detail="method:N",
            tooltip=[alt.Tooltip("score:Q", title="mean", format=".5~g"), *told],
        )
    )
    chart = alt.layer(band, each, mean).add_params(*charts.score_parameters())
    chart = chart.properties(width="container", height=340)
    return finished(chart.configure(**CONFIG).to_dict(), {"curves": curves, "means": means})


def _final_values(methods: Sequence[Method]) -> tuple[list[str], list[list[str]]]:
    """Tabulate each method's best scores, and what else was measured of those architectures."""
    best = [[run.best for run in method.runs if run.best] for method in methods]
    extras = list(dict.fromkeys(name for rows in best for row in rows for name in row.extras))
    columns = ["Method", "Runs", "Evaluations", "Best score", "Lowest", "Highest"]
    lines = []
    for method, rows in zip(methods, best, strict=True):
        done = [len(run.evaluated) for run in method.runs]
        span = f"{min(done):,}" + f"–{max(done):,}" * (min(done) < max(done))  # noqa: RUF001 (from, to)
        scores = [row.score for row in rows if row.score is not None]
        others = [
            mean_and_sd([row.extras[name] for row in rows if name in row.extras]) for name in extras
        ]
        ends = [words.score(f(scores)) if scores else words.DASH for f in (min, max)]
        lines.append(
            [method.label, f"{len(method.runs)}", span, mean_and_sd(scores), *ends, *others]
        )
    return [*columns, *map(heading, extras)], lines


def mean_and_sd(values: Sequence[float]) -> str:
    """Write mean and standard deviation; the mean alone where there is one value."""
    finite = torch.tensor([v for v in values if math.isfinite(v)], dtype=torch.double)
    if not len(finite):
        return words.DASH
    mean = float(finite.mean())
    if len(finite) == 1:
        return words.score(mean)
    sd = float(finite.std())
    if abs(mean) >= 1000:
        return f"{mean:,.0f} ± {sd:,.0f}"
    return f"{words.score(mean)} ± {words.spread(sd)}"
