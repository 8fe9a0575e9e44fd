"""Where the nodes and edges of a drawn DAG go: a layered layout, top to bottom.

The four steps of Sugiyama, Tagawa and Toda (1981): layers by longest path from the input, one
waypoint per layer for an edge that skips layers, few crossings by barycentre sweeps, and
horizontal positions near the mean of the neighbours. The long edges of one node share their
waypoints, so that even a complete DAG of 32 nodes stays narrow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]

GAP = 16.0  # between boxes side by side
_SWEEPS = 8


@dataclass(frozen=True)
class Route:
    """One edge.

    Attributes:
        source: The node it leaves.
        target: The node it enters.
        points: Horizontal positions from layer to layer, both ends included: where it leaves the
            source, where it passes each layer in between, where it enters the target.
    """

    source: int
    target: int
    points: tuple[float, ...]


@dataclass(frozen=True)
class Layered:
    """A drawing without its vertical scale.

    Attributes:
        layer: Layer of each node, from 0 at the top.
        centre: Horizontal centre of each node's box.
        routes: The edges.
        width: Everything lies between 0 and this.
    """

    layer: tuple[int, ...]
    centre: tuple[float, ...]
    routes: tuple[Route, ...]
    width: float


def place(edges: Sequence[tuple[int, int]], widths: Sequence[float]) -> Layered:
    """Lay out a DAG.

    Args:
        edges: Pairs ``(i, j)`` with ``i < j``.
        widths: Width of the box of each node.
    """
    n = len(widths)
    layer = _longest_path(edges, n)
    rows, links, paths = _with_waypoints(edges, layer)
    slot_widths = [*widths, *[0.0] * (sum(map(len, rows)) - n)]
    rows = _few_crossings(rows, links)
    x = _positions(rows, links, slot_widths)
    leaves, enters = _ports(links, x, slot_widths)
    routes = []
    for (source, target), path in zip(edges, paths, strict=True):
        inner = [float(x[slot]) for slot in path[1:-1]]
        ends = leaves[path[0], path[1]], enters[path[-2], path[-1]]
        routes.append(Route(source, target, (ends[0], *inner, ends[1])))
    right = max(x[slot] + slot_widths[slot] / 2 for slot in range(len(x)))
    return Layered(tuple(layer), tuple(float(c) for c in x[:n]), tuple(routes), float(right))


def _longest_path(edges: Sequence[tuple[int, int]], n: int) -> list[int]:
    layer = [0] * n
    for source, target in sorted(edges):  # sources ascend, so a source's layer is final
        layer[target] = max(layer[target], layer[source] + 1)
    return layer


_Rows = list[list[int]]
_Links = list[list[tuple[int, int]]]


def _with_waypoints(
    edges: Sequence[tuple[int, int]], layer: list[int]
) -> tuple[_Rows, _Links, list[list[int]]]:
    """Return the slots of each layer, the links from it to the next, and each edge's slots."""
    rows: _Rows = [[] for _ in range(max(layer) + 1)]
    for node, depth in enumerate(layer):
        rows[depth].append(node)
    links: list[dict[tuple[int, int], None]] = [{} for _ in rows]
    waypoint: dict[tuple[int, int], int] = {}
    paths = []
    for source, target in edges:
        path = [source]
        for depth in range(layer[source] + 1, layer[target]):
            if (source, depth) not in waypoint:
                waypoint[source, depth] = len(layer) + len(waypoint)
                rows[depth].append(waypoint[source, depth])
            path.append(waypoint[source, depth])
        path.append(target)
        for depth, link in enumerate(pairwise(path), start=layer[source]):
            links[depth][link] = None
        paths.append(path)
    return rows, [list(row) for row in links], paths


def _few_crossings(rows: _Rows, links: _Links) -> _Rows:
    """Reorder each layer by the mean place of its neighbours, down and up; keep the best."""
    best, fewest = rows, _crossings(rows, links)
    for mirrored in (False, True):
        order = [row[::-1] if mirrored else list(row) for row in rows]
        for sweep in range(_SWEEPS):
            down = sweep % 2 == 0
            depths = range(1, len(rows)) if down else range(len(rows) - 2, -1, -1)
            for depth in depths:
                fixed = order[depth - 1 if down else depth + 1]
                pairs = links[depth - 1] if down else [(b, a) for a, b in links[depth]]
                place = {slot: i for i, slot in enumerate(fixed)}
                near: dict[int, list[int]] = {}
                for a, b in pairs:
                    near.setdefault(b, []).append(place[a])
                mean = {b: sum(places) / len(places) for b, places in near.items()}
                here = {slot: i for i, slot in enumerate(order[depth])}
                order[depth].sort(key=lambda s, m=mean, h=here: m.get(s, h[s]))  # type: ignore[misc]  # mypy cannot infer a lambda's defaults
            count = _crossings(order, links)
            if count < fewest:
                best, fewest = [list(row) for row in order], count
    return best


def _crossings(rows: _Rows, links: _Links) -> int:
    total = 0
    for depth in range(len(rows) - 1):
        upper = {slot: i for i, slot in enumerate(rows[depth])}
        lower = {slot: i for i, slot in enumerate(rows[depth + 1])}
        a = np.array([upper[s] for s, _ in links[depth]], dtype=int)
        b = np.array([lower[t] for _, t in links[depth]], dtype=int)
        total += int(((a[:, None] < a) & (b[:, None] > b)).sum())
    return total


def _positions(rows: _Rows, links: _Links, widths: Sequence[float]) -> _Floats:
    """Choose horizontal centres as the linear programme that keeps order and gaps.

    Absolute distances, as in Gansner et al. (1993), make straight lines rather than gentle
    slopes: long edges above all; then every node wants the middle of its neighbours above, and
    the middle of those below.
    """
    from scipy.optimize import linprog  # 0.2 s, and only drawings need it
    from scipy.sparse import coo_array

    size = len(widths)
    real = [width > 0 for width in widths]
    near: dict[tuple[int, int], list[int]] = {}  # neighbours of a slot above (0) and below (1)
    terms: list[tuple[float, dict[int, float]]] = []  # weight of |sum of coefficient times x|
    for a, b in (link for row in links for link in row):
        near.setdefault((a, 1), []).append(b)
        near.setdefault((b, 0), []).append(a)
        if not (real[a] and real[b]):
            terms.append((0.5 if real[a] or real[b] else 8.0, {a: 1.0, b: -1.0}))
    for (slot, side), others in near.items():
        boxes = [other for other in others if real[other]]
        inside = (slot, 1 - side) in near  # there, long edges pass aside and chains stay straight
        middle = boxes if inside or len(others) < len(boxes) + 2 else others
        if real[slot] and middle:
            terms.append((1.0, {slot: 1.0} | {other: -1 / len(middle) for other in middle}))
    order = [pair for row in rows for pair in pairwise(row)]
    entries: list[tuple[int, int, float]] = []  # (row, variable, coefficient) of A v <= bound
    for i, (_, coefficients) in enumerate(terms):
        for row, sign in ((2 * i, 1.0), (2 * i + 1, -1.0)):  # +-sum <= the term's variable
            entries += [(row, slot, sign * c) for slot, c in coefficients.items()]
            entries.append((row, size + i, -1.0))
    for i, (a, b) in enumerate(order, start=2 * len(terms)):  # x_a + gap <= x_b
        entries += [(i, a, 1.0), (i, b, -1.0)]
    apart = [-(widths[a] + widths[b]) / 2 - GAP for a, b in order]
    if not entries:
        return np.array(widths) / 2
    rows_at, columns_at, values = zip(*entries, strict=True)
    shape = (2 * len(terms) + len(order), size + len(terms))
    sparse: Any = coo_array((values, (rows_at, columns_at)), shape=shape)  # unknown to its stubs
    found = linprog(
        np.array([0.0] * size + [weight for weight, _ in terms]),
        A_ub=sparse.tocsr(),
        b_ub=np.array([0.0] * (2 * len(terms)) + apart),
        bounds=(0, None),
    )
    if found.x is None:  # it is feasible and bounded, so only the solver can fail
        raise RuntimeError(f"no layout found: {found.message}")
    x = found.x[:size]
    left = min(centre - width / 2 for centre, width in zip(x, widths, strict=True))
    return np.asarray((x - left).round(1), dtype=np.float64)


_Ports = dict[tuple[int, int], float]


def _ports(links: _Links, x: _Floats, widths: Sequence[float]) -> tuple[_Ports, _Ports]:
    """Spread the links of a box over its side, in the order of their other ends."""
    leaves: _Ports = {}
    enters: _Ports = {}
    for row in links:
        for ports, side in ((leaves, 0), (enters, 1)):
            ends: dict[int, list[tuple[int, int]]] = {}
            for link in row:
                ends.setdefault(link[side], []).append(link)
            for slot, mine in ends.items():
                mine.sort(key=lambda link, other=1 - side: x[link[other]])  # type: ignore[misc]  # as above
                step = min(14.0, 0.7 * widths[slot] / len(mine))
                for i, link in enumerate(mine):
                    ports[link] = round(float(x[slot]) + (i - (len(mine) - 1) / 2) * step, 1)
    return leaves, enters
