"""The sections of the page, from top to bottom."""

import math
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from statistics import median
from typing import Any

from netwright.report import charts, words
from netwright.report.drawing import colours, draw_svg, label
from netwright.report.markup import Markup, element, join
from netwright.report.summary import Summary, reasons, top
from netwright.runs.ledger import Row
from netwright.spaces.base import SearchSpace

_NAMES = {
    "graphpnas": "GraphPNAS", "random": "Random search", "toy": "the toy space",
    "nasbench101": "NAS-Bench-101", "nasbench201": "NAS-Bench-201",
}  # fmt: skip
_SHOWN_NUMBERS = 12  # of the evaluations that failed for one reason


def header(summaries: Sequence[Summary], space: SearchSpace) -> Markup:
    """Say what was searched and found."""
    place = _NAMES.get(space.name, space.name)
    if len(summaries) == 1:
        [only] = summaries
        method = _name(only.config.get("method"), "A search")
        title = f"{method} on {place}"
        facts = [_lead(only), _tiles(only)]
        about = only.name
    else:
        title = f"{len(summaries)} runs on {place}"
        facts = [_comparison(summaries)]
        about = "comparison"
    best = top(summaries, 1)
    text, picture = None, None
    if best:
        _, row = best[0]
        text = _copyable("Best", row.arch)
        caption = f"The best architecture: {words.score(row.score)}"
        picture = element("figure", _drawing(row, space), element("figcaption", caption))
    commands = [_commands(summary) for summary in summaries] if len(summaries) == 1 else []
    return element(
        "header",
        element(
            "div",
            element("p", f"Netwright search report: {about}", cls="eyebrow"),
            element("h1", title),
            *facts,
            text,
            *commands,
        ),
        picture,
        cls="hero",
    )


def retrained(summaries: Sequence[Summary]) -> Markup | None:
    """Compare what was trained again after the search, if anything was."""
    entries = [(s, entry) for s in summaries for entry in s.final]
    if not entries:
        return None
    several = len(summaries) > 1
    names = list(dict.fromkeys(name for _, entry in entries for name in entry["metrics"]))
    columns = ["Architecture", *["Run"] * several, *map(_heading, names), "Trainings"]
    rows = []
    for summary, entry in entries:
        run = [summary.name] * several
        values = [words.score(entry["metrics"].get(name)) for name in names]
        rows.append([entry["name"], *run, *values, words.number(entry["seeds"])])
    return element(
        "section",
        element("h2", "Retrained after the search"),
        element("p", "Trained afresh on all training data, then tested once.", cls="muted"),
        _table(columns, rows, numbers=1 + several),
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
    remarks = ["The line is the best score so far." if len(summaries) == 1 else "One line a run."]
    legend: list[str] = []
    if len(summaries) == 1:
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
        if len(summaries) == 1:
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
        _chart("progress", "Scores of all evaluations and the best so far"),
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
                    _chart(f"statistic {i}", f"{name} against evaluations"),
                )
                for i, name in enumerate(names)
            ],
            cls="small",
        ),
        aria_label="Searcher statistics",
    )


def gallery(summaries: Sequence[Summary], space: SearchSpace) -> Markup | None:
    """Draw the best architectures."""
    best = top(summaries)
    if not best:
        return None
    drawings = [_drawing(row, space) for _, row in best]
    paint = colours(space.op_names)
    legend = [
        element("li", _swatch(*paint[name]), name if label(name) == name else _both(name))
        for name in _operations([row for _, row in best], space)
    ]
    cells = []
    for rank, ((summary, row), drawing) in enumerate(zip(best, drawings, strict=True), start=1):
        origin = f"{row.origin}, evaluation {row.index + 1:,}"
        run = f"{summary.name}: " if len(summaries) > 1 else ""
        cells.append(
            element(
                "li",
                element(
                    "div",
                    element("span", f"#{rank}", cls="rank"),
                    element("span", words.score(row.score), cls="value"),
                    _copy_button(row.arch, f"architecture {rank}"),
                    cls="head",
                ),
                element("div", drawing, cls="picture"),
                element("div", _size(row), element("br"), f"{run}{origin}", cls="foot"),
                cls="cell",
            )
        )
    # A little narrower than the widest drawing: it shrinks, and one more fits beside it.
    wide = min(640, max(200, *(_width(drawing) * 3 // 4 + 32 for drawing in drawings)))
    title = (
        "The best architecture" if len(best) == 1 else f"The {_count(len(best))} best architectures"
    )
    return element(
        "section",
        element("h2", title),
        element("ul", *legend, cls="legend", aria_label="Operations"),
        element("ol", *cells, cls="gallery", style=f"--wide:{wide}px"),
        aria_label="Best architectures",
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
        *map(_heading, extras),
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
        _table(columns, rows, numbers=0, words_last=1 + several),
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
            table = element("table", element("caption", caption + run), element("tbody", *rows))
            blocks.append(table)
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


def _lead(summary: Summary) -> Markup:
    evaluator = summary.config.get("evaluator", {})
    match evaluator.get("name"):
        case "train":
            how = f"each architecture trained on {evaluator.get('dataset', 'images')}"
        case "table":
            how = f"{evaluator.get('metric', 'scores')} looked up in a table"
        case name:
            how = f"scored by {name}" if name else "scored"
    done, budget = len(summary.evaluated), summary.config.get("budget")
    share = f"{done:,} of {budget:,}" if isinstance(budget, int) else f"{done:,}"
    seed = f", seed {summary.config['seed']}" if "seed" in summary.config else ""
    text = f"{share} evaluations, {how}{seed}. "
    best = summary.best
    if best is not None:
        middle = words.score(median(row.score or 0.0 for row in summary.scored))
        text += (
            f"The best scores {words.score(best.score)} (evaluation {best.index + 1:,}, "
            f"{best.origin}), the median {middle}."
        )
    elif done:
        text += "None has succeeded."
    return element("p", text, cls="lead")


def _tiles(summary: Summary) -> Markup:
    best = summary.best
    failed, budget = len(summary.failed), summary.config.get("budget")
    of = f" of {budget:,}" if isinstance(budget, int) else ""
    facts = [
        ("Best score", words.score(best.score) if best else words.DASH, None),
        ("Evaluations", f"{len(summary.evaluated):,}", of),
        ("Failed", f"{failed:,}", None),
        ("Repeats", f"{summary.repeats:,}", " free"),
        ("Evaluation cost", words.duration(summary.cost), None),
        ("Elapsed", words.duration(summary.elapsed), None),
    ]
    if summary.initial:
        facts.insert(4, ("Known before", f"{summary.initial:,}", None))
    tiles = [
        element(
            "div",
            element("dt", name),
            element("dd", value, element("small", unit) if unit else None),
            cls="best" if name == "Best score" else None,
        )
        for name, value, unit in facts
    ]
    return element("dl", *tiles, cls="tiles")


def _comparison(summaries: Sequence[Summary]) -> Markup:
    columns = ["Run", "Method", "Seed", "Best", "Evaluations", "Failed", "Repeats", "Cost"]
    rows = [
        [
            s.name,
            _name(s.config.get("method"), words.DASH),
            str(s.config.get("seed", words.DASH)),
            words.score(s.best.score) if s.best else words.DASH,
            f"{len(s.evaluated):,}",
            f"{len(s.failed):,}",
            f"{s.repeats:,}",
            words.duration(s.cost),
        ]
        for s in summaries
    ]
    return _table(columns, rows, numbers=2)


def _commands(summary: Summary) -> Markup | None:
    """What to type next; a run made in Python has no configuration the command line could use."""
    config, best = summary.config, summary.best
    if not {"space", "method", "evaluator", "budget"} <= config.keys():
        return None
    folder, done = shlex.quote(str(summary.folder)), len(summary.evaluated)
    resume = f"netwright resume {folder}"
    if done >= config["budget"]:
        resume += f" --budget {2 * done}"
    commands = [("Go on", resume), ("Sample", f"netwright sample {folder} -n 16")]
    space, evaluator = config["space"], config["evaluator"]
    if best is not None and evaluator.get("name") == "train" and space.keys() == {"name"}:
        what = f"{shlex.quote(best.arch)} --space {shlex.quote(space['name'])}"
        dataset = shlex.quote(str(evaluator.get("dataset", "digits")))
        out = "--out weights.safetensors"
        commands.append(("Train", f"netwright train {what} --dataset {dataset} {out}"))
    return join(*[_copyable(name, command) for name, command in commands])


def _copyable(name: str, text: str) -> Markup:
    return element(
        "div", element("span", name), element("code", text), _copy_button(text, name), cls="copy"
    )


def _copy_button(text: str, what: str) -> Markup:
    return element("button", "Copy", type="button", data_copy=text, aria_label=f"Copy: {what}")


def _toggle(origin: str, text: str, mark: Markup) -> Markup:
    return element("button", mark, text, type="button", aria_pressed="true", data_origin=origin)


def _chart(name: str, description: str) -> Markup:
    missing = element("noscript", "This chart needs JavaScript.")
    box = element("div", missing, data_chart=name)
    return element("div", box, cls="chart", role="img", aria_label=description)


def _table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: int, words_last: int = 0
) -> Markup:
    """Make a table whose columns from ``numbers`` on, but the last few, are set to the right."""

    def kind(column: int) -> str | None:
        return "n" if numbers <= column < len(columns) - words_last else None

    head = [element("th", name, cls=kind(i), scope="col") for i, name in enumerate(columns)]
    body = []
    for row in rows:
        first = element("th", row[0], cls=kind(0), scope="row", data_label=columns[0])
        others = [
            element("td", value, cls=kind(i), data_label=columns[i])
            for i, value in enumerate(row[1:], start=1)
        ]
        body.append(element("tr", first, *others))
    table = element(
        "table",
        element("thead", element("tr", *head)),
        element("tbody", *body),
        cls="stack",
    )
    return element("div", table, cls="scroll")


def _drawing(row: Row, space: SearchSpace) -> Markup:
    try:
        title = f"Architecture with score {words.score(row.score)}: {words.short(row.arch, 200)}"
        return Markup(draw_svg(space.from_text([row.arch]), space.op_names, title=title))
    except ValueError as error:  # a ledger of another space: the rest of the page is still true
        reason = words.short(str(error), 200)
        return element("p", f"This architecture cannot be drawn: {reason}", cls="muted")


def _operations(rows: Sequence[Row], space: SearchSpace) -> list[str]:
    """Name the operations that occur, in the order of the space."""
    used: set[int] = set()
    for row in rows:
        with suppress(ValueError):  # reported in place of its drawing
            arch = space.from_text([row.arch])
            used.update(arch.ops[arch.node_mask].tolist())
    return [name for i, name in enumerate(space.op_names) if i in used]


def _heading(name: str) -> str:
    """Write the name of a quantity as a heading; those of benchmarks stay as they are."""
    return name if "/" in name else name[:1].upper() + name[1:]


def _width(drawing: str) -> int:
    found = re.search(r' width="(\d+)"', drawing)
    return int(found[1]) if found else 0


def _swatch(fill: str, ink: str) -> Markup:
    border = f"1.5px dashed {ink}" if fill == "none" else "0"
    colour = "transparent" if fill == "none" else fill
    return element("i", cls="swatch", style=f"background:{colour};border:{border}")


def _both(name: str) -> Markup:
    return join(label(name), " ", element("small", f"({name})"))


def _size(row: Row) -> str:
    """Write the number of parameters, where the evaluator has given it."""
    for name, value in row.extras.items():
        if "param" in name.lower() and not math.isnan(value):
            return f"{words.number(value)} parameters"
    return ""


def _name(entry: Any, missing: str) -> str:
    """Name a method as people do."""
    name = entry.get("name") if isinstance(entry, dict) else entry
    return _NAMES.get(str(name), str(name)) if name else missing


def _count(n: int) -> str:
    names = ("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return names[n] if n < len(names) else str(n)


def _flat(values: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """List nested values as dotted names."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield from _flat(value, f"{name}.{key}" if name else str(key))
    elif isinstance(values, list | tuple):
        yield name, ", ".join(map(str, values)) or words.DASH
    else:
        yield name, str(values)


def finished(summaries: Sequence[Summary]) -> str:
    """Write when the last result came in."""
    times = [row.finished for summary in summaries for row in summary.rows]
    return f"{datetime.fromtimestamp(max(times), UTC):%Y-%m-%d %H:%M} UTC" if times else words.DASH
