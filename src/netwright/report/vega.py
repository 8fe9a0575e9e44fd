"""What all charts share: the palette and the look, as parts of Vega-Lite specifications.

Colours are variables of the page's style sheet, so that the charts follow a light, a dark and a
printed page without being drawn again.
"""

from collections.abc import Sequence
from typing import Any

Spec = dict[str, Any]
Rows = list[dict[str, Any]]

_FONT = "system-ui, -apple-system, Segoe UI, Roboto, sans-serif"
INK, MUTED, GRID, BAD = (f"var(--{name})" for name in ("ink", "muted", "grid", "bad"))

CONFIG: dict[str, Any] = {
    "background": "transparent",
    "font": _FONT,
    "view": {"stroke": None},
    "axis": {
        "labelColor": MUTED, "titleColor": MUTED, "gridColor": GRID, "domainColor": GRID,
        "tickColor": GRID, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": 500,
        "labelPadding": 6, "titlePadding": 10, "tickSize": 0, "labelFlush": True,
    },
    "axisX": {"grid": False},
    "axisY": {"domain": False},
}  # fmt: skip

_USUAL = {"generator": 0, "explorer": 1, "mutation": 2, "random": 4, "initial": 5}
HUES = 7


def origin_colours(origins: Sequence[str]) -> dict[str, str]:
    """Give every origin a colour: the usual ones always the same, the others what is left."""
    free = [i for i in range(HUES) if i not in {_USUAL.get(o) for o in origins}] or [0]
    others = [o for o in origins if o not in _USUAL]
    hue = {o: _USUAL[o] for o in origins if o in _USUAL}
    hue |= {o: free[i % len(free)] for i, o in enumerate(others)}
    return {origin: f"var(--hue{hue[origin]})" for origin in origins}


def finished(spec: Spec, datasets: dict[str, Rows]) -> Spec:
    """Put the data in, and leave out the address of the schema: the page names no other."""
    return {key: value for key, value in spec.items() if key != "$schema"} | {"datasets": datasets}
