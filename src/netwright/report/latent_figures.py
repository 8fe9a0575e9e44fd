"""Figures of a latent space for papers: single SVG images on white ([SVGe] Fig. 2 and 3 left)."""

import math
import re
from html import escape

from netwright.graphs.batch import ArchitectureBatch
from netwright.report import latent_charts as charts
from netwright.report import words
from netwright.report.drawing import LINES, Sketch, colours, label, sketch, svg
from netwright.report.latent_sections import (
    SHARES,
    drawn_cells,
    edits_around,
    names_in,
    ramp_colour,
    valid_ones,
)
from netwright.report.latent_views import Plane
from netwright.report.parts import heading
from netwright.report.style import STYLE
from netwright.report.vega import BAD, INK, MUTED
from netwright.spaces.base import SearchSpace

_GAP = 46.0  # between the graphs of the circle
_SCALE = 0.8  # of a drawing, at most
_THUMB = 78.0  # side of a decoded cell
_WIDE = 480.0  # the map
_POINTS = 2000  # latent means drawn

Box = tuple[float, float, float, float]  # left, top, width, height


def fig2_svg(walk: ArchitectureBatch, space: SearchSpace) -> str:
    """Draw the graphs around a circle as a loop of two rows, with the edits between neighbours.

    Raises:
        ValueError: If there are fewer than two graphs, or one has no nodes.
    """
    n = len(walk)
    if n < 2:
        raise ValueError(f"a circle has at least two graphs, not {n}")
    columns = (n + 1) // 2
    drawn = [sketch(walk[i : i + 1], space.op_names) for i in range(n)]
    wide = _SCALE * max(each.width for each in drawn) + 12
    tall = _SCALE * max(each.height for each in drawn) + 36
    boxes: list[Box] = []
    for i in range(n):
        column = i if i < columns else 2 * columns - 1 - i  # the second row runs back
        x, y = _GAP / 2 + column * (wide + _GAP), _GAP / 2 + (i >= columns) * (tall + _GAP)
        boxes.append((x, y, wide, tall))
    parts = [
        _framed(each, box, f"{i + 1}", valid)
        for i, (each, box, valid) in enumerate(
            zip(drawn, boxes, valid_ones(walk, space), strict=True)
        )
    ]
    for i, edits in enumerate(edits_around(walk)):
        parts.append(_arrow(boxes[i], boxes[(i + 1) % n], edits))
    about = f"{n} graphs decoded around a circle, with the number of edits from each to the next"
    return image("".join(parts), columns * (wide + _GAP), 2 * (tall + _GAP), about)


def fig3_left_svg(plane: Plane, space: SearchSpace) -> str:
    """Draw latent means in their principal plane, and beside it what a grid of it decodes to.

    Raises:
        ValueError: If a decoded graph that is drawn has no nodes.
    """
    valid = valid_ones(plane.cells, space)
    chosen = drawn_cells(plane)
    side = math.isqrt(len(chosen))
    left, high = _WIDE + 30, side * _THUMB
    score, rank = plane.cell_scores.tolist(), plane.percentile(plane.cell_scores).tolist()
    parts = [_map(plane, high)]
    for place, i in enumerate(chosen):
        x, y = left + place % side * _THUMB, 8 + place // side * _THUMB
        drawn = sketch(plane.cells[i : i + 1], space.op_names, named=False)
        parts.append(_framed(drawn, (x + 2, y + 2, _THUMB - 4, _THUMB - 4), "", valid[i]))
        if valid[i] and math.isfinite(score[i]):
            bar = f'x="{x + 2:.0f}" y="{y + _THUMB - 6:.0f}" width="{_THUMB - 4:.0f}" height="4"'
            parts.append(f'<rect {bar} fill="{ramp_colour(rank[i])}"/>')
    if bool(plane.score.isfinite().any()):
        parts.append(_scores(plane, high + 34))
    parts.append(_operations(names_in(plane.cells, space), space, left, high + 34))
    about = f"Latent means by {plane.score_name} in their principal plane, and the decoded grid"
    return image("".join(parts), left + max(high, 500) + 10, high + 66, about)


def _map(plane: Plane, height: float) -> str:
    """Draw the chart of latent means as SVG within SVG."""
    import vl_convert  # brings its own JavaScript engine

    spec = charts.scatter(plane, most=_POINTS) | {"width": _WIDE - 70, "height": height - 50}
    spec["config"] = spec["config"] | {"font": "sans-serif", "aria": False}
    drawn = str(vl_convert.vegalite_to_svg(spec))
    return drawn[drawn.index("<svg") :]


def _framed(drawn: Sketch, box: Box, name: str, valid: bool) -> str:
    """Draw one graph within a frame, as large as fits; an invalid one is pale and crossed."""
    x, y, width, height = box
    spare = 30 if name else 12  # for the name, or the bar below
    scale = min(_SCALE, (width - 8) / drawn.width, (height - spare) / drawn.height)
    right, down = x + (width - scale * drawn.width) / 2, y + (height - scale * drawn.height) / 2
    down += 8 if name else -2
    pale = "" if valid else ' opacity="0.45"'
    dashes = "" if valid else ' stroke-dasharray="4 3"'
    frame = f'x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{height:.0f}" rx="6"'
    cross = "" if valid else _words(x + width - 9, y + 15, "×", BAD)  # noqa: RUF001 (as in the charts)
    return (
        f'<rect {frame} fill="none" stroke="var(--line)"{dashes}/>'
        f'<g transform="translate({right:.1f} {down:.1f}) scale({scale:.3f})"{pale}>'
        f"<g {LINES}>{''.join(drawn.edges)}</g>{''.join(drawn.boxes)}</g>"
        f"{_words(x + 12, y + 17, name, MUTED)}{cross}"
    )


def _arrow(start: Box, end: Box, edits: int) -> str:
    """Draw the step from one frame to the next, with the number of edits beside it."""
    (x, y, width, height), (to_x, to_y, _, _) = start, end
    if y == to_y:  # along a row
        d = 1 if to_x > x else -1
        tail, middle = (x + width if d > 0 else x), y + height / 2
        line = f"M{tail + 6 * d:.0f} {middle:.0f}h{(_GAP - 12) * d:.0f}"
        line += f"m{-5 * d} -4l{5 * d} 4l{-5 * d} 4"
        text = _words(tail + d * _GAP / 2, middle - 8, f"{edits}", INK)
    else:  # from row to row
        d = 1 if to_y > y else -1
        tail, middle = (y + height if d > 0 else y), x + width / 2
        slope = f"L{to_x + width / 2:.0f} {tail + (_GAP - 6) * d:.0f}"
        line = f"M{middle:.0f} {tail + 6 * d:.0f}{slope}m-4 {-5 * d}l4 {5 * d}l4 {-5 * d}"
        text = _words((x + to_x + width) / 2 + 14, tail + d * _GAP / 2 + 4, f"{edits}", INK)
    return f'<path d="{line}" fill="none" stroke="{MUTED}" stroke-width="1.5"/>{text}'


def _scores(plane: Plane, y: float) -> str:
    """Name the colours of a score: its percentiles."""
    parts = [_words(12.0, y, f"{heading(plane.score_name)} (percentile)", MUTED, anchor="start")]
    shares = SHARES[::2]
    for i, share in enumerate(shares):
        x = 18 + i * _WIDE / len(shares)
        parts.append(f'<circle cx="{x:.0f}" cy="{y + 16:.0f}" r="5" fill="{ramp_colour(share)}"/>')
        text = f"{words.score(plane.quantile(share))} ({share:.0%})"
        parts.append(_words(x + 9, y + 20, text, INK, anchor="start"))
    return "".join(parts)


def _operations(names: list[str], space: SearchSpace, x: float, y: float) -> str:
    """Name the colours of operations."""
    paint = colours(space.op_names)
    parts = []
    for name in names:
        fill, _ = paint[name]
        edge = ' stroke="currentColor" stroke-dasharray="3 3"' if fill == "none" else ""
        place = f'x="{x:.0f}" y="{y - 10:.0f}" width="12" height="12" rx="3"'
        parts.append(f'<rect {place} fill="{fill}"{edge}/>')
        parts.append(_words(x + 17, y, label(name), INK, anchor="start"))
        x += 36 + 6.6 * len(label(name))
    return "".join(parts)


def _words(x: float, y: float, text: str, colour: str, *, anchor: str = "middle") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"'
    return f"<text {place}>{escape(text)}</text>" if text else ""


def image(inside: str, width: float, height: float, about: str) -> str:
    """Return an image on white, in the page's colours by daylight."""
    daylight = dict(re.findall(r"--(\w+): ([^;]+);", STYLE.split("}", 1)[0]))
    ground = '<rect width="100%" height="100%" fill="#fff"/>'
    drawn = svg(f'{ground}<g color="{INK}">{inside}</g>', width, height, about)
    return re.sub(r"var\(--(\w+)\)", lambda found: daylight[found[1]], drawn) + "\n"
