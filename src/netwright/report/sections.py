"""The sections of the page below its header."""

import math
from collections.abc import Collection, Sequence

from netwright.report import charts, words
from netwright.report.markup import Markup, element
from netwright.report.methods import Method, flat
from netwright.report.parts import Section, chart, heading, legend, table
from netwright.report.summary import Summary, reasons, top
from netwright.report.vega import origin_colours

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


def progress(summary: Summary) -> Section:
    """Chart one run's scores against evaluations."""
    if not summary.rows:
        return Section(nothing_yet(), {})
    counts: dict[str, int] = {}
    for row in summary.rows:
        counts[row.origin] = counts.get(row.origin, 0) + 1
    ink = origin_colours(list(counts))
    marks = [
        _toggle(origin, f"{origin} {n:,}", element("i", cls="dot", style=f"--dot:{ink[origin]}"))
        for origin, n in counts.items()
    ]
    if summary.failed or summary.stopped:
        counted = {"failed": len(summary.failed), "stopped": len(summary.stopped)}
        said = ", ".join(f"{what} {n:,}" for what, n in counted.items() if n)
        cross = element("i", "×", cls="cross")  # noqa: RUF001 (the mark in the chart)
        marks.append(_toggle("failed", said, cross))
    remarks = [
        "The line is the best score so far.",
        "Each dot is a proposal, coloured by its origin.",
    ]
    if (stride := charts.drawn(summary)) > 1:
        remarks.append(f"One proposal in {stride:,} is drawn, and every improvement.")
    low, robust, _ = charts.score_range([summary])
    if robust > low:
        below = sum(row.score is not None and row.score < robust for row in summary.rows)
        remarks.append(f"{words.plural(below, 'lower score')} out of view.")
        marks.append(show_all(low))
    body = element(
        "section",
        element("h2", "Best score against evaluations"),
        element("p", " ".join(remarks), cls="muted"),
        element("div", *marks, cls="controls", data_controls="progress"),
        chart("progress", "Scores of all evaluations and the best so far"),
        aria_label="Progress",
    )
    return Section(body, {"progress": charts.progress(summary)})


def show_all(low: float) -> Markup:
    """Return the control that shows scores out of view, down to ``low``."""
    box = element("input", type="checkbox")
    return element("label", box, f" show all scores (down to {words.number(low)})")


def nothing_yet() -> Markup:
    """Stand in for the progress of runs that have none."""
    return element(
        "section",
        element("h2", "Progress"),
        element("p", "Nothing has been evaluated yet.", cls="muted"),
    )


#: What the searchers of this library mean by their statistics.
_MEANING = {
    "epsilon": "Probability that the explorer makes a proposal.",
    "fallback": "Proposals so far that the generator owed and others made.",
    "repeats": "Draws of the last step that were known already.",
    "repeated": "Share of valid draws that were known already.",
    "buffer mean": "Mean score of what the generator is trained on.",
    "buffer min": "Lowest score it is trained on.",
    "buffer max": "Highest score it is trained on.",
    "loss": "Of the last epoch of the last update.",
    "gradient norm": "Of the last epoch of the last update, before clipping.",
}


def statistics(methods: Sequence[Method], *, without: Collection[str] = ()) -> Section:
    """Chart every statistic of the searchers but those shown elsewhere."""
    runs = [run for method in methods for run in method.runs]
    names = [name for name in charts.names_of_statistics(runs) if name not in without]
    if not names:
        return Section(None, {})
    figures = [
        element(
            "figure",
            element("h3", name.replace("_", " ")),
            element("p", _MEANING[name], cls="note") if name in _MEANING else None,
            chart(f"statistic {i}", f"{name} against evaluations"),
        )
        for i, name in enumerate(names)
    ]
    body = element(
        "section",
        element("h2", "The searcher, step by step"),
        element("p", "What it said of itself, against evaluations.", cls="muted"),
        legend(methods) if len(runs) > 1 else None,
        element("div", *figures, cls="small"),
        aria_label="Searcher statistics",
    )
    specs = {f"statistic {i}": charts.statistic(name, methods) for i, name in enumerate(names)}
    return Section(body, specs)


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
                element("tr", element("th", key, scope="row"), element("td", value or words.DASH))
                for key, value in flat(values)
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
