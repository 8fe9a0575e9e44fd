"""The top of the page: what was searched and found, in words, and what to type next."""

import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import median

from netwright.report import words
from netwright.report.markup import Markup, element, join
from netwright.report.methods import name_of, named
from netwright.report.parts import copy_button, drawing_of, table
from netwright.report.summary import Summary, top
from netwright.spaces.base import SearchSpace


def header(summaries: Sequence[Summary], space: SearchSpace) -> Markup:
    """Say what was searched and found."""
    place = name_of(space.name, "")
    if len(summaries) == 1:
        [only] = summaries
        method = name_of(only.config.get("method"), "A search")
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
        picture = element("figure", drawing_of(row, space), element("figcaption", caption))
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


def finished(summaries: Sequence[Summary]) -> str:
    """Write when the last result came in."""
    times = [row.finished for summary in summaries for row in summary.rows]
    return f"{datetime.fromtimestamp(max(times), UTC):%Y-%m-%d %H:%M} UTC" if times else words.DASH


def _lead(summary: Summary) -> Markup:
    evaluator = named(summary.config.get("evaluator"))
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
    if summary.stopped:
        facts.insert(3, ("Stopped early", f"{len(summary.stopped):,}", None))
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
            name_of(s.config.get("method"), words.DASH),
            str(s.config.get("seed", words.DASH)),
            words.score(s.best.score) if s.best else words.DASH,
            f"{len(s.evaluated):,}",
            f"{len(s.failed):,}",
            f"{s.repeats:,}",
            words.duration(s.cost),
        ]
        for s in summaries
    ]
    return table(columns, rows, numbers=2)


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
    if best is not None:
        if named(config["evaluator"]).get("name") == "train":
            commands.append(("Train", f"netwright train {folder}"))
        commands.append(("Export", f"netwright export {folder} --format python"))
    return join(*[_copyable(name, command) for name, command in commands])


def _copyable(name: str, text: str) -> Markup:
    return element(
        "div", element("span", name), element("code", text), copy_button(text, name), cls="copy"
    )
