"""Architectures as SVG: boxes coloured by operation, from the input at the top to the output."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from netwright.graphs.batch import ArchitectureBatch
from netwright.report.layered import Layered, Route, place

BOX = 26.0  # height of a box
MARGIN = 6.0
_FONT_SIZE = 11.5
_LONGEST = 15  # characters of a label

#: Okabe and Ito's palette, told apart by colour-blind readers, each with legible ink on it.
PALETTE = (
    ("#0072B2", "#fff"),
    ("#E69F00", "#000"),
    ("#009E73", "#000"),
    ("#CC79A7", "#000"),
    ("#56B4E9", "#000"),
    ("#D55E00", "#000"),
    ("#F0E442", "#000"),
)
_NEUTRAL = ("#66707d", "#fff")
_ENDS = {"input", "in", "mean", "output", "out"}
_ABSENT = {"none", "zero", "zeroize"}


def colours(op_names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return the fill and the ink of each operation.

    Inputs and outputs are grey and an absent operation is hollow; the rest take the palette in
    turn, so that a space always has the same colours.
    """
    chosen, used = {}, 0
    for name in op_names:
        if name in _ENDS:
            chosen[name] = _NEUTRAL
        elif name in _ABSENT:
            chosen[name] = ("none", "currentColor")
        else:
            chosen[name] = PALETTE[used % len(PALETTE)]
            used += 1
    return chosen


def label(name: str) -> str:
    """Shorten the name of an operation: ``nor_conv_3x3`` and ``conv3x3-bn-relu`` to conv 3×3."""
    short = re.sub(r"^nor_|-bn-relu$|_connect$", "", name)
    short = re.sub(r"(?<=[a-z])[_-]?(\d+)x(\d+)", r" \1×\2", short)  # noqa: RUF001 (a times sign is meant)
    short = re.sub(r"(?<=\w)[_-](?=\w)", " ", short)
    short = re.sub(r"\b(max|avg)pool\b", r"\1 pool", short)
    return short if len(short) <= _LONGEST else f"{short[: _LONGEST - 1]}…"


@dataclass(frozen=True)
class Sketch:
    """The parts of a drawing, node by node.

    Attributes:
        boxes: The box of each node.
        edges: The edges into each node.
        bottoms: Where each node's box ends, from the top of the drawing.
        width: Of the whole drawing.
        height: Of the whole drawing.
        about: What it shows, in words.
    """

    boxes: tuple[str, ...]
    edges: tuple[str, ...]
    bottoms: tuple[float, ...]
    width: float
    height: float
    about: str


def sketch(
    arch: ArchitectureBatch,
    op_names: Sequence[str],
    *,
    numbered: bool = False,
    named: bool = True,
) -> Sketch:
    """Lay out one architecture.

    Args:
        arch: A single architecture.
        op_names: Name of each operation.
        numbered: Whether boxes bear the numbers of their nodes, from 0.
        named: Whether boxes bear the names of their operations; otherwise their colours tell.

    Raises:
        ValueError: If there is not exactly one architecture, if it has no nodes, or if it has an
            operation without a name.
    """
    if len(arch) != 1 or int(arch.num_nodes[0]) < 1:
        raise ValueError("draw one architecture at a time, of at least one node")
    n = int(arch.num_nodes[0])
    ops = arch.ops[0, :n].tolist()
    if not all(0 <= op < len(op_names) for op in ops):
        raise ValueError(f"operations {sorted(set(ops))} but {len(op_names)} names")
    names = [op_names[op] for op in ops]
    texts = [label(name) if named else "" for name in names]
    words = [f"{i} {text}".rstrip() if numbered else text for i, text in enumerate(texts)]
    edges = [(i, j) for i, j in arch.adj[0, :n, :n].nonzero().tolist()]
    width = max(44.0 if named else BOX, max(map(_text_width, words)) + 18 * named)
    plan = place(edges, [width] * n)
    tops = _tops(plan)
    fill = colours(op_names)
    into = [""] * n
    for r in plan.routes:
        into[r.target] += f'<path data-edge="{r.source}-{r.target}" d="{_curve(r, plan, tops)}"/>'
    boxes = [
        _box(i, name, words[i], fill[name], plan.centre[i], tops[plan.layer[i]], width)
        for i, name in enumerate(names)
    ]
    return Sketch(
        boxes=tuple(boxes),
        edges=tuple(into),
        bottoms=tuple(tops[plan.layer[i]] + BOX + MARGIN for i in range(n)),
        width=plan.width + 2 * MARGIN,
        height=tops[-1] + BOX + MARGIN,
        about=f"Graph of {n} nodes and {len(edges)} edges: {', '.join(names)}",
    )


def draw_svg(
    arch: ArchitectureBatch, op_names: Sequence[str], *, title: str = "", named: bool = True
) -> str:
    """Draw one architecture as an SVG image.

    Text and edges take the surrounding text's colour, so that the image suits a light and a dark
    page. Every node is a ``<g data-node="i">`` and every edge a ``<path data-edge="i-j">``.

    Args:
        arch: A single architecture.
        op_names: Name of each operation.
        title: What the image shows, for those who cannot see it; a description if empty.
        named: Whether boxes bear the names of their operations.

    Raises:
        ValueError: As `sketch`.
    """
    drawn = sketch(arch, op_names, named=named)
    inside = f"<g {LINES}>{''.join(drawn.edges)}</g>{''.join(drawn.boxes)}"
    return svg(inside, drawn.width, drawn.height, title or drawn.about)


#: How edges look, as attributes of the group they are in.
LINES = (
    'fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" '
    'stroke-linejoin="round" opacity="0.55"'
)


def svg(inside: str, width: float, height: float, about: str) -> str:
    """Return an SVG image with the font of all drawings.

    Args:
        inside: What it shows, as SVG.
        width: In pixels.
        height: In pixels.
        about: The same in words, as plain text.
    """
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(about)}" '
        f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.1f} {height:.1f}" '
        f'font-family="system-ui, -apple-system, Segoe UI, Roboto, sans-serif" '
        f'font-size="{_FONT_SIZE}" font-weight="600" text-anchor="middle">{inside}</svg>'
    )


def _text_width(text: str) -> float:
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return _FONT_SIZE * (0.61 * (len(text) - wide) + wide)


def _tops(plan: Layered) -> list[float]:
    """Vertical position of each layer: the further edges lean, the larger the gap."""
    lean = [0.0] * max(plan.layer)
    for route in plan.routes:
        for i, (a, b) in enumerate(pairwise(route.points)):
            depth = plan.layer[route.source] + i
            lean[depth] = max(lean[depth], abs(a - b))
    tops = [MARGIN]
    for most in lean:
        tops.append(round(tops[-1] + BOX + min(64.0, 22.0 + most / 6), 1))
    return tops


def _curve(route: Route, plan: Layered, tops: list[float]) -> str:
    """Smooth between layers, straight down past the boxes of a layer, an arrowhead at the end."""
    first = plan.layer[route.source]
    x = [point + MARGIN for point in route.points]
    path = [f"M{x[0]:.1f} {tops[first] + BOX:.1f}"]
    for i in range(1, len(x)):
        start, end = tops[first + i - 1] + BOX, tops[first + i]
        middle = (start + end) / 2
        path.append(f"C{x[i - 1]:.1f} {middle:.1f} {x[i]:.1f} {middle:.1f} {x[i]:.1f} {end:.1f}")
        if i < len(x) - 1:
            path.append(f"V{end + BOX:.1f}")
    tip = tops[first + len(x) - 1]
    return (
        "".join(path)
        + f"M{x[-1] - 3:.1f} {tip - 5:.1f}L{x[-1]:.1f} {tip:.1f}L{x[-1] + 3:.1f} {tip - 5:.1f}"
    )


def _box(
    node: int,
    name: str,
    text: str,
    paint: tuple[str, str],
    centre: float,
    top: float,
    width: float,
) -> str:
    fill, ink = paint
    centre += MARGIN
    radius = BOX / 2 if name in _ENDS else 6
    absent = ' opacity="0.6"' if fill == "none" else ""
    dashes = ' stroke="currentColor" stroke-dasharray="3 3"' if fill == "none" else ""
    return (
        f'<g data-node="{node}"{absent}><title>{escape(name)}</title>'
        f'<rect x="{centre - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}" height="{BOX:.0f}" '
        f'rx="{radius:.0f}" fill="{fill}"{dashes}/>'
        f"{_text(text, centre, top, ink)}</g>"
    )


def _text(text: str, centre: float, top: float, ink: str) -> str:
    if not text:
        return ""
    return f'<text x="{centre:.1f}" y="{top + BOX / 2 + 4:.1f}" fill="{ink}">{escape(text)}</text>'
