"""Pictures of extrapolation: cells with what is known of them, and accuracies."""

import re
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

from netwright.graphs.batch import ArchitectureBatch
from netwright.report.drawing import LINES, Sketch, colours, label, sketch, svg
from netwright.report.palette import COLOURS
from netwright.results import Row

_WIDTH, _HEIGHT = 205.0, 330.0  # of the place for a cell
_LINE = 15.0  # of text
_INK, _MUTED, _FRAME = "#1d2733", "#5b6673", "#d5dae0"


class Point(NamedTuple):
    """A cell that was trained.

    Attributes:
        group: What it stands for.
        predicted: Its validation accuracy as predicted, in percent.
        measured: Its test accuracy, in percent.
    """

    group: str
    predicted: float
    measured: float


def cells_svg(
    archs: ArchitectureBatch,
    titles: Sequence[Sequence[str]],
    op_names: Sequence[str],
    *,
    columns: int = 4,
) -> str:
    """Draw cells in rows on white, with lines of text above each and a key of colours.

    Args:
        archs: The cells.
        titles: Lines of text for each.
        op_names: Name of each operation.
        columns: Cells in a row.

    Raises:
        ValueError: If there are no cells, or not as many titles.
    """
    if not 0 < len(archs) == len(titles):
        raise ValueError(f"{len(archs)} cells and {len(titles)} titles: give one for each")
    drawn = [sketch(archs[i : i + 1], op_names, named=False) for i in range(len(archs))]
    head = _LINE * max(map(len, titles)) + 14
    parts = []
    for i, (each, lines) in enumerate(zip(drawn, titles, strict=True)):
        x, y = 8 + i % columns * _WIDTH, 8 + i // columns * _HEIGHT
        parts.append(_framed(each, lines, x, y, head))
    rows = -(-len(archs) // columns)
    wide, tall = 8 + min(len(archs), columns) * _WIDTH, 8 + rows * _HEIGHT
    used = sorted(set(archs.ops[archs.node_mask].tolist()))
    key, end = _key([op_names[op] for op in used], op_names, tall + 16)
    parts.append(key)
    ground = '<rect width="100%" height="100%" fill="#fff"/>'
    about = f"{len(archs)} cells: " + "; ".join(lines[0] for lines in titles)
    return svg(f'{ground}<g color="{_INK}">{"".join(parts)}</g>', max(wide, end), tall + 30, about)


def scatter_svg(points: Sequence[Point], *, title: str) -> str:
    """Draw measured against predicted accuracy, a colour for each group, as SVG."""
    import altair as alt  # the chart stack takes a second to import
    import vl_convert

    data = [point._asdict() for point in points]
    scale = alt.Scale(zero=False)
    chart = (
        alt.Chart(alt.InlineData(data), width=560, height=260, title=title)
        .mark_point(filled=True, size=60, opacity=0.85)
        .encode(
            x=alt.X("predicted:Q", title="predicted validation accuracy (%)", scale=scale),
            y=alt.Y("measured:Q", title="measured test accuracy (%)", scale=scale),
            color=_colour([point.group for point in points]),
        )
    )
    return str(vl_convert.vegalite_to_svg(_plain(chart).to_dict()))


def groups_svg(rows: Sequence[Row], *, title: str) -> str:
    """Draw the mean of each row's method with its interval, as SVG."""
    import altair as alt
    import vl_convert

    data: list[dict[str, Any]] = [
        {
            "group": row.method,
            "mean": row.mean,
            "low": row.mean if row.low is None else row.low,
            "high": row.mean if row.high is None else row.high,
        }
        for row in rows
    ]
    order = [one["group"] for one in data]
    base = alt.Chart(alt.InlineData(data), width=460, height=28 * len(data), title=title).encode(
        y=alt.Y("group:N", sort=order, title=None, axis=alt.Axis(labelLimit=0))
    )
    scale = alt.Scale(zero=False)
    bars = base.mark_rule(strokeWidth=2, color=COLOURS[0]).encode(
        x=alt.X("low:Q", title=f"{rows[0].metric} (%)", scale=scale), x2="high:Q"
    )
    dots = base.mark_point(filled=True, size=70, color=COLOURS[0], opacity=1).encode(
        x=alt.X("mean:Q", scale=scale)
    )
    return str(vl_convert.vegalite_to_svg(_plain(bars + dots).to_dict()))


def stacked(images: Sequence[str], about: str) -> str:
    """Put SVG images one below the other."""
    parts, wide, tall = [], 0.0, 0.0
    for image in images:
        inner = image[image.index("<svg") :]
        size = {name: float(_attribute(inner, name)) for name in ("width", "height")}
        # Charts do not say how bold their text is, and would take it from what surrounds them.
        parts.append(f'<g transform="translate(0 {tall:.1f})" font-weight="400">{inner}</g>')
        wide, tall = max(wide, size["width"]), tall + size["height"] + 10
    ground = '<rect width="100%" height="100%" fill="#fff"/>'
    return svg(ground + "".join(parts), wide, tall, about) + "\n"


def _framed(each: Sketch, lines: Sequence[str], x: float, y: float, head: float) -> str:
    """Draw a cell within a frame, as large as fits, below its lines of text."""
    width, height = _WIDTH - 10, _HEIGHT - 10
    scale = min(0.8, (width - 12) / each.width, (height - head - 10) / each.height)
    right = x + (width - scale * each.width) / 2
    down = y + head + (height - head - scale * each.height) / 2
    frame = f'x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{height:.0f}" rx="6"'
    texts = "".join(
        _words(x + 10, y + 18 + _LINE * i, line, _MUTED if i else _INK, bold=not i)
        for i, line in enumerate(lines)
    )
    return (
        f'<rect {frame} fill="none" stroke="{_FRAME}"/>{texts}'
        f'<g transform="translate({right:.1f} {down:.1f}) scale({scale:.3f})">'
        f"<g {LINES}>{''.join(each.edges)}</g>{''.join(each.boxes)}</g>"
    )


def _key(names: Sequence[str], op_names: Sequence[str], y: float) -> tuple[str, float]:
    """Name the colours of operations; return the text and where it ends."""
    paint, parts, x = colours(op_names), [], 12.0
    for name in names:
        place = f'x="{x:.0f}" y="{y - 10:.0f}" width="12" height="12" rx="3"'
        parts.append(f'<rect {place} fill="{paint[name][0]}"/>')
        parts.append(_words(x + 17, y, label(name), _INK))
        x += 40 + 7 * len(label(name))
    return "".join(parts), x


def _words(x: float, y: float, text: str, colour: str, *, bold: bool = False) -> str:
    weight = 600 if bold else 400
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="start" font-weight="{weight}" fill="{colour}"'
    return f"<text {place}>{escape(text)}</text>"


def _colour(groups: Sequence[str]) -> Any:
    import altair as alt

    names = list(dict.fromkeys(groups))
    scale = alt.Scale(domain=names, range=[COLOURS[i % len(COLOURS)] for i in range(len(names))])
    return alt.Color("group:N", title=None, scale=scale, legend=alt.Legend(labelLimit=0))


def _plain(chart: Any) -> Any:
    """Give a chart the look of all charts of results."""
    return chart.configure(
        background="white", font="sans-serif", axis={"gridColor": "#e5e5e5", "domain": False}
    )


def _attribute(image: str, name: str) -> str:
    found = re.search(rf'<svg[^>]*? {name}="([\d.]+)', image)
    if found is None:
        raise ValueError(f"an image without {name} cannot be stacked")
    return found[1]
