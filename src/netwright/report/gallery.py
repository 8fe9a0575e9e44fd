"""The best architectures, drawn."""

import math
import re
from collections.abc import Sequence
from contextlib import suppress

from netwright.report import words
from netwright.report.drawing import colours, label
from netwright.report.markup import Markup, element, join
from netwright.report.parts import copy_button, drawing_of
from netwright.report.summary import Summary, top
from netwright.runs.ledger import Row
from netwright.spaces.base import SearchSpace


def gallery(summaries: Sequence[Summary], space: SearchSpace) -> Markup | None:
    """Draw the best architectures."""
    best = top(summaries)
    if not best:
        return None
    drawings = [drawing_of(row, space) for _, row in best]
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
                    copy_button(row.arch, f"architecture {rank}"),
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


def _operations(rows: Sequence[Row], space: SearchSpace) -> list[str]:
    """Name the operations that occur, in the order of the space."""
    used: set[int] = set()
    for row in rows:
        with suppress(ValueError):  # reported in place of its drawing
            arch = space.from_text([row.arch])
            used.update(arch.ops[arch.node_mask].tolist())
    return [name for i, name in enumerate(space.op_names) if i in used]


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


def _count(n: int) -> str:
    names = ("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return names[n] if n < len(names) else str(n)
