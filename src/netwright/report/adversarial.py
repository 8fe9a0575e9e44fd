"""The page of an adversarial fit: a single HTML file that opens offline ([GNN2GNN] section 4)."""

import math
from pathlib import Path

from netwright.files import write_atomic
from netwright.report import adversarial_charts as charts
from netwright.report import words
from netwright.report.adversarial_views import (
    AdversarialPage,
    Cell,
    Judged,
    Measured,
    Spread,
)
from netwright.report.document import document
from netwright.report.drawing import draw_svg
from netwright.report.markup import Markup, element
from netwright.report.methods import name_of
from netwright.report.parts import Section, chart, copy_button, heading, operations, table
from netwright.report.vega import Spec
from netwright.spaces.base import SearchSpace

__all__ = [
    "AdversarialPage",
    "Cell",
    "Judged",
    "Measured",
    "Spread",
    "adversarial_html",
    "write_adversarial_report",
]

#: What is charted of training: the title of each record's value.
_CURVES = {
    "generator": "Loss of the generator",
    "discriminator": "Loss of the discriminator",
    "valuer": "Loss of the valuer",
    "told_apart": "Right about real and generated",
}
#: Measures whose names do not say what they are.
_MEANING = {
    "novelty": "DAGs that are no training cell",
    "top-5": "among the best 5 % of the table",
    "top-10": "among the best 10 %",
    "top-50": "among the best 50 %",
    "mean accuracy": "of those in the table",
    "distinct": "different ones in the table, per 1,000 graphs",
    "validity": "members of the space",
    "uniqueness": "came up once",
    "in table": "of known accuracy",
    "mean parameters": "of those in the table",
    "best accuracy": "of those in the table",
}
_NUMBERS = {"distinct", "mean parameters"}  # all others are in percent


def write_adversarial_report(page: AdversarialPage, space: SearchSpace, path: Path) -> Path:
    """Write the page of `adversarial_html` to ``path`` and return the path.

    Raises:
        OSError: If the file cannot be written.
    """
    path = Path(path)
    write_atomic(path, adversarial_html(page, space))
    return path


def adversarial_html(page: AdversarialPage, space: SearchSpace) -> str:
    """Return a page about an adversarial fit and what it generates.

    Args:
        page: What to show.
        space: The search space; names the operations.
    """
    parts = [
        header(page, space),
        accuracies(page),
        best_of_table(page),
        cells(page, space),
        valuer(page),
        training(page),
    ]
    return document(f"{page.method}, adversarial fit", parts)


def header(page: AdversarialPage, space: SearchSpace) -> Section:
    """Say what was trained on what, for how long, and what it makes of it."""
    left = page.total - page.graphs
    unfinished = f" Training is not finished: {left:,} graphs are left." if left > 0 else ""
    own = page.measures[0].values
    facts = [
        ("Parameters", f"{page.parameters:,}"),
        ("Graphs seen", f"{page.graphs:,}"),
        ("Epochs", f"{page.epochs:,.1f}".removesuffix(".0")),
        ("Training", words.duration(page.seconds)),
        ("λ", words.number(page.balance)),
        *[(top.capitalize(), _percent(own[top])) for top in charts.TOPS],
    ]
    tiles = [element("div", element("dt", n), element("dd", value)) for n, value in facts]
    body = element(
        "header",
        element("p", "Netwright adversarial fit report", cls="eyebrow"),
        element("h1", f"What {page.method} generates on {name_of(space.name, '')}"),
        element("p", f"Trained on {page.data}.{unfinished}", cls="lead"),
        element("dl", *tiles, cls="tiles"),
    )
    return Section(body, {})


def accuracies(page: AdversarialPage) -> Section:
    """Chart the accuracies of generated architectures among those of the table."""
    spread, low = page.spread, charts.lowest(page.spread)
    known, n = len(spread.made), page.generated
    title = "Accuracies of what is generated"
    if not known:
        text = f"None of {words.plural(n, 'generated graph')} has a known {page.metric}."
        body = element("section", element("h2", title), element("p", text), aria_label=title)
        return Section(body, {})
    below = [
        f"{float((values < low).double().mean()):.1%} of the {name}"
        for name, values in (("generated", spread.made), ("table's", spread.table))
    ]
    text = (
        f"{words.plural(n, 'graph')} generated, {known:,} of them with a known {page.metric}, "
        f"beside the {len(spread.table):,} architectures of the table. Not drawn, below "
        f"{100 * low:.2f} %: {below[0]}, {below[1]}."
    )
    marks = [
        _mark("generated", charts.MADE),
        _mark("all of the table", charts.TABLE),
        _line(f"best training cell, {100 * spread.best_seen:.2f} %", charts.SEEN),
    ]
    if spread.held_out is not None:
        start, end = (100 * accuracy for accuracy in spread.held_out)
        name = f"held out as the best, {start:.2f} to {end:.2f} %"
        marks.append(_mark(name, charts.HELD_OUT))
    body = element(
        "section",
        element("h2", title),
        element("p", text, cls="muted"),
        element("ul", *marks, cls="legend", aria_label="Accuracies"),
        chart("accuracies", "Shares of generated and of all architectures by accuracy"),
        aria_label=title,
    )
    return Section(body, {"accuracies": charts.histogram(spread, page.metric)})


def best_of_table(page: AdversarialPage) -> Section:
    """Chart and tabulate measures beside those of other generators."""
    title = "How good it is"
    text = (
        f"Share of the {page.generated:,} graphs that are among the best 5, 10 and 50 % of the "
        f"table by {page.metric}; of architectures drawn from the table, 5, 10 and 50 % would be."
    )
    if page.published:
        text = f"{text} Published: {page.published}."
    columns = ["Measure", *(measured.name for measured in page.measures), "Meaning"]
    own = page.measures[0].values
    rows = [
        [
            _heading(name),
            *(_value(name, measured.values.get(name)) for measured in page.measures),
            _MEANING.get(name, _above(name)),
        ]
        for name in own
    ]
    body = element(
        "section",
        element("h2", title),
        element("p", text, cls="muted"),
        element("ul", *(_mark(m.name, m.colour) for m in page.measures), cls="legend",
                aria_label="Generators"),
        chart("tops", "Shares of graphs that are among the best of the table, by generator"),
        element("h3", "All measures"),
        table(columns, rows, numbers=1, words_last=1),
        aria_label=title,
    )  # fmt: skip
    return Section(body, {"tops": charts.tops(page.measures)})


def cells(page: AdversarialPage, space: SearchSpace) -> Section:
    """Draw the best architectures generated that were not learned from."""
    title = "The best new architectures"
    total = len(page.spread.table)
    if not page.cells:
        text = "No graph was generated that is in the table and was not among the training cells."
        body = element("section", element("h2", title), element("p", text), aria_label=title)
        return Section(body, {})
    pictures = [
        Markup(
            draw_svg(cell.arch, space.op_names, title=f"{words.score(cell.accuracy)}: {cell.text}")
        )
        for cell in page.cells
    ]
    shown = []
    for number, (cell, picture) in enumerate(zip(page.cells, pictures, strict=True), start=1):
        head = element(
            "div",
            element("span", f"#{number}", cls="rank"),
            element("span", words.score(cell.accuracy), cls="value"),
            copy_button(cell.text, f"architecture {number}"),
            cls="head",
        )
        facts = [
            f"rank {cell.rank:,} of {total:,}",
            "" if math.isnan(cell.parameters) else f"{words.number(cell.parameters)} parameters",
            f"generated {words.plural(cell.times, 'time')}",
            "held out as one of the best" if cell.held_out else "",
        ]
        foot = element("div", *(element("div", fact) for fact in facts if fact), cls="foot")
        shown.append(element("li", head, element("div", picture, cls="picture"), foot, cls="cell"))
    text = (
        f"Of the {page.generated:,} graphs, those with the best {page.metric} that are not among "
        "the training cells. The rank counts all of the table that are at least as good."
    )
    used = {op for cell in page.cells for op in cell.arch.ops[cell.arch.node_mask].tolist()}
    names = [name for i, name in enumerate(space.op_names) if i in used]
    body = element(
        "section",
        element("h2", title),
        element("p", text, cls="muted"),
        operations(names, space),
        element("ol", *shown, cls="gallery", style="--wide:210px"),
        aria_label=title,
    )
    return Section(body, {})


def valuer(page: AdversarialPage) -> Section:
    """Chart what the valuer says of cells it has not seen over their accuracy."""
    if page.judged is None:
        return Section(None, {})
    judged, low = page.judged, charts.lowest(page.spread)
    drawn = min(charts.POINTS, int((judged.actual >= low).sum()))
    if not drawn:
        return Section(None, {})
    what = "the probability of being strong" if judged.classifies else "the accuracy"
    made = ""
    if not math.isnan(judged.tau_made):
        made = f"; on the different generated cells of known accuracy, {_tau(judged.tau_made)}"
    text = (
        f"What the valuer says, {what}, over the {page.metric} of {drawn:,} cells held out at "
        f"random. Kendall's {_tau(judged.tau)} on "
        f"{words.plural(len(judged.actual), 'such cell')}{made}."
    )
    marks = []
    if judged.strong is not None:
        marks.append(
            _line(f"taught to be strong: from {100 * judged.strong:.2f} % on", charts.SEEN)
        )
    if not judged.classifies:
        marks.append(_line("predicted exactly", "var(--muted)"))
    body = element(
        "section",
        element("h2", "The valuer"),
        element("p", text, cls="muted"),
        element("ul", *marks, cls="legend", aria_label="Valuer") if marks else None,
        chart("valuer", "What the valuer says of held-out cells over their accuracy"),
        aria_label="The valuer",
    )
    return Section(body, {"valuer": charts.judgements(judged, page.metric, low)})


def training(page: AdversarialPage) -> Section:
    """Chart the losses, and how well the discriminator tells real from generated."""
    specs: dict[str, Spec] = {}
    figures = []
    reached = page.heeded is not None and page.heeded <= page.graphs
    for name, title in _CURVES.items():
        points = [
            (float(row["graphs"]), float(row[name]))
            for row in page.history
            if math.isfinite(row[name])
        ]
        if not points:
            continue
        specs[f"training {name}"] = charts.curve(
            points,
            level=page.levels.get(name),
            heeded=page.heeded if reached else None,
            share=name == "told_apart",
        )
        figures.append(
            element(
                "figure",
                element("h3", title),
                chart(f"training {name}", f"{title} against the number of graphs seen"),
                cls="curve",
            )
        )
    if not figures:
        return Section(None, {})
    marks = [_line("where nothing can be told", "var(--muted)")]
    if reached:
        falls = f"λ falls from 1 to {words.number(page.balance)}: the valuer is heeded"
        marks.append(_line(falls, charts.SEEN, "dotted"))
    text = (
        "Means over periods. A discriminator that is right about half of the graphs cannot tell "
        "them from training cells; the generator's loss is another one once λ has fallen."
    )
    body = element(
        "section",
        element("h2", "Training"),
        element("p", text, cls="muted"),
        element("ul", *marks, cls="legend", aria_label="Lines"),
        element("div", *figures, cls="pair"),
        aria_label="Training",
    )
    return Section(body, specs)


def _heading(name: str) -> str:
    """Write the name of a measure, with its unit."""
    title = heading(name)
    return title if name in _NUMBERS else f"{title} (%)"


def _above(name: str) -> str:
    """Say what Acc_n is."""
    start, _, threshold = name.partition("_")
    return f"of those in the table, better than {threshold} %" if start == "acc" else ""


def _value(name: str, value: float | None) -> str:
    if value is None or math.isnan(value):
        return words.DASH
    return f"{round(value):,}" if name in _NUMBERS else f"{value:.2f}"


def _percent(value: float) -> str:
    return words.DASH if math.isnan(value) else f"{value:.1f} %"


def _tau(value: float) -> str:
    """Write a rank correlation so that no line breaks within it."""
    return f"τ\u00a0=\u00a0{words.DASH if math.isnan(value) else f'{value:.3f}'}"


def _mark(name: str, colour: str) -> Markup:
    return element("li", element("i", cls="dot", style=f"--dot:{colour}"), name)


def _line(name: str, colour: str, kind: str = "dashed") -> Markup:
    """Explain a dashed or a dotted line."""
    dashes = f"width:18px;border-top:2px {kind} {colour}"
    return element("li", element("i", style=dashes), name)
