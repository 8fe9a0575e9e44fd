"""The pieces that several sections are made of."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from netwright.graphs.batch import ArchitectureBatch
from netwright.report import words
from netwright.report.drawing import colours, draw_svg, label
from netwright.report.markup import Markup, element, join
from netwright.report.methods import Method
from netwright.report.vega import Spec
from netwright.runs.ledger import Row
from netwright.spaces.base import SearchSpace


class Section(NamedTuple):
    """A part of the page, and its charts by the names that their places have."""

    body: Markup | None
    charts: dict[str, Spec]


def chart(name: str, description: str) -> Markup:
    """Hold the place of a chart; the description is for those who cannot see it."""
    missing = element("noscript", "This chart needs JavaScript.")
    box = element("div", missing, data_chart=name)
    return element("div", box, cls="chart", role="img", aria_label=description)


def legend(methods: Sequence[Method]) -> Markup:
    """List the colours of the methods."""
    entries = [
        element(
            "li",
            element("i", cls="dot", style=f"--dot:{method.colour}"),
            method.label,
            element("small", f"({words.plural(len(method.runs), 'run')})"),
        )
        for method in methods
    ]
    return element("ul", *entries, cls="legend", aria_label="Methods")


def operations(names: Iterable[str], space: SearchSpace) -> Markup:
    """List the colours of operations, in full where they are drawn with a shorter name."""
    _, known = space.with_ends(ArchitectureBatch.empty(space.layout.max_nodes))
    paint = colours(known)
    entries = []
    for name in names:
        fill, ink = paint[name]
        border = f"1.5px dashed {ink}" if fill == "none" else "0"
        colour = "transparent" if fill == "none" else fill
        swatch = element("i", cls="swatch", style=f"background:{colour};border:{border}")
        short = label(name)
        both = join(short, " ", element("small", f"({name})"))
        entries.append(element("li", swatch, name if short == name else both))
    return element("ul", *entries, cls="legend", aria_label="Operations")


def copy_button(text: str, what: str) -> Markup:
    """Return a button that copies ``text``."""
    return element("button", "Copy", type="button", data_copy=text, aria_label=f"Copy: {what}")


def drawing_of(row: Row, space: SearchSpace) -> Markup:
    """Draw the architecture of a row, or say why that is impossible."""
    try:
        title = f"Architecture with score {words.score(row.score)}: {words.short(row.arch, 200)}"
        return Markup(draw_svg(*space.with_ends(space.from_text([row.arch])), title=title))
    except ValueError as error:  # a ledger of another space: the rest of the page is still true
        reason = words.short(str(error), 200)
        return element("p", f"This architecture cannot be drawn: {reason}", cls="muted")


def heading(name: str) -> str:
    """Write the name of a quantity as a heading; those of benchmarks stay as they are."""
    return name if "/" in name else (name[:1].upper() + name[1:]).replace("_", " ")


def table(
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
