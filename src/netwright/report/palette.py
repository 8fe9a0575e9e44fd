"""One colour per search method, on every page and picture.

Well-known methods always have the same; others take what is left, in their order. Settings of one
method share its colour and differ in their dashes.
"""

from collections.abc import Sequence
from typing import NamedTuple

#: What pictures that cannot follow a dark page use; the style sheet has the same, and lighter ones.
COLOURS = (
    "#0072b2", "#cc7f00", "#00906a", "#b2548c", "#2b93cb", "#6d7682", "#8a7a00", "#7f3c8d",
    "#b8442e", "#4d7c0f", "#8c6d31", "#33508f", "#c2387a", "#16161d",
)  # fmt: skip
_DASHES = ((), (7, 3), (2, 2), (9, 3, 2, 3), (4, 4), (1, 4))
_HUE = {
    "graphpnas": 0, "local": 1, "local search": 1, "latent-bo": 2, "svge + bo": 2,
    "gnn2gnn": 3, "gnn2gnn online": 3, "evolution": 4, "random": 5, "random search": 5,
    "random-graph": 6, "bananas": 7, "rnn": 8, "rnn (rl)": 8, "predictor": 9, "gcn pred": 9,
    "arch2vec": 10, "arch2vec + bo": 10, "agnet": 11, "ag-net-like": 11, "bohb": 12,
    "bohb-like": 12, "nago": 13,
}  # fmt: skip


class Paint(NamedTuple):
    """How a method is drawn.

    Attributes:
        hue: Which colour.
        dash: Lengths of dashes and gaps in pixels; empty for a solid line.
    """

    hue: int
    dash: tuple[int, ...]

    @property
    def colour(self) -> str:
        """For a picture."""
        return COLOURS[self.hue]

    @property
    def variable(self) -> str:
        """For a page: follows light and dark."""
        return f"var(--hue{self.hue})"


def paints(methods: Sequence[tuple[str, str | None]]) -> list[Paint]:
    """Choose how to draw methods.

    Args:
        methods: Name and settings of each, all different.
    """
    names = list(dict.fromkeys(name for name, _ in methods))
    taken = {_HUE[name.lower()] for name in names if name.lower() in _HUE}
    free = [hue for hue in range(len(COLOURS)) if hue not in taken] or list(range(len(COLOURS)))
    others = [name for name in names if name.lower() not in _HUE]
    hues = {name: free[i % len(free)] for i, name in enumerate(others)}
    found, drawn = [], dict.fromkeys(names, 0)
    for name, _ in methods:
        hue = hues[name] if name in hues else _HUE[name.lower()]
        found.append(Paint(hue, _DASHES[drawn[name] % len(_DASHES)]))
        drawn[name] += 1
    return found
