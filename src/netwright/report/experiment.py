"""The page of an experiment: who found what, how surely, and after how many evaluations."""

from collections.abc import Mapping, Sequence
from typing import Any

from netwright.report import words
from netwright.report.document import document
from netwright.report.experiment_charts import curves_spec, label_of, paint_of, panels_of
from netwright.report.markup import Markup, element
from netwright.report.palette import Paint
from netwright.report.parts import Section, chart, copy_button, heading, table

_Row = Mapping[str, Any]


def experiment_html(found: Mapping[str, Any]) -> str:
    """Return the page of an experiment's results, as they stand in their JSON file."""
    curves = found.get("curves", [])
    paint = paint_of([*curves, *(row for row in found["rows"] if row["preset"] != "quoted")])
    parts = [Section(_header(found, paint), {})]
    for name in dict.fromkeys(row["benchmark"] for row in found["rows"]):
        parts.append(_benchmark(name, found, paint))
    return document(found["title"], parts, note=f"Results of {found['date']}.")


def _header(found: Mapping[str, Any], paint: Mapping[str, Paint]) -> Markup:
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    seeds = found["seeds"]
    said = f"{words.plural(len(seeds), 'seed')} from {seeds[0]}, " if seeds else ""
    compared = found.get("differences", [])
    lead = [
        "Every value is a mean over seeds with its standard deviation, and in brackets the 95 % "
        "confidence interval of the mean (Student's t). The rank is the mean over seeds of a "
        "method's rank among those of its table, 1 for the best.",
    ]
    if compared:
        lead.append(
            f"The difference is to {compared[0]['baseline']} on the same seeds; p is Wilcoxon's "
            "signed-rank test of it, corrected for the number of methods (Holm)."
        )
    return element(
        "header",
        element(
            "div",
            element("p", "Netwright experiment", cls="eyebrow"),
            element("h1", found["title"]),
            element("p", " ".join(lead)),
            element("p", *_marked(found["note"]), cls="muted") if found["note"] else None,
            element(
                "div",
                element("span", "Command"),
                element("code", found["command"]),
                copy_button(found["command"], "command"),
                cls="copy",
            ),
            element("p", f"{said}{found['machine']}; {versions}", cls="note"),
            element("ul", *map(_entry, paint, paint.values()), cls="legend", aria_label="Methods"),
        ),
        cls="hero",
    )


def _marked(text: str) -> list[str]:
    """Set what stands between backticks as code."""
    return [element("code", part) if i % 2 else part for i, part in enumerate(text.split("`"))]


def _entry(label: str, paint: Paint) -> Markup:
    return element("li", _line(paint), label)


def _line(paint: Paint) -> Markup:
    """Draw a method's line, short."""
    dash = ",".join(map(str, paint.dash))
    line = (
        f'<svg width="26" height="8" aria-hidden="true"><line x1="1" y1="4" x2="25" y2="4" '
        f'stroke-width="3" style="stroke:{paint.variable}" stroke-dasharray="{dash}"/></svg>'
    )
    return Markup(line)


def _benchmark(name: str, found: Mapping[str, Any], paint: Mapping[str, Paint]) -> Section:
    charts, bodies = {}, []
    for i, (benchmark, axis, curves) in enumerate(panels_of(found.get("curves", []))):
        if benchmark == name:
            place = f"curves-{i}"
            charts[place] = curves_spec(curves, axis, paint)
            what = f"{heading(curves[0]['metric'])} of the best architecture so far"
            bodies.append(element("h3", f"{what}, against {axis}"))
            bodies.append(chart(place, f"{what}, a line for each method"))
    rows = [row for row in found["rows"] if row["benchmark"] == name]
    apart = {
        (d["metric"], d["budget"], d["method"]): d
        for d in found.get("differences", [])
        if d["benchmark"] == name
    }
    kinds = dict.fromkeys((row["metric"], row["budget"]) for row in rows)
    for metric, budget in kinds:
        mine = [row for row in rows if (row["metric"], row["budget"]) == (metric, budget)]
        after = "" if budget is None else f" after {budget:,} evaluations"
        bodies.append(element("h3", f"{heading(metric)}{after}"))
        bodies.append(
            _values(mine, {k[2]: d for k, d in apart.items() if k[:2] == (metric, budget)})
        )
    body = element("section", element("h2", name), *bodies, aria_label=name)
    return Section(body, charts)


def _values(rows: Sequence[_Row], apart: Mapping[str, Mapping[str, Any]]) -> Markup:
    """Tabulate a metric at a budget, the best rank first, quoted values last."""
    ordered = sorted(rows, key=lambda row: (row["preset"] == "quoted", row.get("rank") or 1e9))
    columns = ["Method", "Mean ± sd", "95 % interval", "Rank", "Seeds", "Published"]
    columns += ["Difference", "p"] if apart else []
    lines = []
    for row in ordered:
        label = label_of(row)
        spread = "" if row["sd"] is None else f" ± {row['sd']:.2f}"
        line = [
            label,
            f"{row['mean']:.2f}{spread}",
            _span(row),
            words.DASH if row.get("rank") is None else f"{row['rank']:.1f}",
            words.DASH if row["n"] is None else str(row["n"]),
            _published(row),
        ]
        if apart:
            line += _difference(apart.get(label))
        lines.append(line)
    return table(columns, lines, numbers=1)


def _span(row: _Row) -> str:
    known = row.get("low") is not None
    return f"[{row['low']:.2f}, {row['high']:.2f}]" if known else words.DASH


def _published(row: _Row) -> str:
    if row.get("paper") is None:
        return words.DASH
    spread = "" if row.get("paper_sd") is None else f" ± {row['paper_sd']:.2f}"
    return f"{row['paper']:.2f}{spread}"


def _difference(found: _Row | None) -> list[str]:
    if found is None:
        return [words.DASH, words.DASH]
    p = found.get("p_holm")
    said = words.DASH if p is None else "< 0.001" if p < 1e-3 else f"{p:.3f}"
    return [f"{found['mean']:+.2f} {_span(found)}", said]
