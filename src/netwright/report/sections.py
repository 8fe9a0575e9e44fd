"""The sections of the page below its header."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from netwright.report import charts, words
from netwright.report.markup import Markup, element
from netwright.report.parts import chart, heading, table
from netwright.report.summary import Summary, reasons, top

_SHOWN_NUMBERS = 12  # of the evaluations that failed for one reason


def retrained(summaries: Sequence[Summary]) -> Markup | None:
    """Compare what was trained again after the search, if anything was."""
    entries = [(s, entry) for s in summaries for entry in s.final]
    if not entries:
        return None
    several = len(summaries) > 1
    names = list(dict.fromkeys(name for _, entry in entries for name in entry["metrics"]))
    columns = ["Architecture", *["Run"] * several, *map(heading, names), "Trainings"]
    rows = []
    for summary, entry in entries:
        run = [summary.name] * several
        values = [words.score(entry["metrics"].get(name)) for name in names]
        rows.append([entry["name"], *run, *values, f"{entry['seeds']:,}"])
    return element(
        "section",
        element("h2", "Retrained after the search"),
        element("p", "Trained afresh on all training data, then tested once.", cls="muted"),
        table(columns, rows, numbers=1 + several),
        aria_label="Retrained after the search",
    )


def progress(summaries: Sequence[Summary]) -> Markup:
    """Hold the chart of scores against evaluations, and its legend."""
    if not any(summary.rows for summary in summaries):
        return element(
            "section",
            element("h2", "Progress"),
            element("p", "Nothing has been evaluated yet.", cls="muted"),
        )
    one = len(summaries) == 1
    whose = "The line is the best score so far." if one else "Each line is one run's best so far."
    remarks = [whose]
    legend: list[str] = []
    if one:
        [only] = summaries
        counts: dict[str, int] = {}
        for row in only.rows:
            counts[row.origin] = counts.get(row.origin, 0) + 1
        ink = charts.origin_colours(list(counts))
        legend = [
            _toggle(
                origin, f"{origin} {n:,}", element("i", cls="dot", style=f"--dot:{ink[origin]}")
            )
            for origin, n in counts.items()
        ]
        if only.failed:
            cross = element("i", "×", cls="cross")  # noqa: RUF001 (the mark in the chart)
            legend.append(_toggle("failed", f"failed {len(only.failed):,}", cross))
        remarks.append("Each dot is a proposal, coloured by its origin.")
        if (stride := charts.drawn(only)) > 1:
            remarks.append(f"One proposal in {stride:,} is drawn, and every improvement.")
    else:
        legend = [
            element("span", element("i", cls="dot", style=f"--dot:{ink}"), f" {summary.name}")
            for summary, ink in zip(summaries, charts.run_colours(summaries), strict=True)
        ]
    low, robust, _ = charts.score_range(summaries)
    if robust > low:
        if one:
            scores = [row.score for row in summaries[0].rows if row.score is not None]
            below = sum(score < robust for score in scores)
            remarks.append(f"{words.plural(below, 'lower score')} out of view.")
        box = element("input", type="checkbox")
        legend.append(element("label", box, f" show all scores (down to {words.number(low)})"))
    return element(
        "section",
        element("h2", "Best score against evaluations"),
        element("p", " ".join(remarks), cls="muted"),
        element("div", *legend, cls="controls", data_controls="progress"),
        chart("progress", "Scores of all evaluations and the best so far"),
        aria_label="Progress",
    )


def statistics(names: Sequence[str]) -> Markup | None:
    """Hold a small chart for each statistic of the searcher."""
    if not names:
        return None
    return element(
        "section",
        element("h2", "The searcher, step by step"),
        element("p", "What it said of itself, against evaluations.", cls="muted"),
        element(
            "div",
            *[
                element(
                    "figure",
                    element("h3", name.replace("_", " ")),
                    chart(f"statistic {i}", f"{name} against evaluations"),
                )
                for i, name in enumerate(names)
            ],
            cls="small",
        ),
        aria_label="Searcher statistics",
    )


def ranking(summaries: Sequence[Summary]) -> Markup | None:
    """List the best architectures with everything measured of them."""
    best = top(summaries)
    if not best:
        return None
    extras = list(dict.fromkeys(name for _, row in best for name in row.extras))
    several = len(summaries) > 1
    columns = [
        "Rank",
        "Score",
        *map(heading, extras),
        "Seconds",
        "Evaluation",
        "Origin",
        *["Run"] * several,
    ]
    rows = [
        [
            f"{rank}",
            words.score(row.score),
            *[words.score(row.extras.get(name)) for name in extras],
            words.DASH if math.isnan(row.cost) else f"{row.cost:,.2f}",
            f"{row.index + 1:,}",
            row.origin,
            *[summary.name] * several,
        ]
        for rank, (summary, row) in enumerate(best, start=1)
    ]
    return element(
        "section",
        element("h2", f"Top {len(best)} in numbers"),
        table(columns, rows, numbers=0, words_last=1 + several),
        aria_label="Top architectures in numbers",
    )


def failures(summaries: Sequence[Summary]) -> Markup | None:
    """Group what failed by reason."""
    failed = [row for summary in summaries for row in summary.failed]
    if not failed:
        return None
    groups = []
    for reason, rows in reasons(failed):
        numbers = ", ".join(f"{row.index + 1:,}" for row in rows[:_SHOWN_NUMBERS])
        more = len(rows) - _SHOWN_NUMBERS
        where = f"evaluation{'s' * (len(rows) > 1)} {numbers}" + (
            f" and {more:,} more" * (more > 0)
        )
        groups.append(
            element(
                "div",
                element("b", f"{len(rows):,}"),
                element("div", words.short(reason, 400)),
                element("span", where),
                cls="reason",
            )
        )
    total = sum(len(summary.evaluated) for summary in summaries)
    text = f"{words.plural(len(failed), 'evaluation')} of {total:,} failed; the search went on."
    return element(
        "section",
        element("h2", "Failures"),
        element("p", text, cls="muted"),
        *groups,
        aria_label="Failures",
    )


def configuration(summaries: Sequence[Summary]) -> Markup:
    """List configuration and versions of every run."""
    blocks = []
    for summary in summaries:
        run = f" of {summary.name}" if len(summaries) > 1 else ""
        for caption, values in (("Configuration", summary.config), ("Versions", summary.versions)):
            rows = [
                element("tr", element("th", key, scope="row"), element("td", value))
                for key, value in _flat(values)
            ] or [element("tr", element("td", "none recorded", cls="muted"))]
            blocks.append(
                element("table", element("caption", caption + run), element("tbody", *rows))
            )
    return element(
        "section",
        element(
            "details",
            element("summary", "Configuration and versions"),
            element("div", *blocks, cls="facts"),
            open=True,
        ),
        aria_label="Configuration and versions",
    )


def _toggle(origin: str, text: str, mark: Markup) -> Markup:
    return element("button", mark, text, type="button", aria_pressed="true", data_origin=origin)


def _flat(values: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """List nested values as dotted names."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield from _flat(value, f"{name}.{key}" if name else str(key))
    elif isinstance(values, list | tuple):
        yield name, ", ".join(map(str, values)) or words.DASH
    else:
        yield name, str(values)
