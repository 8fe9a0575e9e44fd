"""The best architectures, drawn."""

import math
import re
from collections.abc import Sequence
from contextlib import suppress

from netwright.graphs.batch import ArchitectureBatch
from netwright.report import words
from netwright.report.markup import Markup, element
from netwright.report.methods import Method
from netwright.report.parts import copy_button, drawing_of, operations
from netwright.report.summary import Summary, top
from netwright.runs.ledger import Row
from netwright.runs.samples import DENSE
from netwright.spaces.base import SearchSpace

_EACH = 3  # drawn of every run, or of every method
_MANY_RUNS = 12

#: What "dense" means, for every place that says it.
DENSE_MEANS = f"more than {DENSE:.0%} of the pairs of its nodes are joined"


def gallery(summary: Summary, space: SearchSpace) -> Markup | None:
    """Draw the ten best architectures of a run."""
    best = top([summary])
    if not best:
        return None
    rows = [row for _, row in best]
    drawings = [drawing_of(row, space) for row in rows]
    cells = [
        _cell(rank, row, drawing, "", space)
        for rank, (row, drawing) in enumerate(zip(rows, drawings, strict=True), start=1)
    ]
    # A little narrower than the widest drawing: it shrinks, and one more fits beside it.
    wide = min(640, max(200, *(_width(drawing) * 3 // 4 + 32 for drawing in drawings)))
    title = (
        f"The {_count(len(best))} best architectures" if len(best) > 1 else "The best architecture"
    )
    return element(
        "section",
        element("h2", title),
        operations(_operations(rows, space), space),
        element("ol", *cells, cls="gallery", style=f"--wide:{wide}px"),
        aria_label="Best architectures",
    )


def best_of_each(methods: Sequence[Method], space: SearchSpace) -> Markup | None:
    """Draw the three best architectures of each run ([GraphPNAS] Fig. 6).

    Of each method instead, where there are many runs.
    """
    groups = [(method.label, run.name, [run]) for method in methods for run in method.runs]
    if many := len(groups) > _MANY_RUNS:
        groups = [(method.label, "", list(method.runs)) for method in methods]
    found = [(method, name, runs, top(runs, _EACH)) for method, name, runs in groups]
    shown = [row for *_, best in found for _, row in best]
    if not shown:
        return None
    drawings = {row.arch: drawing_of(row, space) for row in shown}
    # Narrower than in the gallery, so that two runs fit side by side if their graphs are small.
    wide = min(420, max(168, *(_width(drawing) * 3 // 5 + 32 for drawing in drawings.values())))
    blocks = []
    for method, name, runs, best in found:
        cells = [
            _cell(rank, row, drawings[row.arch], f"{run.name}: " if many else "", space)
            for rank, (run, row) in enumerate(best, start=1)
        ]
        body = element("ol", *cells, cls="gallery", style=f"--wide:{wide}px")
        none = element("p", "None has succeeded.", cls="muted")
        head = element("h3", f"{name}: " if name else None, method)
        blocks.append(element("div", head, _dense(runs, space), body if cells else none))
    dense = any(run.samples for method in methods for run in method.runs)
    defined = f"A graph is dense if {DENSE_MEANS}."
    return element(
        "section",
        element("h2", f"The three best of each {'method' if many else 'run'}"),
        element("p", defined, cls="muted") if dense and not has_one_topology(space) else None,
        operations(_operations(shown, space), space),
        element("div", *blocks, cls="groups", style=f"--group:{3 * wide + 24}px"),
        aria_label="Best architectures",
    )


def has_one_topology(space: SearchSpace) -> bool:
    """Tell whether all graphs of a space have the same nodes and edges."""
    return space.layout.end_op is None and not bool(space.layout.free.any())


def _dense(runs: Sequence[Summary], space: SearchSpace) -> Markup | None:
    """Say which share of what the runs' generators draw is dense."""
    shares = [run.samples.dense for run in runs if run.samples is not None]
    known = [share for share in shares if share is not None]
    if not known or has_one_topology(space):
        return None
    mean = sum(known) / len(known)
    return element("p", f"Of its generator's valid samples, {mean:.0%} are dense.", cls="note")


def _cell(rank: int, row: Row, drawing: Markup, where: str, space: SearchSpace) -> Markup:
    """Show one architecture.

    Args:
        rank: Its place among those beside it.
        row: What the ledger says of it.
        drawing: Of the architecture.
        where: A word on where it is from.
        space: That it belongs to.
    """
    head = element(
        "div",
        element("span", f"#{rank}", cls="rank"),
        element("span", words.score(row.score), cls="value"),
        copy_button(row.arch, f"architecture {rank}"),
        cls="head",
    )
    origin = f"{where}{row.origin}, evaluation {row.index + 1:,}"
    facts = [fact for fact in (_size(row), _density(row, space), origin) if fact]
    foot = element("div", *[element("div", fact) for fact in facts], cls="foot")
    return element("li", head, element("div", drawing, cls="picture"), foot, cls="cell")


def _density(row: Row, space: SearchSpace) -> str:
    """Write how many edges an architecture has, where that differs between architectures."""
    if has_one_topology(space):
        return ""
    try:
        arch = space.from_text([row.arch])
    except ValueError:  # reported in place of its drawing
        return ""
    edges, share = int(arch.num_edges[0]), float(space.layout.density(arch)[0])
    return f"{words.plural(edges, 'edge')}, {share:.0%} of the pairs"


def _operations(rows: Sequence[Row], space: SearchSpace) -> list[str]:
    """Name the operations that occur, in the order of the space."""
    used: set[str] = set()
    for row in rows:
        with suppress(ValueError):  # reported in place of its drawing
            arch, names = space.with_ends(space.from_text([row.arch]))
            used.update(names[op] for op in arch.ops[arch.node_mask].tolist())
    _, names = space.with_ends(ArchitectureBatch.empty(space.layout.max_nodes))
    return [name for name in names if name in used]


def _width(drawing: str) -> int:
    found = re.search(r' width="(\d+)"', drawing)
    return int(found[1]) if found else 0


def _size(row: Row) -> str:
    """Write the number of parameters, where the evaluator has given it."""
    for name, value in row.extras.items():
        if "param" in name.lower() and not math.isnan(value):
            return f"{words.number(value)} parameters"
    return ""


def _count(n: int) -> str:
    names = ("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return names[n] if n < len(names) else str(n)
